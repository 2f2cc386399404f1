"""Revoke, suspend, reinstate: which credentials, by which plan, who lets it through, and what is so afterwards."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

from credential_pipeline.errors import Terminal
from credential_pipeline.issue import plans
from credential_pipeline.issue.approve import approve
from credential_pipeline.issue.change import Changed
from credential_pipeline.issue.correct import Correction
from credential_pipeline.issue.select import Named, Query
from credential_pipeline_tests.issue.desk import (
    ACHIEVEMENTS,
    AS_OF,
    SCORE,
    Desk,
    achievement,
    institution,
    passed,
    user,
)
from credential_pipeline_tests.issue.office import LATER, Registrar
from credential_pipeline_tests.issue.signers import BO, PEOPLE, RITA
from credential_pipeline_tests.issue.signers import Registrar as Signer


@pytest.fixture
def registrar(new_desk: Callable[..., Desk], tmp_path: Path) -> Registrar:
    """Of a school that has issued knots to U1, U2, U3 and safety to U1."""
    desk = new_desk()
    desk.offer([passed("U1"), passed("U2", done="2026-02-11"), passed("U3"), passed("U1", "safety")])
    assert desk.issue() == 4
    return Registrar(desk, tmp_path)


@pytest.fixture
def committee(new_desk: Callable[..., Desk], tmp_path: Path) -> Registrar:
    """Of a school where one person changes two credentials at once and no more, and whose people are listed."""
    desk = new_desk(institution(*ACHIEVEMENTS, policies={"direct_change_limit": 2}, people=PEOPLE))
    desk.offer([passed(f"U{n}") for n in range(1, 4)])
    assert desk.issue() == 3
    return Registrar(desk, tmp_path)


def plan_row(desk: Desk, plan: UUID | None) -> tuple[object, ...]:
    [row] = desk.rows(
        "select kind, scope, state, approval, created_by, reason from ledger.plan where plan_id = :p", p=plan
    )
    return row


def test_a_revocation_is_a_plan_that_its_actor_lets_through(registrar: Registrar) -> None:
    one = registrar.credential()
    changed = registrar.change("revoke", one, reason="exam annulled", actor="ada")
    assert (changed.state, changed.done, changed.stale, changed.in_order) == ("applied", 1, 0, True)
    assert plan_row(registrar.desk, changed.plan_id) == (
        "revoke", f"credential:{one}", "applied", "auto", "ada", "exam annulled",
    )  # fmt: skip
    assert registrar.desk.rows(
        "select action, prior_id, credential_id, state, inputs, reasons from ledger.plan_line where plan_id = :p",
        p=changed.plan_id,
    ) == [("revoke", one, None, "applied", {"prior": "current:1"}, ["asked_for"])]
    assert registrar.desk.rows("select kind, approver from ledger.approval where plan_id = :p", p=changed.plan_id) == [
        ("actor", "ada")
    ]
    assert registrar.desk.rows(
        "select kind, subject, actor, reason, detail->>'scope' from ledger.action where kind = 'revoke_planned'"
    ) == [("revoke_planned", f"plan:{changed.plan_id}", "ada", "exam annulled", f"credential:{one}")]
    assert registrar.events(one) == [(1, "issued", "pipeline", None), (2, "revoked", "ada", "exam annulled")]
    assert registrar.messages() == [("revoked", 1)]
    assert [registrar.state(registrar.credential(person=p)) for p in ("U2", "U3")] == ["current", "current"]


def test_what_is_planned_is_shown_as_a_difference(registrar: Registrar) -> None:
    changed = registrar.change("revoke", query=Query(("knots",)), dry_run=True)
    assert changed.draft.counts == {("knots", "current", "revoked"): 3}
    shown = {(line.credential_id, line.achievement, line.before, line.after) for line in changed.draft.shown}
    assert shown == {(registrar.credential(person=f"U{n}"), "knots", "current", "revoked") for n in (1, 2, 3)}
    assert all(line.url.startswith("https://badges.school.example/credentials/") for line in changed.draft.shown)


def test_a_dry_run_stores_nothing_and_has_the_hash_of_the_real_one(registrar: Registrar) -> None:
    one = registrar.credential()
    before = (registrar.desk.count("ledger.plan"), registrar.desk.count("ledger.action"))
    tried = registrar.change("revoke", one, dry_run=True)
    assert (tried.state, tried.done, registrar.state(one)) == ("dry_run", 0, "current")
    assert (registrar.desk.count("ledger.plan"), registrar.desk.count("ledger.action")) == before
    assert registrar.change("revoke", one).hash == tried.hash


def test_the_same_order_again_is_done_before(registrar: Registrar) -> None:
    one = registrar.credential()
    registrar.change("revoke", one)
    again = registrar.change("revoke", one, as_of=LATER + timedelta(hours=1))
    assert (again.state, again.plan_id, again.draft.already, again.in_order) == ("nothing", None, 1, True)
    assert (len(registrar.events(one)), registrar.messages()) == (2, [("revoked", 1)])


def test_an_order_that_died_before_it_was_carried_out_is_found_again(registrar: Registrar, server_url: str) -> None:
    one = registrar.credential()
    first = registrar.change("revoke", one, dry_run=True)
    with a_server_that_dies(registrar, server_url):
        registrar.change("revoke", one)
    assert registrar.state(one) == "current"
    again = registrar.change("revoke", one, as_of=LATER + timedelta(hours=1))
    assert (again.hash, again.state, again.done) == (first.hash, "applied", 1)
    assert registrar.desk.value("select count(*) from ledger.plan where kind = 'revoke'") == 1


@contextmanager
def a_server_that_dies(registrar: Registrar, server_url: str) -> Iterator[None]:
    """Whoever changes a state loses the server: what was committed before stays."""
    database = registrar.desk.engine.url.database
    url = make_url(server_url).set(drivername="postgresql+psycopg", database=database)
    superuser = create_engine(url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with superuser.connect() as connection:
        connection.execute(
            text(
                "create function public.die() returns trigger language plpgsql as"
                " $$ begin raise exception 'the server died' using errcode = '57P01'; end $$"
            )
        )
        connection.execute(
            text(
                "create trigger die before update on ledger.credential_state for each row execute function public.die()"
            )
        )
        with pytest.raises(OperationalError, match="the server died"):
            yield
        connection.execute(text("drop trigger die on ledger.credential_state"))


def test_suspended_reinstated_revoked_for_good(registrar: Registrar) -> None:
    one = registrar.credential("safety")
    seen = []
    registrar.publish(LATER)
    seen.append(registrar.published(one))
    for hours, kind in enumerate(("suspend", "reinstate", "suspend", "revoke"), 1):
        at = LATER + timedelta(hours=hours)
        assert registrar.change(kind, one, as_of=at).done == 1
        registrar.publish(at)
        seen.append(registrar.published(one))
    assert seen == [
        ("current", False), ("suspended", True), ("current", False), ("suspended", True), ("revoked", True),
    ]  # fmt: skip
    for kind in ("reinstate", "suspend"):
        with pytest.raises(Terminal, match="it is revoked and cannot become"):
            registrar.change(kind, one, as_of=LATER + timedelta(hours=9))
    registrar.publish(LATER + timedelta(hours=10))
    assert registrar.published(one) == ("revoked", True)
    kinds = ["suspended", "reinstated", "suspended", "revoked"]
    assert [event[:2] for event in registrar.events(one)][1:] == list(zip(range(3, 7), kinds, strict=True))
    assert registrar.messages() == [("reinstated", 1), ("revoked", 1), ("suspended", 2)]


def test_a_revocation_entry_cannot_be_suspended(registrar: Registrar) -> None:
    with pytest.raises(Terminal, match="its status list is for revocation: only achievements with `status_purpose"):
        registrar.change("suspend", registrar.credential())
    assert registrar.desk.value("select count(*) from ledger.plan where kind = 'suspend'") == 0


def test_what_cannot_be_changed_holds_up_nothing_else(registrar: Registrar) -> None:
    knots, safety = registrar.credential(), registrar.credential("safety")
    changed = registrar.change("suspend", knots, safety)
    assert (changed.done, changed.in_order, list(changed.draft.refused.values())) == (1, False, [1])
    assert (registrar.state(knots), registrar.state(safety)) == ("current", "suspended")
    assert registrar.desk.rows(
        "select action, state from ledger.plan_line where plan_id = :p order by ordinal", p=changed.plan_id
    ) == [("skip", "skipped"), ("suspend", "applied")]


def test_a_superseded_version_is_refused_with_its_successor(registrar: Registrar) -> None:
    one = registrar.credential()
    registrar.correct(one, name="Una Learner")
    successor = registrar.desk.value("select public_id from ledger.credential where cause like 'correction:%'")
    with pytest.raises(Terminal, match=rf"superseded .*https://badges\.school\.example/credentials/{successor}\.json"):
        registrar.change("revoke", one)
    assert registrar.change("revoke", successor).done == 1


def test_a_query_by_plan_finds_what_the_plan_made(registrar: Registrar) -> None:
    plan = registrar.desk.value("select plan_id from ledger.plan where kind = 'issue'")
    assert registrar.change("revoke", query=Query(plan=plan), dry_run=True).draft.doing == 4
    assert registrar.change("revoke", query=Query(("knots",), plan=plan)).done == 3
    assert registrar.change("revoke", query=Query(plan=plan)).done == 1
    assert registrar.change("revoke", query=Query(plan=plan)).state == "nothing"


def test_up_to_the_limit_one_person_does_it_and_beyond_a_plan_waits(committee: Registrar) -> None:
    desk = committee.desk
    direct = committee.change("revoke", committee.credential(), actor="pia")
    assert (direct.state, direct.done) == ("applied", 1)
    desk.offer([passed(f"U{n}") for n in range(4, 6)], day=date(2026, 3, 3))
    desk.issue(date(2026, 3, 3), AS_OF + timedelta(days=1), now=AS_OF + timedelta(days=1))
    waiting = committee.change("revoke", query=Query(("knots",)), actor="bo")
    assert (waiting.state, waiting.draft.doing, waiting.done) == ("waiting", 4, 0)
    assert plan_row(desk, waiting.plan_id)[2:5] == ("planned", "four_eyes", "bo")
    assert desk.value("select count(*) from ledger.credential_state where state = 'revoked'") == 1
    assert plans.open_plans(desk.engine) == []
    with pytest.raises(Terminal, match="cannot approve plan"):
        sign(committee, BO, waiting)
    sign(committee, RITA, waiting)
    [plan] = plans.open_plans(desk.engine)
    assert desk.apply(plan, now=LATER).moved == 4
    assert desk.rows("select state, count(*) from ledger.credential_state group by 1") == [("revoked", 5)]
    assert {(event[1], event[2]) for event in committee.events(committee.credential(person="U4"))} == {
        ("issued", "pipeline"), ("revoked", "bo"),
    }  # fmt: skip


def sign(registrar: Registrar, who: Signer, changed: Changed) -> None:
    assert changed.plan_id
    assert changed.hash
    desk = registrar.desk
    approve(
        desk.engine, desk.institution, changed.plan_id, who.id, who.sign_plan(changed.hash), LATER, "run-3"
    )  # fmt: skip


def test_a_signed_correction_is_made_as_it_was_planned(committee: Registrar) -> None:
    ids = [committee.credential(person=f"U{n}") for n in (1, 2, 3)]
    corrections = [Correction(Named(str(one), "x"), results={"score": "90"}) for one in ids]
    waiting = committee.corrections(corrections, actor="pia")
    assert waiting.state == "waiting"
    again = committee.corrections(corrections, actor="pia", as_of=LATER + timedelta(hours=1))
    assert (again.state, again.plan_id) == ("waiting", waiting.plan_id)
    sign(committee, RITA, waiting)
    assert waiting.plan_id
    assert committee.desk.apply(waiting.plan_id, now=LATER).issued == 3
    assert {committee.state(one) for one in ids} == {"superseded"}
    assert committee.corrections(corrections, actor="pia").draft.already == 3


def test_a_waiting_plan_stands_when_it_is_asked_for_again_and_gives_way_when_it_is_another(
    committee: Registrar,
) -> None:
    first = committee.change("revoke", query=Query(("knots",)))
    again = committee.change("revoke", query=Query(("knots",)), as_of=LATER + timedelta(hours=1))
    assert (again.plan_id, again.state, again.replaced) == (first.plan_id, "waiting", None)
    other = committee.change("revoke", query=Query(("knots",)), reason="another")
    assert other.replaced == first.plan_id
    assert plan_row(committee.desk, first.plan_id)[2] == "stale"
    assert committee.desk.value("select count(*) from ledger.action where kind = 'revoke_planned'") == 2


def test_only_the_people_of_the_institution_let_a_change_through(committee: Registrar) -> None:
    with pytest.raises(Terminal, match=r"bob is none of the people of institution\.yaml \(bo, omar, pia, rita\)"):
        committee.change("revoke", committee.credential(), actor="bob")
    assert committee.state(committee.credential()) == "current"


@pytest.mark.parametrize("missing", [{"reason": " "}, {"actor": ""}])
def test_a_change_needs_a_reason_and_an_actor(registrar: Registrar, missing: dict[str, Any]) -> None:
    with pytest.raises(Terminal, match="needs a reason and an actor"):
        registrar.change("revoke", registrar.credential(), **missing)


def test_a_change_in_the_meantime_is_told_and_not_undone(registrar: Registrar, server_url: str) -> None:
    one = registrar.credential("safety")
    with a_server_that_dies(registrar, server_url):
        registrar.change("revoke", one)
    # The approved plan says `current:1`; by the time it is applied that is not so.
    registrar.desk.write(
        "update ledger.credential_state set state = 'suspended', version = 2 where credential_id = :c", c=one
    )
    [plan] = plans.open_plans(registrar.desk.engine)
    done = registrar.desk.apply(plan, now=LATER)
    assert (done.moved, done.stale, registrar.state(one)) == (0, 1, "suspended")
    again = registrar.change("revoke", one, reason="again")
    assert (again.done, registrar.state(one)) == (1, "revoked")
    assert [hold[:2] for hold in registrar.desk.holds()] == [("revoke", "released")]


@pytest.mark.parametrize("decided", ["waiting", "rejected"])
def test_revoking_the_duplicate_of_a_merge_decides_its_hold(
    new_desk: Callable[..., Desk], tmp_path: Path, decided: str
) -> None:
    desk = new_desk(institution(achievement("knots", results=[SCORE])))
    desk.offer([passed("U1"), passed("U2")], [user("U1"), user("U2")])
    assert desk.issue() == 2
    keep, drop = sorted(row[0] for row in desk.rows("select award_id from ledger.award"))
    desk.write("update ledger.award set duplicate_of = :keep where award_id = :drop", keep=keep, drop=drop)
    desk.offer([passed("U3")], day=date(2026, 3, 3))
    desk.issue(date(2026, 3, 3), AS_OF + timedelta(days=1), now=AS_OF + timedelta(days=1))
    assert desk.holds() == [("revoke", "waiting", ["revoke_duplicate_after_merge"])]
    desk.write("update ledger.hold set state = :decided", decided=decided)
    registrar = Registrar(desk, tmp_path)
    [(credential,)] = desk.rows("select credential_id from ledger.credential where award_id = :drop", drop=drop)
    assert registrar.change("revoke", credential, reason="merged", actor="ada").done == 1
    assert desk.rows("select state, decided_by, decision_reason from ledger.hold") == [("released", "ada", "merged")]


def test_an_edited_catalogue_is_no_obstacle(registrar: Registrar) -> None:
    edited = institution(*({**a, "criteria": "Passed it well."} for a in ACHIEVEMENTS))
    changed = replace(registrar, desk=replace(registrar.desk, institution=edited)).change(
        "revoke", registrar.credential()
    )
    assert changed.done == 1


def test_nothing_about_a_person_is_in_scope_reason_event_or_action(registrar: Registrar) -> None:
    registrar.change("revoke", query=Query(source_key="lms:U1"))
    registrar.correct(registrar.credential(person="U2"), name="Ursula Newname", results={"score": "87.0625"})
    told = registrar.desk.rows(
        "select to_jsonb(p)::text from ledger.plan p union all select to_jsonb(e)::text from ledger.event e"
        " union all select to_jsonb(a)::text from ledger.action a"
        " union all select jsonb_build_array(reasons, inputs)::text from ledger.plan_line"
    )
    said = json.dumps(told)
    assert not [word for word in ("Learner", "Ursula", "school.example", "lms:U", "87.0625") if word in said]


def test_a_change_of_more_than_one_person_may_make_is_not_carried_out_without_signatures(committee: Registrar) -> None:
    desk = committee.desk
    waits = committee.change("revoke", query=Query(achievement=("knots",)), actor="rita")
    assert waits.state == "waiting"
    desk.write("update ledger.plan set approval = 'auto', state = 'approved' where kind = 'revoke'")
    desk.write(
        "insert into ledger.approval (plan_id, plan_hash, kind, approver)"
        " select plan_id, hash, 'actor', 'rita' from ledger.plan where kind = 'revoke'"
    )
    assert waits.plan_id is not None
    with pytest.raises(plans.Stale, match=r"3 changes .policies.direct_change_limit is 2. needs them"):
        desk.apply(waits.plan_id)
    assert desk.rows("select distinct state from ledger.credential_state") == [("current",)]


NAMING = {
    "a name": ("revoke", "Ub Learner asked for it", "name"),
    "an address": ("suspend", "mail of U1@SCHOOL.example, of May", "e-mail address"),
}


@pytest.mark.parametrize("case", NAMING)
def test_a_reason_that_names_the_holder_is_refused_and_nothing_is_written(registrar: Registrar, case: str) -> None:
    kind, reason, what = NAMING[case]
    before = registrar.desk.count("ledger.plan")
    with pytest.raises(Terminal, match=f"repeats the person's {what}") as refused:
        registrar.change(kind, registrar.credential("safety"), reason=reason)
    assert "Learner" not in str(refused.value)
    assert "SCHOOL" not in str(refused.value)
    assert registrar.desk.count("ledger.plan") == before
    assert registrar.change(kind, registrar.credential("safety"), reason="case 2026-17").done == 1

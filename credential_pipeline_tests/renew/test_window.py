"""Renewing a window: planned, let through, carried out shard by shard, killed anywhere, and never twice."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from credential_pipeline.errors import Terminal
from credential_pipeline.issue.approve import approve
from credential_pipeline.issue.plans import open_plans
from credential_pipeline.renew.due import windows
from credential_pipeline.renew.waiting import still_waiting
from credential_pipeline_tests.issue.desk import SCORE, passed, written
from credential_pipeline_tests.issue.signers import PEOPLE, RITA
from credential_pipeline_tests.renew.office import (
    KNOTS,
    LATER,
    MONTH,
    NEXT_DAY,
    SAFETY,
    Office,
    renewed,
    school,
    staff,
)


def many(office: Office, number: int = 12, course: str = "safety") -> None:
    keys = [f"P{n}" for n in range(number)]
    office.issue([passed(key, course, done="2026-02-10") for key in keys], [staff(key) for key in keys])


def test_a_renewed_credential_supersedes_the_one_before_and_keeps_the_day_of_its_award(office: Office) -> None:
    office.issue([passed("A", "safety", done="2026-02-10")], [staff("A")])
    assert office.plan() == {"renew": 1}
    assert office.apply() == 1
    assert office.versions() == [
        ("issue", "superseded", date(2026, 2, 10), date(2027, 2, 10)),
        (f"renewal:{MONTH}", "current", date(2026, 2, 10), date(2028, 2, 10)),
    ]
    desk = office.desk
    [(prior, by, number)] = desk.rows(
        "select s.credential_id, s.superseded_by, s.version from ledger.credential_state s where s.state = 'superseded'"
    )
    new = desk.value("select credential_id from ledger.credential where cause <> 'issue'")
    assert (by, number) == (new, 2)
    document = json.loads(desk.documents()[new])
    assert (document["validFrom"], document["validUntil"]) == ("2027-01-11T10:00:00Z", "2028-02-10T05:00:00Z")
    assert document["awardedDate"].startswith("2026-02-10")
    assert desk.rows("select kind, actor from ledger.event where credential_id = :id order by seq", id=prior) == [
        ("issued", "pipeline"), ("superseded", "pipeline"),
    ]  # fmt: skip
    assert desk.rows("select kind from outbox.message where credential_id = :id", id=new) == [("issued",)]
    assert desk.value("select count(distinct (list_number, status_index)) from ledger.credential") == 2


def test_a_renewed_credential_is_renewed_again_in_its_own_window(office: Office) -> None:
    office.issue([passed("A", "safety", done="2026-02-10")], [staff("A")])
    assert office.renew() == 1
    assert office.renew("2028-02", datetime(2028, 1, 9, tzinfo=UTC)) == 1
    assert [v[0] for v in office.versions()] == ["issue", "renewal:2027-02", "renewal:2028-02"]
    assert [v[1] for v in office.versions()] == ["superseded", "superseded", "current"]


def test_a_second_call_writes_nothing(office: Office) -> None:
    many(office, 6)
    office.renew()
    before = written(office.desk.engine)
    assert office.plan() == {}
    assert office.renew(at=datetime(2027, 2, 2, tzinfo=UTC)) == 0
    assert written(office.desk.engine) == before


def test_the_same_instant_makes_the_same_plans_in_another_database(
    new_office: Callable[..., Office],
) -> None:
    hashes = []
    for office in (new_office(), new_office()):
        many(office, 6)
        office.plan()
        office.plan()
        hashes.append(office.desk.rows("select scope, hash, state from ledger.plan where kind = 'renew' order by 1, 2"))
    assert hashes[0] == hashes[1]
    assert {state for _, _, state in hashes[0]} == {"approved"}


@pytest.mark.parametrize(
    "change",
    [
        "update identity.source_record set fields_hash = sha256('other')",
        "update ledger.credential_state set version = 2 where state = 'current'",
        "update accepted.row set fields_hash = sha256('other') where dataset = 'lms.users'",
    ],
    ids=["its person's records", "its credential", "what its renewal requires"],
)
def test_a_plan_that_cites_what_has_changed_is_replaced_and_its_lines_are_held_if_it_is_applied(
    office: Office, change: str
) -> None:
    office.issue([passed("A", "safety", done="2026-02-10")], [staff("A")])
    office.plan()
    [plan] = open_plans(office.desk.engine)
    office.desk.write(change)
    assert office.apply() == 0
    assert office.desk.rows("select state, reasons from ledger.hold") == [("waiting", ["stale"])]
    assert office.renew() == 1, "planned anew with what is so now"
    assert plan not in open_plans(office.desk.engine)
    assert office.desk.rows("select state, decided_by from ledger.hold") == [("released", "pipeline")]


def test_a_person_who_left_after_the_plan_was_made_is_not_renewed(office: Office) -> None:
    office.issue([passed("A", "safety", done="2026-02-10")], [staff("A")])
    office.plan()
    office.desk.offer([passed("A", "safety", done="2026-02-10")], [staff("A", "left")], NEXT_DAY)
    assert office.apply() == 0
    office.plan()
    assert office.blocked() == {"requirement_not_met:lms.users status=active": 1}
    assert office.apply() == 0


BLOCKED: dict[str, tuple[str, datetime, str]] = {
    "suspended": (
        "update ledger.credential_state set state = 'suspended'", LATER, "suspended",
    ),
    "past the grace": ("select 1", datetime(2027, 3, 13, tzinfo=UTC), "grace_over"),
    "nobody to name": (
        "update identity.source_record set full_name = null", LATER, "no_name",
    ),
    "a name with digits": (
        "update identity.source_record set full_name = 'R2D2'", LATER, "name_with_digits",
    ),
    "left": (
        "update accepted.row set fields = fields || '{\"status\": \"left\"}' where dataset = 'lms.users'", LATER,
        "requirement_not_met:lms.users status=active",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BLOCKED.values(), ids=BLOCKED.keys())
def test_what_is_blocked_waits_with_its_reason_and_blocks_nobody_else(
    office: Office, case: tuple[str, datetime, str]
) -> None:
    statement, at, reason = case
    office.issue([passed("A", "safety", done="2026-02-10")], [staff("A")])
    office.desk.write(statement)
    assert office.plan(at=at) == {"hold": 1}
    assert office.blocked() == {reason: 1}
    assert office.plan(at=at) == {}, "said once"
    assert office.renew(at=at) == 0
    assert office.desk.value("select facts from ledger.plan_line where action = 'hold'") == {"action": "renew"}


OTHERS = "BCDEFGHI"


def test_a_plan_that_holds_for_other_reasons_than_before_stands_when_it_is_made_again(office: Office) -> None:
    office.issue([passed("A", "safety", done="2026-02-10")], [staff("A")])
    office.desk.write("update identity.source_record set full_name = 'R2D2'")
    assert office.plan() == {"hold": 1}
    office.desk.write("update accepted.row set fields = fields || '{\"status\": \"left\"}' where dataset = 'lms.users'")
    # Some of them are in A's shard: a plan of holds only has nothing to do, and is not made again.
    office.issue([passed(key, "safety", done="2026-02-10") for key in OTHERS], [staff(key) for key in OTHERS])
    made = {"renew": len(OTHERS), "hold": 1}
    assert office.plan() == made
    hashes = "select hash from ledger.plan where kind = 'renew' order by 1"
    before = office.desk.rows(hashes)
    assert office.plan(at=LATER + timedelta(hours=1)) == made
    assert office.desk.rows(hashes) == before


def test_within_the_grace_it_can_still_be_renewed_and_ends_as_if_it_had_been_in_time(office: Office) -> None:
    office.issue([passed("A", "safety", done="2026-02-10")], [staff("A")])
    assert office.renew(at=datetime(2027, 3, 12, 4, tzinfo=UTC)) == 1
    assert office.versions()[1][3] == date(2028, 2, 10)


def test_a_released_hold_is_renewed_although_its_reason_persists_and_a_rejected_one_is_not(office: Office) -> None:
    office.issue(
        [passed(key, "safety", done="2026-02-10") for key in "ABC"],
        [staff("A", "left"), staff("B", "left"), staff("C")],
    )
    assert office.renew() == 1
    for key, state in (("A", "released"), ("B", "rejected")):
        office.desk.write(
            "update ledger.hold set state = :state, decided_by = 'registrar' where award_id in ("
            " select award_id from ledger.award where person_id = :person)",
            state=state,
            person=office.person(key),
        )
    assert office.renew() == 1
    renewed_now = office.desk.rows("select person_id from ledger.credential where cause <> 'issue'")
    assert {person for (person,) in renewed_now} == {office.person("A"), office.person("C")}


def test_a_suspended_credential_is_not_released_into_a_renewal(office: Office) -> None:
    office.issue([passed("A", "safety", done="2026-02-10")], [staff("A")])
    office.desk.write("update ledger.credential_state set state = 'suspended'")
    office.plan()
    office.desk.write("update ledger.hold set state = 'released', decided_by = 'registrar'")
    assert office.renew() == 0
    assert office.blocked() == {"suspended": 1}


def test_a_corrected_name_is_kept_and_a_name_that_changed_at_the_source_is_taken(office: Office) -> None:
    office.issue([passed(key, "safety", done="2026-02-10") for key in "AB"], [staff("A"), staff("B")])
    desk = office.desk
    desk.write(  # as a correction of the name leaves it, without another version
        "update ledger.plan_line set cause = 'correction:1', reasons = '[\"corrected\", \"name\"]',"
        ' facts = facts || \'{"name": "Corrected"}\' where person_id = :person',
        person=office.person("A"),
    )
    desk.write("update ledger.plan set kind = 'correct'")
    desk.write("update identity.source_record set full_name = 'Renamed'")
    assert office.renew() == 2
    names = dict(desk.rows("select person_id, facts->>'name' from ledger.plan_line where action = 'renew'"))
    assert names == {office.person("A"): "Corrected", office.person("B"): "Renamed"}


def test_results_are_kept_and_one_that_left_the_catalogue_is_held(new_office: Callable[..., Office]) -> None:
    office = new_office(renewed("knots", {}, results=[SCORE]))
    office.issue([passed("A", "knots", done="2026-02-10", score="71")], [staff("A")])
    without = school(renewed("knots", {}))
    kept, office.desk.institution = office.desk.institution, without
    assert office.plan() == {"hold": 1}
    assert office.blocked() == {"result_outside_limits": 1}
    office.desk.institution = kept
    assert office.renew() == 1
    assert office.desk.value("select facts->'results' from ledger.plan_line where action = 'renew'") == [
        {"id": "score", "value": "71"}
    ]


def test_evidence_and_what_was_done_are_shown_by_the_next_version_too(new_office: Callable[..., Office]) -> None:
    office = new_office(renewed("knots", {}, evidence=[{"field": "term"}], narrative="outcome"))
    office.issue([passed("A", "knots", done="2026-02-10", term="https://work.example/1")], [staff("A")])
    assert office.renew() == 1
    renewed_one = office.desk.value("select credential_id from ledger.credential where cause <> 'issue'")
    document = json.loads(office.desk.documents()[renewed_one])
    assert document["evidence"] == [{"id": "https://work.example/1", "type": ["Evidence"]}]
    assert document["credentialSubject"]["narrative"] == "passed"


def test_killed_between_chunks_and_started_again_it_comes_to_the_same(new_office: Callable[..., Office]) -> None:
    calm, killed = new_office(), new_office()
    for office in (calm, killed):
        many(office, 12)
        office.plan()
    calm.apply()
    for _ in range(4):
        left = [2]

        def dying(as_of: datetime, office: Office = killed, left: list[int] = left) -> Any:
            left[0] -= 1
            if left[0] < 0:
                raise KeyboardInterrupt
            return office.desk.signer(as_of)

        with pytest.raises(KeyboardInterrupt):
            killed.apply(signer_at=dying, chunk=1)
        assert killed.desk.value("select count(*) from ledger.credential where cause <> 'issue'") % 2 == 0
    killed.apply(chunk=1)
    assert killed.desk.documents() == calm.desk.documents()
    assert killed.versions() == calm.versions()
    events = "select credential_id, seq, kind, actor, reason from ledger.event order by 1, 2"
    assert killed.desk.rows(events) == calm.desk.rows(events)


def test_a_shard_that_fails_is_repeated_alone(office: Office) -> None:
    many(office, 16)
    office.plan()
    first, *others = office.shards()

    def no_key(_: datetime) -> Any:
        raise Terminal("the key cannot be read")

    with pytest.raises(Terminal, match="cannot be read"):
        office.apply_one(first, signer_at=no_key)
    done = sum(office.apply_one(of) for of in others)
    assert 0 < done < 16
    assert office.apply_one(first) == 16 - done
    assert office.apply() == 0


FOUR_EYES: dict[str, tuple[tuple[dict[str, Any], ...], dict[str, Any]]] = {
    "the achievement asks for it": ((SAFETY | {"approval": "four_eyes"}, KNOTS), {}),
    "the policy asks for it": ((SAFETY, KNOTS), {"policies": {"renewal_approval": "window"}}),
}


@pytest.mark.parametrize("case", FOUR_EYES.values(), ids=FOUR_EYES.keys())
def test_four_eyes_approve_a_window_once_and_it_is_carried_out_shard_by_shard(
    new_office: Callable[..., Office], case: tuple[tuple[dict[str, Any], ...], dict[str, Any]]
) -> None:
    achievements, members = case
    office = new_office(SAFETY, KNOTS)
    many(office, 12)
    office.desk.institution = school(*achievements, people=PEOPLE, **members)
    assert office.plan() == {"renew": 12}
    assert office.apply() == 0
    [(plan, scope, state)] = office.desk.rows("select plan_id, scope, state from ledger.plan where kind = 'renew'")
    assert (scope, state) == (f"window:{MONTH}", "planned")
    with office.desk.engine.connect() as connection:
        assert still_waiting(connection, [plan]) == {plan}
    assert office.plan() == {"renew": 12}, "the plan stands: the same hash"
    assert office.desk.value("select count(*) from ledger.plan where kind = 'renew'") == 1

    digest = office.desk.value("select hash from ledger.plan where plan_id = :plan", plan=plan)
    approve(office.desk.engine, office.desk.institution, plan, RITA.id, RITA.sign_plan(digest), LATER, "run-1")
    states = []
    for of in windows(MONTH):
        shard = office.desk.value(
            "select count(*) from ledger.plan_line where plan_id = :plan"
            " and get_byte(uuid_send(person_id), 0) >> 6 = :shard",
            plan=plan,
            shard=of.shard,
        )
        assert office.apply_one(of) == shard
        states.append(office.desk.value("select state from ledger.plan where plan_id = :plan", plan=plan))
    assert states == ["approved", "approved", "approved", "applied"]
    assert office.desk.value("select count(*) from ledger.credential where cause <> 'issue'") == 12


def test_a_window_that_no_more_needs_four_eyes_is_renewed_and_its_waiting_plan_set_aside(office: Office) -> None:
    many(office, 4)
    asking, kept = school(policies={"renewal_approval": "window"}), office.desk.institution
    office.desk.institution = asking
    assert office.plan() == {"renew": 4}
    office.desk.institution = kept
    assert office.renew() == 4
    states = office.desk.rows("select approval, state, count(*) from ledger.plan where kind = 'renew' group by 1, 2")
    assert {(approval, state) for approval, state, _ in states} == {("four_eyes", "stale"), ("auto", "applied")}


def test_auto_achievements_do_not_wait_for_four_eyes_ones(new_office: Callable[..., Office]) -> None:
    office = new_office(SAFETY, KNOTS)
    office.issue(
        [passed("A", "safety", done="2026-02-10"), passed("B", "knots", done="2026-02-10")], [staff("A"), staff("B")]
    )
    office.desk.institution = school(SAFETY | {"approval": "four_eyes"}, KNOTS)
    assert office.plan() == {"renew": 2}
    assert office.apply() == 1
    assert [v[0] for v in office.versions("knots")] == ["issue", f"renewal:{MONTH}"]


def test_a_merged_person_is_renewed_as_the_survivor(office: Office) -> None:
    office.issue([passed("A", "safety", done="2026-02-10")], [staff("A"), staff("B")])
    desk = office.desk
    survivor, alias = office.person("B"), office.person("A")
    desk.write("update identity.source_record set person_id = :b where person_id = :a", a=alias, b=survivor)
    desk.write("update ledger.award set person_id = :b where person_id = :a", a=alias, b=survivor)
    assert office.renew() == 1
    assert desk.value("select person_id from ledger.credential where cause <> 'issue'") == survivor


def test_a_run_that_goes_on_where_another_was_killed_keeps_its_plan(office: Office) -> None:
    many(office, 3)
    of = next(of for of in office.shards() if office.plan_one(of).counts)
    [(first,)] = office.desk.rows("select plan_id from ledger.plan where scope = :scope", scope=of.scope)
    with office.desk.engine.begin() as connection:
        connection.execute(text("update identity.source_record set fields_hash = sha256('changed')"))
    kept = office.plan_one(of, goes_on=["renew-1"]).auto
    assert kept is not None
    assert (kept.plan_id, kept.new) == (first, False)
    another = office.plan_one(of).auto
    assert another is not None
    assert another.plan_id != first, "a run of its own plans what is so now"

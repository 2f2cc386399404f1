"""Who lets a plan through: signatures that count, those that do not, and that all of it is checked again at apply."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from credential_pipeline.errors import Terminal
from credential_pipeline.issue.apply import apply_approved
from credential_pipeline.issue.approve import Signed, approve, prepare
from credential_pipeline.issue.chunks import ApplyResult
from credential_pipeline.issue.plan import plan_day
from credential_pipeline.issue.plans import Refused, Stale, open_plans
from credential_pipeline.issue.waiting import waiting_plans
from credential_pipeline_tests.issue.desk import AS_OF, DAY, Desk, achievement, institution, passed, user, written
from credential_pipeline_tests.issue.signers import BO, OMAR, PEOPLE, PIA, RITA, STRANGER, Registrar

NewDesk = Callable[..., Desk]
HOURS = timedelta(hours=1)
ROWS = [passed("UA", "diploma"), passed("UB", "diploma"), passed("UC")]


def school(**members: Any) -> Any:
    return institution(**{"people": PEOPLE, **members})


def school_of(*achievements: dict[str, Any]) -> Any:
    return institution(*achievements, people=PEOPLE)


@pytest.fixture
def office(new_desk: NewDesk) -> Desk:
    """A desk with two diplomas that wait for four eyes, and knots that do not."""
    desk = new_desk(school())
    desk.offer(ROWS)
    return desk


def waiting(desk: Desk, created_by: str = "pipeline") -> UUID:
    """Earn and plan; the plan that waits."""
    desk.earn()
    made = plan_day(desk.engine, desk.institution, desk.secrets, DAY, AS_OF, "run-1", created_by=created_by)
    assert made.waiting is not None
    return made.waiting[0]


def hash_of(desk: Desk, plan: UUID) -> bytes:
    return bytes(desk.value("select hash from ledger.plan where plan_id = :plan", plan=plan))


def signed(desk: Desk, plan: UUID, by: Registrar, now: datetime = AS_OF, *, role: Any = approve) -> Signed:
    given: Signed = role(
        desk.engine, desk.institution, plan, by.id, by.sign_plan(hash_of(desk, plan)), now, "run-approve"
    )
    return given


def test_a_signed_plan_is_applied_and_its_holds_say_who_let_them_go(office: Desk) -> None:
    plan = waiting(office)
    assert signed(office, plan, RITA).expires_at == AS_OF + 72 * HOURS
    assert plan in open_plans(office.engine)
    assert office.apply(plan, now=AS_OF + HOURS) == ApplyResult(issued=2, stale=0)
    assert office.rows("select distinct state, decided_by, decision_reason from ledger.hold") == [
        ("released", "rita", f"plan {plan}")
    ]
    assert office.rows("select kind, subject, actor, detail->>'hash' from ledger.action order by action_id") == [
        ("plan_approved", f"plan:{plan}", "rita", hash_of(office, plan).hex()),
        ("plan_applied", f"plan:{plan}", "pipeline", None),
    ]
    assert office.apply(plan, now=AS_OF + 1000 * HOURS) == ApplyResult(0, 0), "what is done needs no approval"


def test_a_signature_over_a_line_is_one_over_the_hash(office: Desk) -> None:
    plan = waiting(office)
    given = RITA.sign(hash_of(office, plan).hex().encode() + b"\n", hash_name="sha256")
    approve(office.engine, office.institution, plan, "rita", given, AS_OF, "run")
    assert office.apply(plan).issued == 2


def test_an_approval_counts_until_it_expires_and_may_be_given_again(office: Desk) -> None:
    plan = waiting(office)
    signed(office, plan, RITA)
    with pytest.raises(Refused, match=r"approval by rita expired at 2026-03-05T10:00:00\+00:00.*nothing was done"):
        office.apply(plan, now=AS_OF + 72 * HOURS)
    assert office.count("ledger.credential") == 0
    signed(office, plan, RITA, AS_OF + 72 * HOURS)
    assert office.count("ledger.approval") == 2, "one of the catalogue for the knots, one of rita"
    assert office.apply(plan, now=AS_OF + 73 * HOURS).issued == 2


def test_a_shorter_policy_holds_for_what_was_approved_before_it(office: Desk) -> None:
    plan = waiting(office)
    signed(office, plan, RITA)
    office.institution = school(policies={"approval_valid_hours": 1})
    with pytest.raises(Refused, match="expired"):
        office.apply(plan, now=AS_OF + HOURS)


def test_another_approvers_signature_stands_in_for_one_that_expired(office: Desk) -> None:
    plan = waiting(office)
    signed(office, plan, RITA)
    signed(office, plan, OMAR, AS_OF + 70 * HOURS)
    assert office.apply(plan, now=AS_OF + 80 * HOURS).issued == 2


REFUSED: dict[str, tuple[Callable[[Desk, UUID], Any], str]] = {
    "somebody who is not listed": (
        lambda d, p: signed(d, p, STRANGER),
        "stranger is none of the people.*bo, omar|rita",
    ),
    "a preparer": (lambda d, p: signed(d, p, PIA), "pia is not listed as approver"),
    "a listed name with another's key": (
        lambda d, p: approve(d.engine, d.institution, p, "rita", OMAR.sign_plan(hash_of(d, p)), AS_OF, "run"),
        "not rita's over .*made with another key",
    ),
    "a signature for another purpose": (
        lambda d, p: approve(
            d.engine, d.institution, p, "rita", RITA.sign(hash_of(d, p).hex().encode(), namespace="file"), AS_OF, "run"
        ),
        "another purpose",
    ),
    "a signature over another plan": (
        lambda d, p: approve(d.engine, d.institution, p, "rita", RITA.sign_plan(b"x" * 32), AS_OF, "run"),
        "over something else",
    ),
    "no signature": (
        lambda d, p: approve(d.engine, d.institution, p, "rita", "approved, rita", AS_OF, "run"),
        "not an SSH signature",
    ),
    "a plan that is not there": (
        lambda d, p: approve(d.engine, d.institution, uuid4(), "rita", RITA.sign_plan(b"x" * 32), AS_OF, "run"),
        "no plan",
    ),
    "a plan that needs none": (
        lambda d, p: signed(d, d.value("select plan_id from ledger.plan where approval = 'auto'"), RITA),
        "needs no signature",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_approval_is_refused_and_changes_nothing(office: Desk, case: str) -> None:
    attempt, why = REFUSED[case]
    plan = waiting(office)
    before = written(office.engine)
    with pytest.raises(Terminal, match=why):
        attempt(office, plan)
    assert written(office.engine) == before
    with pytest.raises(Refused, match="nobody has approved it"):
        office.apply(plan)


def test_nobody_approves_what_they_made_or_prepared(office: Desk) -> None:
    own = waiting(office, created_by="bo")
    with pytest.raises(Terminal, match=r"bo cannot approve plan .* they made it themselves; another approver has to"):
        signed(office, own, BO)
    signed(office, own, BO, role=prepare)
    with pytest.raises(Refused, match="nobody has approved it"):
        office.apply(own)
    signed(office, own, RITA)
    assert office.apply(own).issued == 2


def test_whoever_prepared_a_plan_of_the_pipeline_cannot_approve_it(office: Desk) -> None:
    plan = waiting(office)
    signed(office, plan, BO, role=prepare)
    with pytest.raises(Terminal, match="they prepared it themselves"):
        signed(office, plan, BO)
    signed(office, plan, OMAR)
    with pytest.raises(Terminal, match="omar is not listed as preparer"):
        signed(office, plan, OMAR, role=prepare)


def test_who_approved_it_cannot_be_its_preparer_after_that(office: Desk) -> None:
    plan = waiting(office)
    signed(office, plan, BO)
    with pytest.raises(Terminal, match=r"bo has approved plan .* and cannot be its preparer"):
        signed(office, plan, BO, role=prepare)


def test_a_preparers_signature_may_be_demanded_for_plans_that_people_make(office: Desk) -> None:
    office.institution = school(policies={"preparation": "required"})
    plan = waiting(office, created_by="pia")
    signed(office, plan, RITA)
    with pytest.raises(Refused, match="no preparer has signed it"):
        office.apply(plan)
    signed(office, plan, PIA, role=prepare)
    assert office.apply(plan).issued == 2


CHANGED = "the lines of plan .* are not those its hash was made of"
HELD_BY_RITA = "signature of rita does not hold"
# What may change between approval and apply; each is found when the plan is applied. (what, why) -> statement.
TAMPERED: dict[tuple[str, str], str] = {
    ("a fact of a line", CHANGED): """
        update ledger.plan_line set facts = jsonb_set(facts, '{name}', '"Mallory"') where achievement = 'diploma'
    """,
    ("a line more", CHANGED): """
        insert into ledger.plan_line (plan_id, ordinal, action, reasons, inputs, state)
        select plan_id, 9, 'skip', '[]', '{}', 'skipped' from ledger.plan where approval = 'four_eyes'
    """,
    ("a line less", CHANGED): """
        delete from ledger.plan_line where ordinal = 1 and plan_id = (
          select plan_id from ledger.plan where approval = 'four_eyes')
    """,
    ("its instant", CHANGED): """
        update ledger.plan set as_of = as_of - interval '1 day' where approval = 'four_eyes'
    """,
    ("its hash", "rita signed another hash"): """
        update ledger.plan set hash = sha256(hash) where approval = 'four_eyes'
    """,
    ("the hash in both places", HELD_BY_RITA): """
        with h as (update ledger.plan set hash = sha256(hash) where approval = 'four_eyes' returning hash)
        update ledger.approval set plan_hash = (select hash from h) where kind = 'signature'
    """,
    ("the signature", f"{HELD_BY_RITA}: not an SSH signature"): """
        update ledger.approval set signature = null where kind = 'signature'
    """,
    ("whose signature it is", "signature of omar does not hold: it was made with another key"): """
        update ledger.approval set approver = 'omar' where kind = 'signature'
    """,
    ("when it expires", "approval by rita expired"): """
        update ledger.approval set expires_at = '2036-01-01', approved_at = '2026-02-01' where kind = 'signature'
    """,
    ("when it was given", "approval by rita is of 2036-01-01.*still to come: see the clocks"): """
        update ledger.approval set expires_at = '2036-01-02', approved_at = '2036-01-01' where kind = 'signature'
    """,
    ("an approval of another kind instead", "nobody has approved it"): """
        update ledger.approval set kind = 'actor' where kind = 'signature'
    """,
}


@pytest.mark.parametrize(("case", "why"), TAMPERED, ids=[case for case, _ in TAMPERED])
def test_what_was_changed_after_the_approval_is_not_applied(office: Desk, case: str, why: str) -> None:
    statement = TAMPERED[case, why]
    plan = waiting(office)
    signed(office, plan, RITA)
    office.write(statement)
    with pytest.raises(Refused, match=why):
        office.apply(plan)
    assert office.count("ledger.credential") == 0


UNLISTED: dict[str, tuple[list[dict[str, Any]], str]] = {
    "no more": ([OMAR.listed], "rita is none of the people"),
    "as a preparer only": ([Registrar("rita", ("preparer",)).listed], "rita is not listed as approver"),
    "with a new key": ([{**STRANGER.listed, "id": "rita"}], "signature of rita does not hold: .*another key"),
}


@pytest.mark.parametrize("case", UNLISTED)
def test_who_approved_must_be_listed_with_that_key_when_it_is_applied(office: Desk, case: str) -> None:
    people, why = UNLISTED[case]
    plan = waiting(office)
    signed(office, plan, RITA)
    office.institution = school(people=people)
    with pytest.raises(Refused, match=why):
        office.apply(plan)
    assert office.count("ledger.credential") == 0


RENAMED = achievement("diploma", occurrence="once", approval="four_eyes", name="New")
REJECT = "update ledger.hold set state = 'rejected' where award_id = (select award_id from ledger.hold limit 1)"
MOVE = "update identity.source_record set fields_hash = sha256('x') where source_key = 'lms:UB'"
STALE: dict[str, tuple[Callable[[Desk], None], str]] = {
    "its row": (lambda desk: desk.regate("UA", "diploma", score="99"), "line [01]: its row changed"),
    "its person": (lambda desk: desk.write(MOVE), "line [01]: its person's records changed"),
    "its rule": (
        lambda desk: setattr(desk, "institution", school_with(RENAMED)),
        "achievement diploma in the catalogue changed",
    ),
    "a rejected hold": (lambda desk: desk.write(REJECT), "the decision about its hold changed"),
}


def school_with(*achievements: Any) -> Any:
    return institution(*achievements, people=PEOPLE)


@pytest.mark.parametrize("case", STALE)
def test_a_plan_whose_inputs_changed_is_refused_whole_and_set_aside(office: Desk, case: str) -> None:
    change, why = STALE[case]
    plan = waiting(office)
    signed(office, plan, RITA)
    change(office)
    with pytest.raises(
        Refused, match=f"plan {plan} is stale, nothing more of it was applied: .*{why}.*approved as it is"
    ):
        office.apply(plan)
    assert office.count("ledger.credential") == 0
    assert office.rows("select state from ledger.plan where plan_id = :plan", plan=plan) == [("stale",)]
    assert office.value("select detail->>'why' from ledger.action where kind = 'plan_set_aside'").startswith("plan ")
    with pytest.raises(Refused, match="stale"):
        signed(office, plan, OMAR)


def test_what_went_stale_is_planned_again_and_takes_a_new_approval(office: Desk) -> None:
    plan = waiting(office)
    signed(office, plan, RITA)
    office.regate("UA", "diploma", score="99")
    with pytest.raises(Refused):
        office.apply(plan)
    again = waiting(office)
    assert again != plan
    with pytest.raises(Refused, match="nobody has approved it"):
        office.apply(again)
    signed(office, again, RITA)
    assert office.apply(again).issued == 2


def test_a_stale_plan_is_not_approved(office: Desk) -> None:
    plan = waiting(office)
    office.regate("UA", "diploma", score="99")
    with pytest.raises(Refused, match="its row changed"):
        signed(office, plan, RITA)
    assert office.rows("select kind from ledger.approval") == [("catalogue",)]


def test_a_plan_that_is_made_again_keeps_its_approval_only_while_it_is_the_same(office: Desk) -> None:
    plan = waiting(office)
    signed(office, plan, RITA)
    assert waiting(office) == plan
    assert office.value("select state from ledger.plan where plan_id = :plan", plan=plan) == "approved"
    office.offer([*ROWS, passed("UD", "diploma")], [user("UD")])
    assert waiting(office) != plan
    with pytest.raises(Refused, match="stale"):
        office.apply(plan)


def test_a_refused_plan_holds_up_no_other(office: Desk) -> None:
    plan = waiting(office)
    signed(office, plan, RITA)
    applied = apply_approved(
        office.engine, office.institution, office.secrets, office.signer, "run", now=AS_OF + 100 * HOURS
    )
    assert applied.issued == 1
    assert list(applied.refused) == [plan]
    assert "expired" in applied.refused[plan]


def test_the_list_of_what_waits_says_why(office: Desk) -> None:
    plan = waiting(office)
    [found] = waiting_plans(office.engine, office.institution, AS_OF)
    assert (found.plan_id, found.lines, found.waits_for, found.approved_at) == (plan, 2, "nobody has approved it", None)
    signed(office, plan, RITA)
    [found] = waiting_plans(office.engine, office.institution, AS_OF)
    assert (found.waits_for, found.approved_at) == (None, AS_OF)
    [found] = waiting_plans(office.engine, office.institution, AS_OF + 73 * HOURS)
    assert "expired" in (found.waits_for or "")
    office.apply(plan)
    assert waiting_plans(office.engine, office.institution, AS_OF) == []


def test_a_plan_that_died_half_way_is_finished_with_the_same_approval(office: Desk) -> None:
    plan = waiting(office)
    signed(office, plan, RITA)
    calls: list[datetime] = []

    def dies_at_the_second(as_of: datetime) -> Any:
        calls.append(as_of)
        if len(calls) == 2:
            raise ConnectionError("the key service is gone")
        return office.signer(as_of)

    with pytest.raises(ConnectionError):
        office.apply(plan, chunk=1, signer_at=dies_at_the_second)
    assert office.count("ledger.credential") == 1
    assert office.apply(plan, now=AS_OF + HOURS).issued == 1


# A plan that needs signatures, rewritten by somebody who has the database: (who claims to let it through) -> kind.
FORGED = {"the catalogue": "catalogue", "an actor": "actor"}


@pytest.mark.parametrize("case", FORGED)
def test_a_plan_that_claims_to_need_no_signature_is_held_to_the_reviewed_files(office: Desk, case: str) -> None:
    plan = waiting(office)
    office.write("update ledger.plan set approval = 'auto', state = 'approved' where approval = 'four_eyes'")
    office.write(
        "insert into ledger.approval (plan_id, plan_hash, kind, approver)"
        f" select plan_id, hash, '{FORGED[case]}', 'catalogue ' || encode(catalogue_version, 'hex')"
        f" from ledger.plan where plan_id = '{plan}'"
    )
    with pytest.raises(
        Stale, match=r"has no signatures, and what it makes .approval: four_eyes of diploma. needs them"
    ):
        office.apply(plan)
    assert office.count("ledger.credential") == 0
    assert office.value("select state from ledger.plan where plan_id = :plan", plan=plan) == "stale"


def test_what_was_let_through_before_the_catalogue_wanted_four_eyes_is_planned_again(office: Desk) -> None:
    waiting(office)
    [(auto,)] = office.rows("select plan_id from ledger.plan where approval = 'auto'")
    office.institution = school_of(achievement("knots", approval="four_eyes"), achievement("diploma"))
    with pytest.raises(Stale, match="approval: four_eyes of knots"):
        office.apply(auto)
    office.earn(run_id="run-2")
    again = plan_day(office.engine, office.institution, office.secrets, DAY, AS_OF + HOURS, "run-2")
    assert again.waiting is not None
    signed(office, again.waiting[0], RITA)
    assert office.apply(again.waiting[0], now=AS_OF + HOURS) == ApplyResult(issued=1, stale=0)

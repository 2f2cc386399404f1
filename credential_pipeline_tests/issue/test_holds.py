"""Holds: a person's decision is followed by the next plan; alarms hold what looks wrong beside the rest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from credential_pipeline.credential import identifiers
from credential_pipeline.errors import Terminal
from credential_pipeline.institution import Institution
from credential_pipeline.issue.chunks import ApplyResult
from credential_pipeline.issue.holds import Choice, Decision, Hold, decide_holds, find_holds
from credential_pipeline_tests.issue.desk import AS_OF, DAY, Desk, institution, passed, user, written
from credential_pipeline_tests.issue.signers import PEOPLE
from credential_pipeline_tests.ledger import Ledger

NewDesk = Callable[..., Desk]
NEXT = DAY + timedelta(days=1)
LATER = AS_OF + timedelta(days=1)
DIGITS = user("UA", full_name="ada99")


def decide(desk: Desk, decision: Decision, *awards: UUID, actor: str = "registrar", **chosen: Any) -> list[Hold]:
    return decide_holds(
        desk.engine, desk.institution, Choice(awards, **chosen), decision,
        actor=actor, reason="asked the register", now=AS_OF, run_id="run-hold",
    )  # fmt: skip


def award(desk: Desk) -> UUID:
    [one] = find_holds(desk.engine, Choice())
    return one.award_id


def test_a_released_hold_is_planned_although_its_reason_is_still_there(desk: Desk) -> None:
    desk.offer([passed("UA")], [DIGITS])
    desk.plan()
    held = award(desk)
    [decided] = decide(desk, "released", held)
    assert (decided.state, decided.reasons) == ("released", ("name_with_digits",))
    assert desk.issue(as_of=LATER) == 1
    assert desk.rows("select state, decided_by, decision_reason, released from ledger.hold") == [
        ("released", "registrar", "asked the register", ["name_with_digits"])
    ]
    assert desk.rows("select kind, subject, actor, reason from ledger.action where kind like 'hold%'") == [
        ("hold_released", f"hold:{held}", "registrar", "asked the register")
    ]
    assert desk.issue(as_of=LATER) == 0


def test_a_release_is_followed_also_while_the_plan_that_held_it_stands(desk: Desk) -> None:
    desk.offer([passed("UA"), passed("UB")], [DIGITS])
    first = desk.plan()
    assert first.counts == {"create": 1, "hold": 1}
    decide(desk, "released", award(desk))
    second = desk.plan()
    assert second.counts == {"create": 2}
    assert desk.rows("select state from ledger.plan where plan_id = :plan", plan=first.plan_id) == [("stale",)]


def test_a_plan_that_holds_what_was_released_in_part_stands_when_it_is_made_again(desk: Desk) -> None:
    desk.offer([passed("UA", "diploma"), passed("UC")], [DIGITS])
    desk.issue()
    decide(desk, "released", reason="name_with_digits")
    desk.offer([passed("UA", "diploma"), passed("UD")], [DIGITS], NEXT)
    made_twice(desk)
    assert desk.holds() == [("create", "waiting", ["approval_required"])]


def test_a_plan_that_holds_for_fewer_reasons_than_before_stands_when_it_is_made_again(desk: Desk) -> None:
    desk.offer([passed("UA", score="140"), passed("UC")], [DIGITS])
    desk.issue()
    desk.offer([passed("UA", score="99"), passed("UD")], [DIGITS], NEXT)
    made_twice(desk)
    assert desk.holds() == [("create", "waiting", ["name_with_digits"])]


def made_twice(desk: Desk) -> None:
    first = desk.plan(NEXT, LATER)
    assert first.counts == {"create": 1, "hold": 1}
    again = desk.plan(NEXT, LATER + timedelta(hours=1))
    assert (again.plan_id, again.hash) == (first.plan_id, first.hash)


def test_a_release_lifts_its_reasons_and_no_later_one(desk: Desk) -> None:
    desk.offer([passed("UA")], [DIGITS])
    desk.plan()
    decide(desk, "released", award(desk))
    desk.offer([passed("UA", score="140")], [DIGITS], NEXT)
    assert desk.plan(NEXT, LATER).counts == {"hold": 1}
    assert desk.holds() == [("create", "waiting", ["result_outside_limits"])]
    desk.offer([passed("UA", score="99")], [DIGITS], NEXT)
    assert desk.issue(NEXT, LATER) == 1, "what was released stays released"


def test_a_rejected_hold_stays_with_its_reason_and_may_be_taken_back(desk: Desk) -> None:
    desk.offer([passed("UA")], [DIGITS])
    desk.plan()
    held = award(desk)
    decide(desk, "rejected", held)
    desk.offer([passed("UA")], [user("UA")], NEXT)
    assert desk.plan(NEXT, LATER).counts == {}
    assert desk.rows("select state, decided_by, decision_reason, reasons from ledger.hold") == [
        ("rejected", "registrar", "asked the register", ["name_with_digits"])
    ]
    assert decide(desk, "rejected", held) == [], "a repeated command changes nothing"
    assert len(decide(desk, "released", held)) == 1
    assert desk.issue(NEXT, LATER) == 1
    assert decide(desk, "rejected", held) == [], "what is issued is for a revocation"


def test_what_is_rejected_between_plan_and_apply_is_not_issued(desk: Desk) -> None:
    desk.offer([passed("UA"), passed("UB")], [DIGITS])
    desk.plan()
    held = award(desk)
    decide(desk, "released", held)
    plan = desk.planned()
    decide(desk, "rejected", held)
    assert desk.apply(plan) == ApplyResult(issued=1, stale=1)
    assert desk.rows("select state, reasons from ledger.hold") == [("rejected", ["name_with_digits"])]


NOT_FOR_A_PERSON: dict[str, tuple[dict[str, str], dict[str, str], str]] = {
    "an approval": ({"course": "diploma"}, {}, "waits for approval_required.*have the plan .* approved"),
    "no identifier": ({}, {}, "waits for no_identifier.*complete the person"),
    "a result beyond its limits": ({"score": "140"}, {}, "waits for result_outside_limits.*correct the row"),
    "a day to come": ({"done": "2026-03-09"}, {}, "waits for awarded_after_as_of.*later run"),
    "validity that is over": ({"course": "safety", "done": "2024-01-01"}, {}, "waits for validity_over.*reject it"),
}


@pytest.mark.parametrize("case", NOT_FOR_A_PERSON)
def test_what_no_document_could_say_is_not_released(new_desk: NewDesk, case: str) -> None:
    row, fields, why = NOT_FOR_A_PERSON[case]
    recipient = {"name": "shown", "identifiers": [{"type": "sisSourcedId", "from": "sis"}]}
    desk = new_desk(institution(recipient=recipient) if case == "no identifier" else None)
    desk.offer([passed("UA", **row)], [user("UA", **fields)])
    desk.plan()
    before = written(desk.engine)
    with pytest.raises(Terminal, match=f"{why}.*Nothing was decided"):
        decide(desk, "released", award(desk))
    assert written(desk.engine) == before
    assert len(decide(desk, "rejected", award(desk))) == 1


def test_releasing_a_name_leaves_the_approval_to_be_given(desk: Desk) -> None:
    desk.offer([passed("UA", "diploma")], [DIGITS])
    assert desk.plan().waiting is None
    assert desk.holds() == [("create", "waiting", ["approval_required", "name_with_digits"])]
    decide(desk, "released", award(desk))
    for day, as_of in ((DAY, AS_OF), (DAY, LATER)):
        made = desk.plan(day, as_of)
        assert made.waiting is not None, "and that is remembered by every plan after it"
        assert made.waiting[1] == 1
        assert desk.holds() == [("create", "waiting", ["approval_required"])]
    assert desk.issue() == 0


def test_many_are_decided_at_once_by_their_reason(desk: Desk) -> None:
    odd = [user(f"U{n}", full_name=f"user{n}") for n in range(3)]
    desk.offer([passed(f"U{n}", course) for n in range(3) for course in ("knots", "safety")], odd)
    desk.plan()
    assert len(decide(desk, "released", reason="name_with_digits", achievement="knots")) == 3
    assert len(find_holds(desk.engine, Choice(reason="name_with_digits"))) == 3
    assert desk.issue(as_of=LATER) == 3


UNCLEAR: dict[str, tuple[dict[str, Any], Sequence[UUID], str]] = {
    "a hold that is not there": ({}, (uuid4(),), "no hold of .*Nothing was decided"),
    "nothing": ({}, (), "say which holds"),
    "nobody": ({"actor": " "}, (uuid4(),), "needs an actor"),
}


@pytest.mark.parametrize("case", UNCLEAR)
def test_a_decision_that_is_not_clear_is_refused(desk: Desk, case: str) -> None:
    options, awards, why = UNCLEAR[case]
    with pytest.raises(Terminal, match=why):
        decide(desk, "released", *awards, **options)


def test_only_listed_people_decide_where_people_are_listed(new_desk: NewDesk) -> None:
    desk = new_desk(institution(people=PEOPLE))
    desk.offer([passed("UA")], [DIGITS])
    desk.plan()
    with pytest.raises(Terminal, match=r"registrar is none of the people of institution.yaml .bo, omar, pia, rita."):
        decide(desk, "released", award(desk))
    assert len(decide(desk, "released", award(desk), actor="rita")) == 1


def test_a_second_credential_after_a_merge_is_revoked_once_somebody_says_so(desk: Desk) -> None:
    desk.offer([passed("UA"), passed("UB")])
    desk.issue()
    with desk.engine.begin() as connection:
        Ledger(connection).merge(*(identifiers.person_id("school", key) for key in ("lms:UB", "lms:UA")))
    desk.plan(as_of=LATER)
    decide(desk, "released", award(desk))
    plan = desk.plan(as_of=LATER)
    assert plan.counts == {"revoke": 1}
    assert plan.plan_id is not None
    assert desk.plan(as_of=LATER) == plan
    assert desk.apply(plan.plan_id, now=LATER) == ApplyResult(issued=0, stale=0, moved=1)
    assert desk.rows(
        "select s.state, s.reason from ledger.award w join ledger.credential using (award_id)"
        " join ledger.credential_state s using (credential_id) where w.duplicate_of is not null"
    ) == [("revoked", "revoke_duplicate_after_merge")]
    assert desk.plan(as_of=LATER).counts == {}


def alarmed(desk: Desk, rows: Sequence[Any], users: Sequence[Any] = (), **more: Any) -> list[tuple[str, ...]]:
    """The reasons of the holds that the batch of DAY ends up with, sorted."""
    desk.offer(rows, users, **more)
    desk.plan()
    return sorted(one.reasons for one in find_holds(desk.engine, Choice()))


def watchful(**policies: Any) -> Institution:
    return institution(policies=policies)


def test_without_a_policy_no_alarm_is_raised(desk: Desk) -> None:
    rows = [passed(f"U{n}", score="70") for n in range(30)] + [passed("UX", score="1"), passed("UX", score="99")]
    assert alarmed(desk, rows) == []


def test_the_first_use_of_an_achievement_waits_until_one_was_let_go(new_desk: NewDesk) -> None:
    desk = new_desk(watchful(hold_first_use=True))
    assert alarmed(desk, [passed("UA"), passed("UB"), passed("UC")]) == [("first_use_of_achievement",)] * 3
    decide(desk, "released", find_holds(desk.engine, Choice())[0].award_id)
    assert desk.issue(as_of=LATER) == 1
    assert desk.issue(as_of=LATER + timedelta(days=1)) == 2, "it is known now"
    assert {state for _, state, _ in desk.holds()} == {"released"}


def test_more_awards_than_one_person_can_have_wait(new_desk: NewDesk) -> None:
    desk = new_desk(watchful(hold_awards_above=2))
    rows = [passed("UA", term=f"20{n}SP") for n in range(10, 13)] + [passed("UB", term=f"20{n}SP") for n in (10, 11)]
    assert alarmed(desk, rows) == [("too_many_for_one_person",)] * 3
    assert desk.issue(as_of=LATER) == 2


def test_rows_that_contradict_each_other_wait_and_equal_ones_do_not(new_desk: NewDesk) -> None:
    desk = new_desk(watchful(hold_contradicting_rows=True))
    rows = [
        passed("UA", score="70"), passed("UA", score="95"),
        passed("UB", done="2026-02-01"), passed("UB", done="2026-02-03"),
        passed("UC", note="first export"), passed("UC", note="second export"),
    ]  # fmt: skip
    assert alarmed(desk, rows) == [("contradicting_rows",)] * 2
    persons = {person for (person,) in desk.rows("select person_id from ledger.plan_line where action = 'hold'")}
    assert persons == {identifiers.person_id("school", key) for key in ("lms:UA", "lms:UB")}


def test_a_score_far_off_the_others_waits(new_desk: NewDesk) -> None:
    desk = new_desk(watchful(hold_score_beyond=3))
    rows = [passed(f"U{n}", score=str(60 + n)) for n in range(21)] + [passed("UX", score="3"), passed("UY", score="90")]
    assert alarmed(desk, rows) == [("score_far_off",)]
    held = desk.value("select facts->'results'->0->>'value' from ledger.plan_line where action = 'hold'")
    assert held == "3"


def test_a_few_scores_say_nothing_about_what_is_usual(new_desk: NewDesk) -> None:
    desk = new_desk(watchful(hold_score_beyond=3))
    assert alarmed(desk, [passed(f"U{n}", score="70") for n in range(10)] + [passed("UX", score="3")]) == []


def test_many_more_than_ever_before_wait(new_desk: NewDesk) -> None:
    desk = new_desk(watchful(hold_volume_above=2))
    for n in range(3):
        desk.offer([passed(f"U{n}a"), passed(f"U{n}b")], day=DAY + timedelta(days=n))
        assert desk.issue(DAY + timedelta(days=n), AS_OF + timedelta(days=n)) == 2
    fourth, instant = DAY + timedelta(days=3), AS_OF + timedelta(days=3)
    desk.offer([passed(f"V{n}") for n in range(5)], day=fourth)
    assert desk.plan(fourth, instant).counts == {"hold": 5}
    assert len(decide(desk, "released", reason="unusual_volume")) == 5
    assert desk.issue(fourth, instant) == 5

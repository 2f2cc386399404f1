"""What a merge of persons does to awards, to plans, and to what is earned after it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from itertools import permutations
from uuid import UUID

import pytest
from sqlalchemy import Engine, text

from credential_pipeline.credential import identifiers
from credential_pipeline.issue.merges import settle_merges
from credential_pipeline_tests.issue.desk import AS_OF, DAY, Desk, passed, user
from credential_pipeline_tests.ledger import Ledger

NEXT = DAY + timedelta(days=1)
LATER = AS_OF + timedelta(days=1)


@pytest.fixture
def ledger(engine: Engine) -> Iterator[Ledger]:
    with engine.begin() as connection:
        made = Ledger(connection)
        made.base()
        yield made


def awards(ledger: Ledger) -> dict[UUID, tuple[UUID, UUID | None]]:
    """(person, duplicate of) of every award."""
    found = ledger.connection.execute(text("select award_id, person_id, duplicate_of from ledger.award"))
    return {award: (person, duplicate_of) for award, person, duplicate_of in found}


def award(ledger: Ledger, person: UUID, day: date, achievement: str = "knots", occurrence: str = "2026SP") -> UUID:
    made = ledger.award(person, achievement, occurrence)
    ledger.execute("update ledger.award set day = :on where award_id = :award", on=day, award=made)
    return made


def test_awards_move_to_the_survivor_and_nobody_elses_do(ledger: Ledger) -> None:
    alias, survivor, other = (ledger.person(key) for key in ("lms:A", "lms:B", "lms:C"))
    moving, staying, apart = (
        award(ledger, alias, DAY),
        award(ledger, survivor, DAY, "safety"),
        award(ledger, other, DAY),
    )
    ledger.merge(alias, survivor)
    assert settle_merges(ledger.connection) == 1
    assert awards(ledger) == {moving: (survivor, None), staying: (survivor, None), apart: (other, None)}
    assert settle_merges(ledger.connection) == 0


def test_another_occurrence_is_no_duplicate(ledger: Ledger) -> None:
    alias, survivor = ledger.person("lms:A"), ledger.person("lms:B")
    first = award(ledger, alias, DAY, occurrence="2025FA")
    second = award(ledger, survivor, DAY)
    ledger.merge(alias, survivor)
    settle_merges(ledger.connection)
    assert awards(ledger) == {first: (survivor, None), second: (survivor, None)}


def test_of_two_awards_of_one_day_the_smaller_id_is_the_older(ledger: Ledger) -> None:
    alias, survivor = ledger.person("lms:A"), ledger.person("lms:B")
    older, younger = sorted(award(ledger, person, DAY) for person in (alias, survivor))
    ledger.merge(alias, survivor)
    settle_merges(ledger.connection)
    assert awards(ledger) == {older: (survivor, None), younger: (survivor, older)}


@pytest.mark.parametrize("at_once", [True, False], ids=["at once", "one after the other"])
def test_of_three_persons_the_oldest_award_stays_alive(ledger: Ledger, at_once: bool) -> None:
    for days in permutations(range(3)):
        attempt = ledger.connection.begin_nested()
        survivor, *aliases = persons = [ledger.person(f"lms:{key}") for key in "ABC"]
        aged = sorted(zip(days, persons, strict=True), key=lambda pair: pair[0])
        by_age = [award(ledger, person, DAY + timedelta(days=after)) for after, person in aged]
        for alias in aliases:
            ledger.merge(alias, survivor)
            if not at_once:
                settle_merges(ledger.connection)
        settle_merges(ledger.connection)
        oldest = by_age[0]
        assert awards(ledger) == {a: (survivor, None if a == oldest else oldest) for a in by_age}, days
        attempt.rollback()


def test_a_duplicate_follows_when_its_person_is_merged_once_more(ledger: Ledger) -> None:
    """A chain of merges: what was a duplicate of a duplicate points at the one that lives."""
    first, second, third = (ledger.person(f"lms:{key}") for key in "ABC")
    older, middle = award(ledger, second, DAY), award(ledger, third, NEXT)
    ledger.merge(third, second)
    settle_merges(ledger.connection)
    assert awards(ledger)[middle] == (second, older)
    oldest = award(ledger, first, DAY - timedelta(days=9))
    ledger.merge(second, first)
    ledger.execute("update identity.person_alias set person_id = :s where person_id = :a", s=first, a=second)
    settle_merges(ledger.connection)
    assert awards(ledger) == {oldest: (first, None), older: (first, oldest), middle: (first, oldest)}


def one_human(desk: Desk) -> None:
    """What identify/ stores when UA and UB turn out to be one: UA is the smaller id or the older person."""
    with desk.engine.begin() as connection:
        Ledger(connection).merge(*(identifiers.person_id("school", key) for key in ("lms:UB", "lms:UA")))


def test_the_survivors_evidence_finds_the_award_that_moved_and_mints_no_other(desk: Desk) -> None:
    desk.offer([passed("UB")], [user("UA"), user("UB")])
    assert desk.issue() == 1
    one_human(desk)
    desk.offer([passed("UA", score="90")], day=NEXT)
    desk.earn(NEXT)
    minted_for = identifiers.person_id("school", "lms:UB")
    assert desk.rows("select award_id, person_id from ledger.award") == [
        (
            identifiers.award_id("school", minted_for, "knots", "2026SP"),
            identifiers.person_id("school", "lms:UA"),
        )
    ]
    assert desk.issue(NEXT, LATER) == 0


def test_two_credentials_for_one_thing_wait_for_a_person_and_both_stay(desk: Desk) -> None:
    desk.offer([passed("UA"), passed("UB")])
    assert desk.issue() == 2
    one_human(desk)
    plan = desk.plan(as_of=LATER)
    assert plan.counts == {"hold": 1}
    assert desk.holds() == [("revoke", "waiting", ["revoke_duplicate_after_merge"])]
    [(credential, award)] = desk.rows(
        "select l.credential_id, l.award_id from ledger.plan_line l where l.plan_id = :plan", plan=plan.plan_id
    )
    assert award == desk.value("select award_id from ledger.award where duplicate_of is not null")
    assert credential == identifiers.credential_id(award, "issue")
    assert desk.rows("select distinct state from ledger.credential_state") == [("current",)]
    assert desk.plan(as_of=LATER + timedelta(days=1)) == plan, "it is held once"
    assert desk.count("ledger.hold") == 1


def test_a_duplicate_that_was_not_issued_yet_is_not_issued(desk: Desk) -> None:
    desk.offer([passed("UA"), passed("UB")])
    assert desk.earn().awards == 2
    one_human(desk)
    assert desk.earn().awards == 1
    assert desk.issue() == 1
    assert desk.value("select duplicate_of from ledger.award w join ledger.credential using (award_id)") is None
    assert desk.holds() == []

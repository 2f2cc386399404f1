"""Which rows earn what: the catalogue's rules, occurrences, and that a decision is made once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from uuid import UUID

import pytest

from credential_pipeline.credential import identifiers
from credential_pipeline.issue.earn import Earned, EarnResult, Evidence, Rules, Skipped
from credential_pipeline_tests.identify.batches import Fields
from credential_pipeline_tests.issue.desk import ACHIEVEMENTS, DAY, Desk, achievement, institution, passed, written

PERSON = UUID(int=1)
NEXT = DAY + timedelta(days=1)


def row(fields: Fields, dataset: str = "lms.completions") -> Evidence:
    return Evidence(7, bytes(32), bytes(32), dataset, PERSON, fields)


SCHOOL = institution(
    *ACHIEVEMENTS,
    achievement(
        "mastery",
        occurrence="once",
        earned_by=[
            {"dataset": "lms.completions", "where": {"course": "knots", "score": ["99", "100"]}, "awarded_on": "done"},
            {"dataset": "lms.exams", "where": {"course": ["knots", "splices"]}, "awarded_on": "done"},
        ],
    ),
)

SKIPPED = {
    "a course that no rule knows": (passed("U", "algebra"), "lms.completions", "course=algebra"),
    "the nearest rule gives the reason": (passed("U", outcome="failed"), "lms.completions", "outcome=failed"),
    "a field that is absent": (passed("U", outcome=""), "lms.completions", "outcome="),
    "a dataset without a rule": (passed("U"), "lms.letters", "no_rule_for_dataset"),
    "no occurrence": (passed("U", term=""), "lms.completions", "no_occurrence"),
    "no date": (passed("U", done=""), "lms.completions", "no_award_date"),
    "a value of another case": (passed("U", outcome="Passed"), "lms.completions", "outcome=Passed"),
}


@pytest.mark.parametrize("case", SKIPPED)
def test_a_row_that_earns_nothing_says_which_condition_failed(case: str) -> None:
    fields, dataset, reason = SKIPPED[case]
    evidence = row(fields, dataset)
    assert Rules(SCHOOL.catalogue).judge(evidence) == Skipped(evidence, reason)


EARNING = {
    "one occurrence a term": (passed("U"), "lms.completions", [("knots", "2026SP")]),
    "once, whatever the term": (passed("U", "safety"), "lms.completions", [("safety", "once")]),
    "once, without a term": (passed("U", "safety", term=""), "lms.completions", [("safety", "once")]),
    "two achievements": (passed("U", score="99"), "lms.completions", [("knots", "2026SP"), ("mastery", "once")]),
    "one of several values": (passed("U", "splices"), "lms.exams", [("mastery", "once")]),
    "one achievement though another rule fails": (
        passed("U", outcome="failed", score="100"),
        "lms.completions",
        [("mastery", "once")],
    ),
}


@pytest.mark.parametrize("case", EARNING)
def test_a_row_earns_what_the_rules_say(case: str) -> None:
    fields, dataset, expected = EARNING[case]
    evidence = row(fields, dataset)
    assert Rules(SCHOOL.catalogue).judge(evidence) == [
        Earned(evidence, achievement, occurrence, date(2026, 2, 1)) for achievement, occurrence in expected
    ]


def awards(desk: Desk) -> list[tuple[str, str, date]]:
    return desk.rows("select achievement, occurrence, awarded_on from ledger.award order by 1, 2, 3")


def decisions(desk: Desk) -> list[tuple[str, str | None]]:
    """(what the row said of its day, why it earns nothing) of every decision."""
    return desk.rows(
        "select a.fields->>'done', d.reason from ledger.decision d join accepted.row a using (row_id) order by 1, 2"
    )


@pytest.mark.parametrize("order", [1, -1])
def test_earned_twice_in_a_batch_is_one_award_of_the_earliest_row_in_any_order(desk: Desk, order: int) -> None:
    desk.offer([passed("UA", done="2026-02-01"), passed("UA", done="2026-01-15", score="55")][::order])
    assert desk.earn() == EarnResult(accepted=2, earning=1, skipped={"already_earned": 1}, awards=1)
    assert awards(desk) == [("knots", "2026SP", date(2026, 1, 15))]
    assert decisions(desk) == [("2026-01-15", None), ("2026-02-01", "already_earned")]


@pytest.mark.parametrize("order", [1, -1])
def test_two_rows_of_one_day_are_told_apart_by_their_hashes(desk: Desk, order: int) -> None:
    desk.offer([passed("UA", score=score) for score in ("60", "61", "62")][::order])
    desk.earn()
    earning = desk.value(
        "select row_hash from ledger.decision join landed.row using (row_id) where outcome = 'earning'"
    )
    assert earning == desk.value("select min(row_hash) from landed.row where dataset = 'lms.completions'")


def test_another_term_is_another_award_and_once_is_once(desk: Desk) -> None:
    terms = [{"term": "2025FA", "done": "2025-12-01"}, {"term": "2026SP"}]
    desk.offer([passed("UA", course, **term) for course in ("knots", "safety") for term in terms])
    assert desk.earn() == EarnResult(accepted=4, earning=3, skipped={"already_earned": 1}, awards=3)
    assert awards(desk) == [
        ("knots", "2025FA", date(2025, 12, 1)),
        ("knots", "2026SP", date(2026, 2, 1)),
        ("safety", "once", date(2025, 12, 1)),
    ]


def test_contradictory_evidence_earns_by_what_it_affirms(desk: Desk) -> None:
    """The gate may refuse contradictions; what it accepts is judged row by row, and the failure stays visible."""
    desk.offer([passed("UA", outcome="failed", score="30"), passed("UA", score="90")])
    assert desk.earn() == EarnResult(accepted=2, earning=1, skipped={"outcome=failed": 1}, awards=1)


def test_two_datasets_that_say_the_same_make_one_award(new_desk) -> None:
    both = [
        {"dataset": f"lms.{name}", "where": {"course": "knots"}, "awarded_on": "done"}
        for name in ("completions", "exams")
    ]
    desk = new_desk(institution(achievement("knots", earned_by=both)))
    desk.offer([passed("UA")], lms__exams=[passed("UA", done="2026-01-31")])
    assert desk.earn() == EarnResult(accepted=2, earning=1, skipped={"already_earned": 1}, awards=1)
    assert awards(desk) == [("knots", "2026SP", date(2026, 1, 31))]


def test_an_award_is_named_by_institution_person_achievement_and_occurrence(desk: Desk) -> None:
    desk.offer([passed("UA")])
    desk.earn()
    [(award, person)] = desk.rows("select award_id, person_id from ledger.award")
    assert person == identifiers.person_id("school", "lms:UA")
    assert award == identifiers.award_id("school", person, "knots", "2026SP")


@pytest.mark.parametrize("change", [{"score": "80"}, {"done": "2026-02-03"}], ids=["score", "date"])
def test_a_corrected_row_is_not_a_second_award(desk: Desk, change: dict[str, str]) -> None:
    desk.offer([passed("UA")])
    desk.earn()
    before = desk.value("select award_id from ledger.award")
    desk.offer([passed("UA", **change)], day=NEXT)
    assert desk.earn(NEXT) == EarnResult(accepted=1, earning=1, skipped={}, awards=1)
    assert desk.value("select award_id from ledger.award") == before


def test_a_second_call_writes_nothing_and_counts_the_same(desk: Desk) -> None:
    desk.offer([passed("UA"), passed("UA", score="71"), passed("UB", outcome="failed")])
    first, before = desk.earn(), written(desk.engine)
    assert desk.earn(run_id="run-2") == first
    assert written(desk.engine) == before


def test_the_same_rows_on_another_day_are_counted_there_and_decided_no_more(desk: Desk) -> None:
    rows = [passed("UA"), passed("UB", outcome="failed")]
    desk.offer(rows)
    first, before = desk.earn(), written(desk.engine)
    desk.offer(rows, day=NEXT)
    assert desk.earn(NEXT) == first
    assert written(desk.engine) == before


def test_a_changed_row_is_decided_again_alone(desk: Desk) -> None:
    desk.offer([passed("UA"), passed("UB")])
    desk.earn()
    desk.regate("UA", "knots", outcome="failed")
    assert desk.earn(run_id="run-2") == EarnResult(accepted=2, earning=1, skipped={"outcome=failed": 1}, awards=1)
    assert desk.rows("select outcome, run_id from ledger.decision order by 1") == [
        ("earning", "run-1"),
        ("skipped", "run-2"),
    ]


def test_a_changed_catalogue_decides_everything_again_and_keeps_both_versions(desk: Desk) -> None:
    desk.offer([passed("UA"), passed("UB", "splices")])
    assert desk.earn().skipped == {"course=splices": 1}
    before = desk.value("select award_id from ledger.award")
    desk.institution = institution(*ACHIEVEMENTS, achievement("splices"))
    assert desk.earn(run_id="run-2") == EarnResult(accepted=2, earning=2, skipped={}, awards=2)
    assert before in {award for (award,) in desk.rows("select award_id from ledger.award")}
    assert desk.count("ledger.catalogue_version") == 2
    assert {run for (run,) in desk.rows("select run_id from ledger.decision")} == {"run-2"}


def test_rows_of_another_day_do_not_count(desk: Desk) -> None:
    desk.offer([passed("UA")])
    desk.earn()
    desk.offer([passed("UB"), passed("UC", outcome="failed")], day=NEXT)
    assert desk.earn(NEXT) == EarnResult(accepted=2, earning=1, skipped={"outcome=failed": 1}, awards=1)


def test_two_runs_of_a_day_at_once_decide_each_row_once(desk: Desk) -> None:
    desk.offer([passed(f"U{n:03}") for n in range(200)])
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda run: desk.earn(run_id=run), ("run-a", "run-b"))
    assert first == second == EarnResult(accepted=200, earning=200, skipped={}, awards=200)
    assert desk.count("ledger.decision") == desk.count("ledger.award") == 200
    assert desk.value("select count(distinct run_id) from ledger.decision") == 1

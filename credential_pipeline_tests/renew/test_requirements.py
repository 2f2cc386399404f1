"""What the catalogue requires of a renewal: rows that stand, rows that are recent enough, credits."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from credential_pipeline.institution.catalogue import Renewal
from credential_pipeline.institution.load import load_institution
from credential_pipeline.institution.problems import InstitutionError
from credential_pipeline.institution.starter import write_starter
from credential_pipeline_tests.issue.desk import passed
from credential_pipeline_tests.renew.office import ACTIVE, LATER, NEXT_DAY, Office, renewed, staff

RETAKEN = {
    "dataset": "lms.completions",
    "where": {"course": "refresher", "outcome": ["passed", "honours"]},
    "dated_on": "done",
    "within": {"months": 12},
}
EXAM = {"dataset": "lms.exams", "where": {"outcome": "passed"}}
CREDITS = {"credits": {"at_least": "3", "within": {"years": 1}}}


def of(new_office: Callable[..., Office], *requires: dict[str, Any], **members: Any) -> Office:
    other = {"validity": {"years": 1}, "occurrence": {"per": "term"}, "credits": "1.5"}
    return new_office(
        renewed("safety", {"requires": list(requires)}, **members), {**renewed("knots", {}), "renewal": None, **other}
    )


def safety(key: str) -> Any:
    return passed(key, "safety", done="2026-02-10")


def missing(label: str) -> str:
    return f"requirement_not_met:{label}"


def test_all_requirements_must_hold_and_each_that_does_not_is_told(new_office: Callable[..., Office]) -> None:
    office = of(new_office, ACTIVE, RETAKEN)
    office.issue([safety("A"), safety("B")], [staff("A", "left"), staff("B")])
    assert office.plan() == {"hold": 2}
    assert office.blocked() == {
        missing("lms.users status=active"): 1,
        missing("lms.completions course=refresher outcome=passed|honours"): 2,
    }


@pytest.mark.parametrize(
    ("done", "outcome", "renews"),
    [
        ("2026-02-10", "passed", 1),  # the first day that is within a year of the end, 2027-02-10
        ("2026-02-09", "passed", 0),
        ("2027-01-11", "honours", 1),  # the day of as_of
        ("2027-01-12", "passed", 0),  # the future
        ("2026-12-01", "failed", 0),
    ],
)
def test_a_row_counts_from_the_period_before_the_end_up_to_as_of(
    new_office: Callable[..., Office], done: str, outcome: str, renews: int
) -> None:
    office = of(new_office, RETAKEN)
    office.issue([safety("A")], [staff("A")])
    office.desk.offer([safety("A"), passed("A", "refresher", done=done, outcome=outcome)], [staff("A")], NEXT_DAY)
    assert office.renew() == renews


def test_a_row_of_a_whole_export_counts_while_the_newest_batch_has_it(new_office: Callable[..., Office]) -> None:
    office = of(new_office, RETAKEN)
    refresher = passed("A", "refresher", done="2026-11-01")
    office.issue([safety("A"), refresher], [staff("A")])
    office.desk.offer([safety("A")], [staff("A")], NEXT_DAY)
    assert office.renew() == 0, "the source took it back"
    office.desk.offer([safety("A"), refresher], [staff("A")], NEXT_DAY)
    assert office.renew() == 1


def test_a_row_of_a_file_a_day_counts_in_every_later_batch(new_office: Callable[..., Office]) -> None:
    office = of(new_office, EXAM)
    office.issue([safety("A")], [staff("A")], lms__exams=[passed("A", "safety", done="2026-06-01")])
    office.desk.offer([safety("A")], [staff("A")], NEXT_DAY, lms__exams=[passed("A", "other", outcome="failed")])
    assert office.renew() == 1


def test_a_row_of_another_person_counts_for_nobody_else(new_office: Callable[..., Office]) -> None:
    office = of(new_office, EXAM)
    office.issue([safety("A"), safety("B")], [staff("A"), staff("B")], lms__exams=[passed("B", "x", done="2026-06-01")])
    assert office.renew() == 1
    assert office.desk.value("select person_id from ledger.credential where cause <> 'issue'") == office.person("B")


# terms in which `knots` (1.5 credits) was passed, with the day -> whether three credits are there
EARNED: dict[str, tuple[tuple[tuple[str, str], ...], int]] = {
    "two in time": ((("T1", "2026-02-10"), ("T2", "2026-02-28")), 1),
    "one": ((("T1", "2026-02-28"),), 0),
    "one of two too early": ((("T1", "2026-02-09"), ("T2", "2026-02-28")), 0),
}


@pytest.mark.parametrize("case", EARNED.values(), ids=EARNED.keys())
def test_credits_of_the_persons_other_current_credentials_are_added_up(
    new_office: Callable[..., Office], case: tuple[tuple[tuple[str, str], ...], int]
) -> None:
    knots, renews = case
    office = of(new_office, CREDITS, credits="5")  # its own five do not pay for it
    rows = [passed("A", "knots", term=term, done=done) for term, done in knots]
    office.issue([safety("A"), *rows], [staff("A")])
    assert office.renew() == renews
    assert office.blocked() == ({} if renews else {missing("credits at_least=3"): 1})


def test_a_plan_goes_stale_when_credits_it_counted_are_revoked(new_office: Callable[..., Office]) -> None:
    office = of(new_office, CREDITS)
    rows = [passed("A", "knots", term=term, done="2026-02-20") for term in ("T1", "T2")]
    office.issue([safety("A"), *rows], [staff("A")])
    assert office.plan() == {"renew": 1}
    office.desk.write(
        "update ledger.credential_state set state = 'revoked' where credential_id = ("
        " select credential_id from ledger.credential where achievement = 'knots' order by 1 limit 1)"
    )
    assert office.apply() == 0
    office.plan()
    assert office.blocked() == {missing("credits at_least=3"): 1}


def test_an_open_requirement_is_renewed_by_the_next_plan_once_it_is_met(new_office: Callable[..., Office]) -> None:
    office = of(new_office, ACTIVE)
    office.issue([safety("A")], [staff("A", "on leave")])
    assert office.renew() == 0
    office.desk.offer([safety("A")], [staff("A")], NEXT_DAY)
    assert office.renew(at=datetime(2027, 1, 20, tzinfo=UTC)) == 1
    assert office.blocked() == {}
    assert office.desk.value("select as_of from ledger.credential where cause <> 'issue'") > LATER


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "neither": ({}, "give one of the two"),
    "both": ({**ACTIVE, "credits": {"at_least": "1"}}, "give one of the two"),
    "asks nothing": ({"dataset": "lms.users"}, "asks nothing of the rows"),
    "within without a date": ({**ACTIVE, "within": {"months": 1}}, "belong together"),
    "a date without within": ({**ACTIVE, "dated_on": "done"}, "belong together"),
    "credits with where": ({"credits": {"at_least": "1"}, "where": {"a": "b"}}, "counted, not looked up"),
    "no credits": ({"credits": {"at_least": "0"}}, "greater than 0"),
}


@pytest.mark.parametrize("case", WRONG.values(), ids=WRONG.keys())
def test_a_requirement_that_says_too_little_or_too_much_is_refused(case: tuple[dict[str, Any], str]) -> None:
    required, message = case
    with pytest.raises(ValidationError, match=message):
        Renewal.model_validate({"requires": [required]})


STARTER_RENEWAL = "renewal: {opens_days_before: 60}"
IN_FILE: dict[str, tuple[str, int, str]] = {
    "no such dataset": (
        "renewal:\n      requires:\n        - {dataset: lms.usres, where: {status: active}}", 2,
        ("achievement first-aid: lms.usres is not a dataset of people or evidence"
        " (achievements[1].renewal.requires[0].dataset); did you mean `lms.users`?"),
    ),
    "no such field": (
        "renewal:\n      requires:\n        - {dataset: lms.users, where: {emial: x}}", 2,
        ("achievement first-aid: lms.users has no field emial (achievements[1].renewal.requires[0].where.emial);"
        " did you mean `email`?"),
    ),
    "a value the gate never lets through": (
        "renewal:\n      requires:\n        - {dataset: lms.completions, where: {outcome: complted}}", 2,
        ("achievement first-aid: the gate of lms.completions never lets outcome be complted"
        " (achievements[1].renewal.requires[0].where.outcome); did you mean `completed`?"),
    ),
    "a date that nothing checks": (
        ("renewal:\n      requires:\n        - dataset: lms.completions\n          where: {outcome: completed}\n"
        "          dated_on: term\n          within: {months: 12}"), 4,
        ("achievement first-aid: nothing checks that lms.completions.term is a date"
        " (achievements[1].renewal.requires[0].dated_on); add `{check: date, field: term}` to the gate of"
        " lms.completions"),
    ),
    "too short a period": (
        "renewal: {period: {days: 30}}", 0,
        ("a renewal of less than 31 days could end in the month it renews (achievements[1].renewal); give a longer"
        " `period`, or take `renewal` out"),
    ),
    "two kinds at once": (
        "renewal:\n      requires:\n        - {dataset: lms.users, credits: {at_least: 1}}", 2,
        "item 1: must name a dataset or credits (achievements[1].renewal.requires[0]); give one of the two",
    ),
    "an unknown member": (
        "renewal: {graze_days: 3}", 0,
        "`graze_days` is not a member here (achievements[1].renewal.graze_days); did you mean `grace_days`?",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", IN_FILE.values(), ids=IN_FILE.keys())
def test_a_mistake_in_a_renewal_is_told_with_file_line_and_remedy(case: tuple[str, int, str], tmp_path: Path) -> None:
    written, below, message = case
    write_starter(tmp_path / "college")
    courses = tmp_path / "college" / "catalogue" / "courses.yaml"
    text = courses.read_text()
    line = text[: text.index(STARTER_RENEWAL)].count("\n") + 1
    courses.write_text(text.replace(STARTER_RENEWAL, written))
    with pytest.raises(InstitutionError) as told:
        load_institution(tmp_path / "college")
    [problem] = told.value.problems
    assert str(problem) == f"{courses}:{line + below}: {message}"


def test_a_whole_renewal_loads_from_a_file(tmp_path: Path) -> None:
    write_starter(tmp_path / "college")
    courses = tmp_path / "college" / "catalogue" / "courses.yaml"
    courses.write_text(
        courses.read_text().replace(
            STARTER_RENEWAL,
            "renewal:\n"
            "      opens_days_before: 30\n"
            "      grace_days: 14\n"
            "      period: {months: 18}\n"
            "      requires:\n"
            "        - {dataset: lms.users, where: {email: [a@b.example, c@d.example]}}\n"
            "        - {dataset: lms.completions, where: {outcome: completed}, dated_on: completed_on,\n"
            "           within: {months: 12}}\n"
            '        - credits: {at_least: "10", within: {years: 2}}\n',
        )
    )
    renewal = load_institution(tmp_path / "college").catalogue.achievements["first-aid"].renewal
    assert renewal is not None
    assert [required.label for required in renewal.requires] == [
        "lms.users email=a@b.example|c@d.example", "lms.completions outcome=completed", "credits at_least=10",
    ]  # fmt: skip

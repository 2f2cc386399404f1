"""One award -> one plan line: what the credential would say, or every reason to wait."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

import pytest

from credential_pipeline.credential import identifiers
from credential_pipeline.institution import Institution
from credential_pipeline.issue.lines import Candidate, Line, line_of
from credential_pipeline_tests.issue.desk import ACHIEVEMENTS, AS_OF, achievement, institution, passed

AWARD, PERSON = UUID(int=5), UUID(int=6)


def record(key: str, **fields: str | None) -> dict[str, Any]:
    """A source record as the plan reads it."""
    names = {"full_name": None, "given_name": None, "family_name": None, "email": None}
    return {**names, "source": key.partition(":")[0], "source_key": key, "fields_hash": key.encode().hex(), **fields}


ADA = record("lms:U1", full_name="Ada Learner", email="ada@mail.example")

CANDIDATE = Candidate(
    award_id=AWARD,
    person_id=PERSON,
    achievement="knots",
    occurrence="2026SP",
    awarded_on=date(2026, 2, 1),
    row_id=9,
    row_hash=b"r" * 32,
    fields_hash=b"f" * 32,
    fields=passed("U1"),
    records=[ADA],
    contested=False,
)


def line(
    school: Institution | None = None, as_of: datetime = AS_OF, achievement: str = "knots", **changes: Any
) -> Line:
    school = school or institution()
    candidate = replace(CANDIDATE, achievement=achievement, **changes)
    return line_of(candidate, school.catalogue.achievements[achievement], school, as_of)


def test_a_line_that_creates_cites_its_row_and_every_record_of_the_person() -> None:
    made = line(records=[record("sis:S1"), ADA])
    assert made == Line(
        action="create",
        reasons=("earned",),
        inputs={
            "row": (b"r" * 32).hex(),
            "fields": (b"f" * 32).hex(),
            "records": sorted([b"sis:S1".hex(), b"lms:U1".hex()]),
            "achievement": institution().catalogue.achievements["knots"].version,
        },
        achievement="knots",
        award_id=AWARD,
        credential_id=identifiers.credential_id(AWARD, "issue"),
        cause="issue",
        person_id=PERSON,
        row_id=9,
        facts={
            "awarded_on": "2026-02-01",
            "occurrence": "2026SP",
            "identifiers": [
                {"type": "emailAddress", "value": "ada@mail.example"},
                {"type": "systemId", "value": "U1"},
            ],
            "name": "Ada Learner",
            "results": [{"id": "score", "value": "70"}],
        },
        purpose="revocation",
    )


WAITS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "four eyes": ({"achievement": "diploma"}, ("approval_required",)),
    "another person may be the same human": ({"contested": True}, ("identity_uncertain",)),
    "nothing to name the holder by": ({"records": [record("sis:S1", full_name="Ada")]}, ("no_identifier",)),
    "no name": ({"records": [record("lms:U1")]}, ("no_name",)),
    "a name that is a login": ({"records": [record("lms:U1", full_name="ada99")]}, ("name_with_digits",)),
    "a name with digits of another script": (
        {"records": [record("lms:U1", full_name="آدا ٣")]},
        ("name_with_digits",),
    ),
    "a score above its limit": ({"fields": passed("U1", score="140")}, ("result_outside_limits",)),
    "a score in words": ({"fields": passed("U1", score="eighty")}, ("result_outside_limits",)),
    "a date to come": ({"awarded_on": date(2026, 3, 3)}, ("awarded_after_as_of",)),
    "validity that is over": ({"achievement": "safety", "awarded_on": date(2025, 3, 2)}, ("validity_over",)),
    "an alarm": ({"alarms": frozenset({"unusual_volume"})}, ("unusual_volume",)),
    "all at once": (
        {"achievement": "diploma", "contested": True, "records": [], "awarded_on": date(2027, 1, 1)},
        ("approval_required", "identity_uncertain", "no_identifier", "no_name", "awarded_after_as_of"),
    ),
}


@pytest.mark.parametrize("case", WAITS)
def test_a_line_waits_with_every_reason_and_takes_no_place_in_a_status_list(case: str) -> None:
    changes, reasons = WAITS[case]
    made = line(**changes)
    assert (made.action, made.reasons, made.purpose) == ("hold", reasons, None)
    assert made.facts is not None, "whoever decides about the hold sees what would be issued"


def test_the_day_before_validity_is_over_is_issued() -> None:
    made = line(achievement="safety", awarded_on=date(2025, 3, 3))
    assert (made.action, made.purpose) == ("create", "suspension")


NAMES: dict[str, tuple[list[dict[str, Any]], str]] = {
    "the register's spelling before the learner's own": (
        [record("lms:U1", full_name="ada l"), record("sis:S1", full_name="Ada Learner")],
        "Ada Learner",
    ),
    "the next source where the register has no name": ([record("sis:S1"), ADA], "Ada Learner"),
    "given and family name": ([record("lms:U1", given_name="Ada", family_name="Learner")], "Ada Learner"),
    "a mononym": ([record("lms:U1", given_name="Ada")], "Ada"),
    "of two records of a source the smaller key": (
        [record("lms:U2", full_name="Late"), record("lms:U1", full_name="First")],
        "First",
    ),
    "right to left": ([record("lms:U1", full_name="عائشة")], "عائشة"),
}


@pytest.mark.parametrize("case", NAMES)
@pytest.mark.parametrize("order", [1, -1])
def test_the_name_is_that_of_the_highest_ranking_source_in_any_order(case: str, order: int) -> None:
    records, name = NAMES[case]
    facts = line(records=records[::order]).facts
    assert facts is not None
    assert facts["name"] == name


def test_a_name_that_is_not_shown_is_neither_planned_nor_missed() -> None:
    recipient = {"name": "omitted", "identifiers": [{"type": "systemId", "from": "lms"}]}
    made = line(institution(recipient=recipient), records=[record("lms:U1")])
    assert made.action == "create"
    assert made.facts is not None
    assert "name" not in made.facts
    assert made.facts["identifiers"] == [{"type": "systemId", "value": "U1"}]


@pytest.mark.parametrize("score", ["-", ""], ids=["a value to omit", "no value"])
def test_a_result_that_is_not_there_is_left_out(score: str) -> None:
    facts = line(fields=passed("U1", score=score)).facts
    assert facts is not None
    assert "results" not in facts


ENDS = {
    "winter": ("America/New_York", date(2025, 12, 1), "2026-12-01T05:00:00+00:00"),
    "summer": ("America/New_York", date(2025, 7, 1), "2026-07-01T04:00:00+00:00"),
    "east of Greenwich": ("Pacific/Auckland", date(2025, 12, 1), "2026-11-30T11:00:00+00:00"),
    "a leap day": ("Europe/London", date(2024, 2, 29), "2025-02-28T00:00:00+00:00"),
    "a midnight that the clocks skip": ("America/Santiago", date(2025, 9, 6), "2026-09-06T04:00:00+00:00"),
}


@pytest.mark.parametrize("case", ENDS)
def test_validity_ends_as_the_day_begins_in_the_institutions_zone(case: str) -> None:
    zone, awarded_on, ends = ENDS[case]
    as_of = datetime(awarded_on.year, awarded_on.month, awarded_on.day, 23, tzinfo=UTC)
    made = line(institution(time_zone=zone), as_of, "safety", awarded_on=awarded_on)
    assert made.action == "create"
    assert made.facts is not None
    assert made.facts["valid_until"] == ends


# The document says the day as its midnight in UTC, and nothing may be awarded after validFrom: east of Greenwich
# the institution's day is up to 14 hours older than that midnight, and the line waits as long.
TODAY = {
    "New York in the evening, tomorrow in UTC": (
        "America/New_York", datetime(2026, 3, 3, 2, tzinfo=UTC), date(2026, 3, 2), "create",
    ),
    "New York, tomorrow": ("America/New_York", datetime(2026, 3, 3, 2, tzinfo=UTC), date(2026, 3, 3), "hold"),
    "Auckland in the morning, yesterday in UTC": (
        "Pacific/Auckland", datetime(2026, 3, 1, 20, tzinfo=UTC), date(2026, 3, 2), "hold",
    ),
    "Auckland in the afternoon": (
        "Pacific/Auckland", datetime(2026, 3, 2, 3, tzinfo=UTC), date(2026, 3, 2), "create",
    ),
    "London just after a summer midnight": (
        "Europe/London", datetime(2026, 6, 30, 23, 30, tzinfo=UTC), date(2026, 7, 1), "hold",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", TODAY)
def test_what_was_earned_today_waits_until_a_document_can_say_so(case: str) -> None:
    zone, as_of, awarded_on, action = TODAY[case]
    made = line(institution(time_zone=zone), as_of, awarded_on=awarded_on)
    assert made.action == action
    assert ("awarded_after_as_of" in made.reasons) == (action == "hold")


def test_a_credential_keeps_its_id_whatever_the_person_is_called_by() -> None:
    school = institution(*ACHIEVEMENTS[:1], achievement("other"))
    ids = {line(school, records=[record("lms:U1", full_name=name)]).credential_id for name in ("Ada", "Ada Learner")}
    assert ids == {identifiers.credential_id(AWARD, "issue")}

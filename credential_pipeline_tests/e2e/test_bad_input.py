"""Bad input, one test each, through the whole flow: a quarantine row or a breach with a remedy; good rows beside it
are issued; a corrected file replays only what was wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import text

from credential_pipeline.store.postgres import open_engine
from credential_pipeline_tests.e2e.college import GOOD, HEADER, USERS, write_college
from credential_pipeline_tests.e2e.conftest import House

FILE = "completions_more.csv"
GOOD_ROW = "U1,C1,2026SP,2026-02-01,77,passed"


@dataclass(frozen=True)
class Row:
    """A bad row in a second file beside one good row; `fixed` is what a clerk would write instead."""

    bad: str
    code: str
    field: str
    fixed: str | None = "U2,C1,2026SP,2026-02-01,80,passed"
    rows: int = 1


ROWS = {
    "ragged row, a cell missing": Row("U2,C1,2026SP,2026-02-01,80", "ragged_row", ""),
    "ragged row, a cell too many": Row("U2,C1,2026SP,2026-02-01,80,passed,x", "ragged_row", ""),
    "duplicate row": Row(GOOD_ROW, "duplicate_row", "", fixed=None),
    "contradicting rows": Row(
        "U2,C1,2026SP,2026-02-01,80,passed\nU2,C1,2026SP,2026-02-01,30,failed",
        "contradicting_rows",
        "person,course,term",
        rows=2,
    ),
    "unknown course": Row("U2,C9,2026SP,2026-02-01,80,passed", "unknown_reference", "course"),
    "unknown person": Row("U99,C1,2026SP,2026-02-01,80,passed", "unknown_reference", "person"),
    "missing value": Row("U2,C1,2026SP,,80,passed", "required_missing", "done"),
    "impossible date": Row("U2,C1,2026SP,2026-02-30,80,passed", "malformed_date", "done"),
    "date in the future": Row("U2,C1,2026SP,2026-12-01,80,passed", "date_out_of_range", "done"),
    "date of long ago": Row("U2,C1,2026SP,1926-02-01,80,passed", "date_out_of_range", "done"),
    "score 140": Row("U2,C1,2026SP,2026-02-01,140,passed", "number_out_of_range", "score"),
    "score in words": Row("U2,C1,2026SP,2026-02-01,eighty,passed", "not_a_number", "score"),
    "outcome misspelt": Row("U2,C1,2026SP,2026-02-01,80,passd", "not_in_set", "outcome"),
    "control characters": Row("U2,C1,2026\x07SP,2026-02-01,80,passed", "control_characters", "term"),
}


@pytest.fixture
def college(new_house: Callable[..., House], tmp_path: Path) -> House:
    write_college(tmp_path / "college")
    return new_house(tmp_path / "college")


def quarantine(house: House) -> list[tuple[str, str, str | None]]:
    engine = open_engine(str(house.settings.database_url))
    with engine.connect() as connection:
        rows = connection.execute(
            text(
                "select code, field, remedy, count(*) from quarantine.reason where resolved_at is null"
                " group by 1, 2, 3 order by 1, 2"
            )
        ).all()
    engine.dispose()
    return [tuple(row) for row in rows]


@pytest.mark.parametrize("name", ROWS)
def test_a_bad_row_waits_in_quarantine_and_its_correction_is_issued_alone(college: House, name: str) -> None:
    case = ROWS[name]
    more = college.settings.data / FILE
    more.write_text(f"{HEADER}{GOOD_ROW}\n{case.bad}\n")
    first = college.stages(run_id="first")
    assert first.reconciliation.differences == ()
    assert (first.counts.landed, first.counts.accepted, first.counts.quarantined) == (11 + case.rows, 11, case.rows)
    assert (first.counts.issued, first.counts.published) == (11, 11)
    [(code, field, remedy, count)] = quarantine(college)
    assert (code, count) == (case.code, case.rows)
    assert field == case.field or not case.field
    assert remedy
    if case.fixed is None:
        return
    before = college.credentials()
    more.write_text(f"{HEADER}{GOOD_ROW}\n{case.fixed}\n")
    second = college.stages(run_id="second")
    assert second.reconciliation.differences == ()
    assert (second.counts.landed, second.counts.accepted, second.counts.quarantined) == (12, 12, 0)
    assert (second.counts.issued, second.counts.already_issued) == (1, 11)
    assert quarantine(college) == []
    after = college.credentials()
    assert len(after) == 12
    assert before.items() <= after.items()


FILES: dict[str, tuple[bytes, str]] = {
    "missing column": (b"user,course,term,done,score\nU2,C1,2026SP,2026-02-01,80\n", "missing_column"),
    "empty file": (b"", "empty_file"),
    "not UTF-8": ((HEADER + "U2,C1,2026SP,2026-02-01,80,pass\xe9\n").encode("latin-1"), "not_utf8"),
    "quote never closed": ((HEADER + '"U2,C1,2026SP,2026-02-01,80,passed\n').encode(), "malformed_csv"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_bad_file_is_a_breach_and_the_others_are_issued(college: House, name: str) -> None:
    content, code = FILES[name]
    more = college.settings.data / FILE
    more.write_bytes(content)
    first = college.stages(run_id="first")
    assert first.reconciliation.differences == ()
    assert (first.counts.landed, first.counts.issued) == (10, 10)
    [breach] = first.reasons.breaches
    assert f"lms.completions: {FILE}: " in breach
    assert f"({code}); " in breach, "the remedy follows the code"
    more.write_text(f"{HEADER}{GOOD_ROW}\n")
    second = college.stages(run_id="second")
    assert (second.counts.issued, second.counts.already_issued, second.reasons.breaches) == (1, 10, [])


def test_a_run_with_a_bad_file_issues_the_others_and_says_that_it_is_not_in_order(college: House) -> None:
    """Through Dagster: the breach is a check that fails and blocks nothing (docs/decisions/0003-breaches.md)."""
    more = college.settings.data / FILE
    more.write_bytes(FILES["missing column"][0])
    run = college.run()
    assert (run.counts.landed, run.counts.issued, run.reconciled) == (10, 10, True), run.differences
    assert (len(run.reasons.breaches), run.succeeded) == (1, False)
    more.write_text(f"{HEADER}{GOOD_ROW}\n")
    again = college.run()
    assert (again.counts.issued, again.counts.already_issued, again.succeeded) == (1, 10, True)


GOOD_FORMS = {
    "byte order mark": lambda text: b"\xef\xbb\xbf" + text.encode(),
    "CRLF": lambda text: text.replace("\n", "\r\n").encode(),
    "quoted newline": lambda text: text.replace("user,", '"user",').replace("U1,C1", '"U1\n",C1').encode(),
}


@pytest.mark.parametrize("form", GOOD_FORMS)
def test_another_form_of_good_rows_is_good(college: House, form: str) -> None:
    write = GOOD_FORMS[form]
    (college.settings.data / "completions.csv").write_bytes(write(HEADER + "\n".join(GOOD) + "\n"))
    flow = college.stages()
    assert (flow.counts.landed, flow.counts.accepted, flow.counts.issued) == (10, 10, 10)


def test_a_name_of_300_characters_keeps_its_own_rows_back_and_nobody_elses(college: House) -> None:
    users = college.settings.data / "users.csv"
    users.write_text(USERS.replace("Person Bson", "B" * 300))
    first = college.stages(run_id="first").counts
    assert (first.accepted, first.quarantined, first.issued) == (9, 1, 9)
    assert {(code, field) for code, field, *_ in quarantine(college)} == {
        ("too_long", "full_name"),
        ("unknown_reference", "person"),
    }
    users.write_text(USERS)
    second = college.stages(run_id="second").counts
    assert (second.quarantined, second.issued, second.already_issued) == (0, 1, 9)


def test_a_batch_with_too_many_bad_rows_is_refused_whole_and_released_when_corrected(college: House) -> None:
    more = college.settings.data / FILE
    more.write_text(HEADER + "".join(f"U{n},C1,2026SP,2026-02-31,80,passed\n" for n in range(1, 11)) + "x,,,,,\n")
    first = college.stages(run_id="first")
    counts = first.counts
    assert (counts.landed, counts.accepted, counts.quarantined, counts.issued) == (21, 0, 21, 0)
    assert any("rejection_rate" in breach for breach in first.reasons.breaches)
    more.unlink()
    second = college.stages(run_id="second")
    assert (second.counts.landed, second.counts.accepted, second.counts.issued) == (10, 10, 10)
    assert second.reasons.breaches == []


def test_people_that_cannot_be_read_stop_the_day(college: House) -> None:
    users = college.settings.data / "users.csv"
    users.write_text("id,name\nU1,A\n")
    run = college.run()
    assert run.counts.issued == 0
    assert any("landed_lms__users" in failure and "check" in failure for failure in run.failures), run.failures
    users.write_text(USERS)
    assert college.run().counts.issued == 10

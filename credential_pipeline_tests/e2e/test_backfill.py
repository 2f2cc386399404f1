"""Days run in any order, again, twice at once and with a bad one among them: each award is issued once."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import text

from credential_pipeline.report.reconcile import reconcile
from credential_pipeline.runtime import open_runtime
from credential_pipeline.store.postgres import open_engine
from credential_pipeline_tests.e2e.college import HEADER, write_college
from credential_pipeline_tests.e2e.conftest import House

DAYS = [date(2026, 3, n) for n in (2, 3, 4, 5)]
ROWS = {
    DAYS[0]: ["U1,C1,2025FA,2026-03-01,71,passed", "U2,C1,2025FA,2026-03-01,72,passed"],
    DAYS[1]: ["U3,C1,2025FA,2026-03-02,73,passed", "U4,C1,2025FA,2026-03-02,40,failed"],
    # U1 again, for another term: another award. U2's row is offered a second time, as it was.
    DAYS[2]: ["U1,C1,2026SP,2026-03-03,81,passed", "U2,C1,2025FA,2026-03-01,72,passed"],
    DAYS[3]: ["U5,C1,2025FA,2026-03-04,75,passed", "U6,C1,2025FA,2026-03-04,76,passed"],
}
EARNED = {DAYS[0]: 2, DAYS[1]: 1, DAYS[2]: 2, DAYS[3]: 2}
AWARDS = 6
"""EARNED, U2's award of two days counted once."""


def as_of(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, 15, tzinfo=UTC)


@pytest.fixture
def college(tmp_path: Path) -> Path:
    """A college with one file of completions a day; a breach of completions stops the day."""
    data = write_college(tmp_path / "college", files="completions-{day}.csv")
    institution = tmp_path / "college" / "institution.yaml"
    limit = "reject_limit: 0.5\n"
    institution.write_text(institution.read_text().replace(limit, f"{limit}          on_breach: stop\n"))
    for day, rows in ROWS.items():
        (data / f"completions-{day}.csv").write_text(HEADER + "\n".join(rows) + "\n")
    return tmp_path / "college"


@pytest.fixture
def house(new_house: Callable[..., House], college: Path) -> House:
    """A home of the college, whose signing key started with its first day."""
    return with_key(new_house(college))


def with_key(house: House) -> House:
    # No credential is older than its key: days that are run out of order need one that started before them all.
    with open_runtime(house.settings, as_of=as_of(DAYS[0])) as runtime:
        assert runtime.secrets.signing_keys()
    return house


def query(house: House, sql: str) -> list[tuple[Any, ...]]:
    engine = open_engine(str(house.settings.database_url))
    with engine.connect() as connection:
        rows = [tuple(row) for row in connection.execute(text(sql))]
    engine.dispose()
    return rows


def issued_once(house: House) -> bool:
    """Every award has one credential, told once to the audit log and to the outbox."""
    [(awards, credentials, events, messages)] = query(
        house,
        "select (select count(*) from ledger.award), (select count(*) from ledger.credential),"
        " (select count(*) from ledger.event where kind = 'issued'), (select count(*) from outbox.message)",
    )
    return bool(awards == credentials == events == messages)


def differences(house: House) -> tuple[str, ...]:
    with open_runtime(house.settings) as runtime:
        found = reconcile(runtime.engine, read_object=runtime.store.get, target=house.settings.institution.targets.site)
    return tuple(map(str, found.differences))


def essence(house: House) -> dict[str, Any]:
    """What the credentials say, by name, without their place in a status list and what is computed from it."""
    found = {}
    for name, document in house.credentials().items():
        said = json.loads(document)
        del said["proof"], said["credentialStatus"]
        found[name] = said
    return found


def test_days_out_of_order_and_again_issue_only_what_is_missing(house: House) -> None:
    order = [DAYS[3], DAYS[0], DAYS[2], DAYS[1]]
    first = [house.stages(day=day, as_of=as_of(day), run_id=f"first {day}").counts for day in order]
    assert [counts.earned for counts in first] == [EARNED[day] for day in order]
    assert [counts.issued for counts in first] == [2, 2, 1, 1], "U2's row of the third day was issued with the first"
    before = house.credentials()
    assert len(before) == AWARDS
    for day in DAYS:
        again = house.stages(day=day, as_of=as_of(DAYS[3]), run_id=f"again {day}")
        assert (again.counts.issued, again.counts.already_issued) == (0, EARNED[day])
        assert again.reconciliation.differences == ()
    assert house.credentials() == before
    assert issued_once(house)


def test_a_late_row_is_issued_alone_when_its_day_is_run_again(house: House) -> None:
    for day in DAYS:
        house.stages(day=day, as_of=as_of(day), run_id=f"first {day}")
    with (house.settings.data / f"completions-{DAYS[1]}.csv").open("a") as file:
        file.write("U7,C1,2025FA,2026-03-02,77,passed\n")
    counts = house.stages(day=DAYS[1], as_of=as_of(DAYS[3]), run_id="late").counts
    assert (counts.landed, counts.issued, counts.already_issued) == (3, 1, 1)
    assert issued_once(house)


def test_the_order_of_days_does_not_change_what_is_issued(
    new_house: Callable[..., House], house: House, college: Path
) -> None:
    # The day that U2's row is first seen on dates its credential: both orders see it on the first day.
    for day in DAYS:
        house.stages(day=day, as_of=as_of(day), run_id=f"forwards {day}")
    other = new_house(college).with_secrets_of(house)
    for day in (DAYS[3], DAYS[0], DAYS[2], DAYS[1]):
        other.stages(day=day, as_of=as_of(day), run_id=f"backwards {day}")
    assert len(essence(house)) == AWARDS
    assert essence(house) == essence(other)
    places = "select list_number, status_index from ledger.credential order by 1, 2"
    assert query(house, places) == query(other, places), "the same places, in whatever order they were given out"


def at_once(house: House, days: Sequence[date]) -> None:
    """The plain stages of each day in a thread of its own, all started at the same moment."""
    start = Barrier(len(days))

    def one(number: int) -> None:
        start.wait(30)
        house.stages(day=days[number], as_of=as_of(DAYS[3]), run_id=f"thread {number}")

    with ThreadPoolExecutor(len(days)) as pool:
        for done in [pool.submit(one, number) for number in range(len(days))]:
            done.result(120)


def test_runs_of_one_day_at_once_in_a_new_home_issue_each_once(new_house: Callable[..., House], college: Path) -> None:
    house = new_house(college)  # no key, no secrets, nobody's database yet: they race for these as well
    at_once(house, [DAYS[0], DAYS[0], DAYS[0]])
    assert len(house.credentials()) == EARNED[DAYS[0]]
    assert issued_once(house)
    assert differences(house) == ()
    outcome = house.run(day=DAYS[0], as_of=as_of(DAYS[3]))
    assert (outcome.counts.issued, outcome.counts.already_issued) == (0, EARNED[DAYS[0]])
    assert outcome.succeeded, (outcome.failures, outcome.differences)


def test_days_at_once_issue_each_once(house: House) -> None:
    at_once(house, DAYS)
    assert len(house.credentials()) == AWARDS
    assert issued_once(house)
    assert differences(house) == ()


def test_a_bad_day_fails_alone_and_its_run_again_does_only_that(house: House) -> None:
    bad = house.settings.data / f"completions-{DAYS[1]}.csv"
    bad.write_text("user,course\nU3,C1\n")
    failed = house.run(day=DAYS[1], as_of=as_of(DAYS[1]))
    assert not failed.succeeded
    assert any("landed_lms__completions" in failure for failure in failed.failures), failed.failures
    assert failed.counts.issued == 0
    good = house.run(day=DAYS[0], as_of=as_of(DAYS[0]))
    assert (good.succeeded, good.counts.issued) == (True, 2), (good.failures, good.differences)
    before = house.credentials()
    bad.write_text(HEADER + "\n".join(ROWS[DAYS[1]]) + "\n")
    corrected = house.run(day=DAYS[1], as_of=as_of(DAYS[1]))
    assert (corrected.succeeded, corrected.counts.issued, corrected.counts.already_issued) == (True, 1, 0)
    assert before.items() < house.credentials().items()
    assert issued_once(house)

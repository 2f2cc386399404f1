"""The calendar of renewal: which window a credential ends in, when that opens, and when the next version ends."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from credential_pipeline.errors import Terminal
from credential_pipeline.institution.calendar import add_period, start_of_day, subtract_period
from credential_pipeline.institution.catalogue import Period
from credential_pipeline.renew.due import Window, due_in, opened, renewed_until, window, window_of, windows
from credential_pipeline_tests.issue.desk import passed
from credential_pipeline_tests.renew.office import LATER, MONTH, Office, renewed, school, staff

# zone, the day the credential ends as it begins, period -> its window, and the instant that the next version ends at
CALENDAR: dict[str, tuple[str, str, dict[str, int], str, str]] = {
    "a plain year": ("UTC", "2027-03-10", {"years": 1}, "2027-03", "2028-03-10T00:00:00+00:00"),
    "the first of a month ends in the month before": (
        "UTC", "2027-03-01", {"years": 1}, "2027-02", "2028-03-01T00:00:00+00:00",
    ),
    "the first of a year": ("UTC", "2027-01-01", {"years": 1}, "2026-12", "2028-01-01T00:00:00+00:00"),
    "29 February in a year without one": (
        "UTC", "2028-02-29", {"years": 1}, "2028-02", "2029-02-28T00:00:00+00:00",
    ),
    "29 February four years on": ("UTC", "2028-02-29", {"years": 4}, "2028-02", "2032-02-29T00:00:00+00:00"),
    "28 February does not become the 29th": (
        "UTC", "2027-02-28", {"years": 1}, "2027-02", "2028-02-28T00:00:00+00:00",
    ),
    "the last of a longer month": ("UTC", "2027-01-31", {"months": 1}, "2027-01", "2027-02-28T00:00:00+00:00"),
    "months over the end of a year": ("UTC", "2026-11-30", {"months": 3}, "2026-11", "2027-02-28T00:00:00+00:00"),
    "days": ("UTC", "2027-12-15", {"days": 90}, "2027-12", "2028-03-14T00:00:00+00:00"),
    "into summer time: midnight is an hour earlier in UTC": (
        "America/New_York", "2027-03-14", {"months": 1}, "2027-03", "2027-04-14T04:00:00+00:00",
    ),
    "on the day the clocks go forward": (
        "America/New_York", "2027-02-14", {"months": 1}, "2027-02", "2027-03-14T05:00:00+00:00",
    ),
    "on the day the clocks go back": (
        "America/New_York", "2027-10-07", {"months": 1}, "2027-10", "2027-11-07T04:00:00+00:00",
    ),
    "a day without a midnight: it begins at one o'clock": (
        "America/Havana", "2026-03-14", {"years": 1}, "2026-03", "2027-03-14T05:00:00+00:00",
    ),
    "east of the date line: the first is still the last day in UTC": (
        "Pacific/Kiritimati", "2027-03-01", {"years": 1}, "2027-02", "2028-02-29T10:00:00+00:00",
    ),
    "west of it": ("Pacific/Pago_Pago", "2027-03-01", {"years": 1}, "2027-02", "2028-03-01T11:00:00+00:00"),
}  # fmt: skip


@pytest.mark.parametrize("case", CALENDAR.values(), ids=CALENDAR.keys())
def test_the_next_version_ends_a_period_after_the_one_before_in_the_institutions_zone(
    case: tuple[str, str, dict[str, int], str, str],
) -> None:
    zone, ends, period, month, expected = case
    there = school(renewed("safety", {"period": period}, validity={"years": 1}), time_zone=zone)
    until = start_of_day(date.fromisoformat(ends), there.zone)
    assert window_of(until, there).month == month
    assert renewed_until(until, there.catalogue.achievements["safety"], there).isoformat() == expected


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Europe/London", "Pacific/Kiritimati", "America/Havana"])
def test_a_window_and_its_neighbours_share_no_instant_and_leave_none_out(zone: str) -> None:
    there = school(time_zone=zone)
    month = Window(date(2026, 11, 1))
    for _ in range(16):
        bounds, following = month.bounds(there), Window(month.end)
        end = bounds["end"]
        assert isinstance(end, datetime)
        assert following.bounds(there)["start"] == end
        assert window_of(end, there) == month
        assert window_of(end + timedelta(seconds=1), there) == following
        month = following


@pytest.mark.parametrize(
    ("day", "period", "expected"),
    [
        ("2027-03-31", {"months": 1}, "2027-02-28"),
        ("2028-02-29", {"years": 1}, "2027-02-28"),
        ("2027-01-15", {"months": 2}, "2026-11-15"),
        ("2027-03-01", {"days": 1}, "2027-02-28"),
    ],
)
def test_a_period_is_counted_back_as_it_is_counted_on(day: str, period: dict[str, Any], expected: str) -> None:
    back = subtract_period(date.fromisoformat(day), Period(**period))
    assert back.isoformat() == expected
    assert add_period(back, Period(**period)) <= date.fromisoformat(day)


def test_a_window_opens_for_all_its_credentials_at_once() -> None:
    there = school(renewed("safety", {"opens_days_before": 30}), renewed("knots", {"opens_days_before": 60}))
    of = Window(date(2027, 3, 1))
    midnight = start_of_day(date(2027, 1, 30), there.zone)
    assert list(opened(there, of, midnight - timedelta(seconds=1))) == ["knots"]
    assert list(opened(there, of, midnight)) == ["safety", "knots"]
    assert not opened(there, of, datetime(2026, 12, 30, tzinfo=UTC))


@pytest.mark.parametrize("written", ["2027-3", "2027-13", "2027-03/4", "2027-03/", "2027", "0000-01", "2027-03/01"])
def test_a_window_that_is_none_is_refused_with_its_form(written: str) -> None:
    with pytest.raises(Terminal, match="write the month as YYYY-MM, the shard as 0 to 3"):
        windows(written)


def test_the_shards_of_a_window_are_counted_apart_and_together_are_all(office: Office) -> None:
    keys = [f"P{n}" for n in range(24)]
    office.issue([passed(key, "safety", done="2026-02-10") for key in keys], [staff(key) for key in keys])
    desk = office.desk
    counts = [due_in(desk.engine, desk.institution, of).expiring.get("safety", 0) for of in windows(MONTH)]
    assert sum(counts) == 24
    assert all(counts), "24 persons fall into all four shards"
    assert due_in(desk.engine, desk.institution, Window(date(2027, 2, 1))).renewable == {"safety": 24}
    assert due_in(desk.engine, desk.institution, window("2027-03", "0")).expiring == {}


def test_each_expiring_credential_is_reminded_of_once_when_its_window_is_open(office: Office) -> None:
    office.issue(
        [passed("A", "safety", done="2026-02-10"), passed("B", "knots", done="2026-02-11"),
         passed("A", "knots", done="2026-01-31")],
        [staff("A"), staff("B")],
    )  # fmt: skip
    assert office.remind(at=datetime(2026, 12, 2, tzinfo=UTC)) == 0, "not open yet"
    assert office.remind() == 2
    assert office.remind() == 0
    assert office.remind(at=datetime(2027, 2, 20, tzinfo=UTC)) == 0
    assert office.desk.value("select count(*) from outbox.message where kind = 'expiring'") == 2
    assert office.remind("2027-01", LATER) == 1, "31 January 2027 is another window"


def test_what_has_ended_or_is_not_current_is_not_reminded_of(office: Office) -> None:
    office.issue([passed(k, "safety", done="2026-02-10") for k in "AB"], [staff("A"), staff("B")])
    office.desk.write(
        "update ledger.credential_state set state = 'revoked' where credential_id in ("
        " select credential_id from ledger.credential where person_id = :person)",
        person=office.person("A"),
    )
    assert office.remind(at=datetime(2027, 2, 11, tzinfo=UTC)) == 0
    assert office.remind() == 1

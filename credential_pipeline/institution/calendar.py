"""Calendar arithmetic in the institution's time zone: periods from a day, and the instants a day begins at."""

from __future__ import annotations

import calendar
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from credential_pipeline.institution.catalogue import Period


def add_period(day: date, period: Period) -> date:
    """The day one period later; where the month is shorter, its last day (29 February + 1 year = 28 February)."""
    return _moved(day, period, 1)


def subtract_period(day: date, period: Period) -> date:
    """The day one period earlier; where the month is shorter, its last day (31 March - 1 month = 28 February)."""
    return _moved(day, period, -1)


def _moved(day: date, period: Period, sign: int) -> date:
    if period.days:
        return day + timedelta(days=sign * period.days)
    months = sign * ((period.years or 0) * 12 + (period.months or 0))
    year, month0 = divmod(day.year * 12 + day.month - 1 + months, 12)
    last = calendar.monthrange(year, month0 + 1)[1]
    return date(year, month0 + 1, min(day.day, last))


def start_of_day(day: date, zone: ZoneInfo) -> datetime:
    """The instant (UTC) that a day begins at, whatever the zone's clocks do that night."""
    return datetime.combine(day, time(0), tzinfo=zone).astimezone(UTC)


def day_of(instant: datetime, zone: ZoneInfo) -> date:
    """The calendar day of an instant."""
    return instant.astimezone(zone).date()

"""Which credentials end in a renewal window, and which of them the catalogue lets be renewed.

Belongs here: the calendar of expiry. Does not belong here: issuing the next version (issue/).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from sqlalchemy import Engine, text

from credential_pipeline.errors import Terminal
from credential_pipeline.institution import Institution
from credential_pipeline.institution.calendar import start_of_day


@dataclass(frozen=True)
class Window:
    """A month of expiry, `first` its first day, and a shard of persons (0 to 3: the first two bits of person_id)."""

    first: date
    shard: int

    @property
    def end(self) -> date:
        """The first day after it."""
        return date(self.first.year + self.first.month // 12, self.first.month % 12 + 1, 1)


def window(month: str, shard: str) -> Window:
    """The window of a partition key's parts, such as `2027-03` and `0`.

    Raises:
        Terminal: they are not of that form.
    """
    try:
        return Window(date.fromisoformat(f"{month}-01"), int(shard, 16))
    except ValueError as error:
        raise Terminal(
            f"no renewal window {month} / {shard}; write the month as YYYY-MM, the shard as 0 to 3"
        ) from error


@dataclass(frozen=True)
class DueResult:
    """Credentials that end in the window, by achievement: all current ones, and those that may be renewed."""

    expiring: Mapping[str, int]
    renewable: Mapping[str, int]


def due_in(engine: Engine, institution: Institution, of: Window) -> DueResult:
    """Count the current credentials that end in a window; the month is one of the institution's zone.

    A credential that ends at the midnight a month begins with was valid up to the last day of the month before,
    and is due in that one.
    """
    with engine.connect() as connection:
        rows = connection.execute(
            text(
                "select c.achievement, count(*) from ledger.credential c join ledger.credential_state s using"
                " (credential_id) where s.state = 'current' and c.valid_until > :start and c.valid_until <= :end"
                " and get_byte(uuid_send(c.person_id), 0) >> 6 = :shard group by 1 order by 1"
            ),
            {
                "start": start_of_day(of.first, institution.zone),
                "end": start_of_day(of.end, institution.zone),
                "shard": of.shard,
            },
        )
        expiring = {achievement: count for achievement, count in rows}
    achievements = institution.catalogue.achievements
    renewable = {a: n for a, n in expiring.items() if a in achievements and achievements[a].renewal}
    return DueResult(expiring, renewable)

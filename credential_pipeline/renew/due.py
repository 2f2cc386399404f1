"""Which credentials end in a renewal window, which of them are due, and reminding whom it concerns.

A credential ends in the window of its last valid day's month, in the institution's zone. Belongs here: the calendar of
expiry, and the reminders. Does not belong here: whether a renewal is blocked (plan.py), and issuing the next version
(issue/).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cached_property
from uuid import UUID

from sqlalchemy import Engine, text

from credential_pipeline.credential import identifiers
from credential_pipeline.errors import Terminal
from credential_pipeline.institution import Institution
from credential_pipeline.institution.calendar import add_period, day_of, start_of_day
from credential_pipeline.institution.catalogue import Achievement
from credential_pipeline.issue.plans import LINES_AT_ONCE, SHARD_OF
from credential_pipeline.store import binary_copy as encode
from credential_pipeline.store.binary_copy import copy_encoded
from credential_pipeline.store.postgres import transaction_lock

SHARDS = 4

# Read first, by the index on valid_until, and then joined by key: whatever statistics the planner has.
ENDING = """
with ending as materialized (
  select credential_id, award_id, achievement, awarded_on, valid_until, plan_id, ordinal from ledger.credential
  where valid_until > :start and valid_until <= :end
)
"""

OF_SHARD = f"(cast(:shard as int) is null or {SHARD_OF.format('w.person_id')} = :shard)"


@dataclass(frozen=True)
class Window:
    """A month of expiry, `first` its first day, and a shard of persons (0 to 3; None: all of them)."""

    first: date
    shard: int | None = None

    @property
    def end(self) -> date:
        """The first day after it."""
        return date(self.first.year + self.first.month // 12, self.first.month % 12 + 1, 1)

    @property
    def month(self) -> str:
        """As causes and partitions name it: `2027-03`."""
        return self.first.strftime("%Y-%m")

    @cached_property
    def cause(self) -> str:
        """Why a version that this window makes exists."""
        return f"renewal:{self.month}"

    @property
    def scope(self) -> str:
        """As plans name it: `window:2027-03/0`, or `window:2027-03` with all shards."""
        return f"window:{self.month}" if self.shard is None else f"window:{self.month}/{self.shard}"

    @property
    def scopes(self) -> list[str]:
        """Of every plan that may be about a credential in it."""
        whole = f"window:{self.month}"
        shards = range(SHARDS) if self.shard is None else [self.shard]
        return [whole, *(f"{whole}/{shard}" for shard in shards)]

    def bounds(self, institution: Institution) -> dict[str, object]:
        """The parameters `start`, `end` and `shard` of queries."""
        zone = institution.zone
        return {"start": start_of_day(self.first, zone), "end": start_of_day(self.end, zone), "shard": self.shard}


def window(month: str, shard: str) -> Window:
    """The window of a partition key's parts, such as `2027-03` and `0`.

    Raises:
        Terminal: they are not of that form.
    """
    if not re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])", month) or month < "0001" or shard not in map(str, range(SHARDS)):
        raise Terminal(f"no renewal window {month} / {shard}; write the month as YYYY-MM, the shard as 0 to 3")
    return Window(date.fromisoformat(f"{month}-01"), int(shard))


def windows(written: str) -> tuple[Window, ...]:
    """The windows of `2027-03/0`, or all shards of `2027-03`.

    Raises:
        Terminal: it is neither.
    """
    month, slash, shard = written.partition("/")
    return tuple(window(month, one) for one in ([shard] if slash else map(str, range(SHARDS))))


def window_of(valid_until: datetime, institution: Institution) -> Window:
    """The window that a credential with this end lies in.

    A credential that ends at the midnight a month begins with was valid up to the last day of the month before.
    """
    return Window(day_of(valid_until - timedelta(microseconds=1), institution.zone).replace(day=1))


def renewed_until(valid_until: datetime, achievement: Achievement, institution: Institution) -> datetime:
    """When the next version ends: a period after the one before, as that day begins in the institution's zone.

    Raises:
        ValueError: the achievement is not renewed.
    """
    if achievement.renewal_period is None:
        raise ValueError(f"{achievement.id} has no renewal")
    return start_of_day(add_period(day_of(valid_until, institution.zone), achievement.renewal_period), institution.zone)


def opened(institution: Institution, of: Window, as_of: datetime) -> dict[str, Achievement]:
    """Achievements whose credentials may be renewed in this window by now, by id.

    A window opens for all its credentials at once, so that it is planned, and approved, as a whole.
    """
    return {
        achievement.id: achievement
        for achievement in institution.catalogue.achievements.values()
        if achievement.renewal
        and start_of_day(of.first - timedelta(days=achievement.renewal.opens_days_before), institution.zone) <= as_of
    }


@dataclass(frozen=True)
class DueResult:
    """Credentials that end in the window, by achievement: all current ones, and those that may be renewed."""

    expiring: Mapping[str, int]
    renewable: Mapping[str, int]


def due_in(engine: Engine, institution: Institution, of: Window) -> DueResult:
    """Count the current credentials that end in a window."""
    with engine.connect() as connection:
        rows = connection.execute(
            text(
                f"{ENDING} select e.achievement, count(*) from ending e join ledger.credential_state s using"
                " (credential_id) join ledger.award w using (award_id)"
                f" where s.state = 'current' and {OF_SHARD} group by 1 order by 1"
            ),
            of.bounds(institution),
        )
        expiring = {achievement: count for achievement, count in rows}
    achievements = institution.catalogue.achievements
    renewable = {a: n for a, n in expiring.items() if a in achievements and achievements[a].renewal}
    return DueResult(expiring, renewable)


UNTOLD = f"""
{ENDING}
select e.credential_id, w.person_id
from ending e
join ledger.credential_state s using (credential_id)
join ledger.award w using (award_id)
where s.state = 'current' and e.achievement = any(:achievements) and e.valid_until > :as_of and {OF_SHARD}
  and not exists (select from outbox.message m where m.credential_id = e.credential_id and m.kind = 'expiring')
"""


def remind(engine: Engine, institution: Institution, of: Window, as_of: datetime) -> int:
    """Put a message `expiring` into the outbox for each credential of an open window, once; returns how many are new.

    A credential ends in one window, so this is one message for each of the two.
    """
    scope = {**of.bounds(institution), "achievements": list(opened(institution, of, as_of)), "as_of": as_of}
    told = 0
    with engine.begin() as connection:
        # One at a time: what the query does not find in the outbox, nobody else is about to put there.
        transaction_lock(connection, "reminding")
        found = connection.execute(text(UNTOLD), scope, execution_options={"yield_per": LINES_AT_ONCE})
        for rows in found.partitions():
            copy_encoded(connection, "outbox.message", MESSAGE, [b"".join(_message(*row) for row in rows)])
            told += len(rows)
    return told


MESSAGE = ("message_id", "kind", "credential_id", "person_id")


def _message(credential: UUID, person: UUID) -> bytes:
    message, length = identifiers.message_id(credential, "expiring"), encode.UUID_LENGTH
    return b"".join((_MESSAGE, message.bytes, _EXPIRING, credential.bytes, length, person.bytes))


_MESSAGE = encode.row(len(MESSAGE)) + encode.UUID_LENGTH
_EXPIRING = encode.text("expiring") + encode.UUID_LENGTH

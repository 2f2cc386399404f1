"""A school that renews: the issuing room's desk a year later, with each step of renewing as one call.

Belongs here: an institution for this room and the stage's calls with defaults. Does not belong here: assertions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

from credential_pipeline.institution import Institution
from credential_pipeline.renew.due import Window, remind, windows
from credential_pipeline.renew.plan import WindowPlans, apply_window, plan_window
from credential_pipeline.renew.waiting import still_blocked
from credential_pipeline_tests.identify.batches import Fields
from credential_pipeline_tests.issue.desk import AS_OF, DAY, Desk, achievement, evidence, institution, people, user

MONTH = "2027-02"
LATER = datetime(2027, 1, 11, 10, tzinfo=UTC)
NEXT_DAY = date(2027, 1, 11)
ACTIVE = {"dataset": "lms.users", "where": {"status": "active"}}


def renewed(course: str, renewal: Mapping[str, Any], **members: Any) -> dict[str, Any]:
    """An achievement that is held for a year, and how it is renewed."""
    return achievement(course, **{"occurrence": "once", "validity": {"years": 1}, "renewal": dict(renewal), **members})


SAFETY = renewed("safety", {"requires": [ACTIVE], "grace_days": 30})
KNOTS = renewed("knots", {})


def school(*achievements: Mapping[str, Any], **members: Any) -> Institution:
    """People with a status, completions of whole exports, exams of a file a day."""
    exams = {**evidence("exams"), "files": "exams-{day}.csv"}
    lms = {
        "id": "lms", "kind": "files", "system": "lms", "name": "Learning",
        "datasets": [people("users", status="status"), evidence("completions"), exams],
    }  # fmt: skip
    return institution(*(achievements or (SAFETY, KNOTS)), sources=[lms], **members)


def staff(key: str, status: str = "active", **fields: str) -> Fields:
    """A person with a status."""
    return user(key, status=status, **fields)


@dataclass
class Office:
    """A desk, and renewing at it; an instant is both `as_of` and the time it is."""

    desk: Desk

    def issue(
        self, rows: Sequence[Fields], users: Sequence[Fields], day: date = DAY, at: datetime = AS_OF, **more: Any
    ) -> None:
        self.desk.offer(rows, users, day, **more)
        self.desk.issue(day, at, now=at)

    def shards(self, month: str = MONTH) -> tuple[Window, ...]:
        return windows(month)

    def plan_one(self, of: Window, at: datetime = LATER, **options: Any) -> WindowPlans:
        return plan_window(self.desk.engine, self.desk.institution, self.desk.secrets, of, at, "renew-1", **options)

    def plan(self, month: str = MONTH, at: datetime = LATER) -> Counter[str]:
        """Plan all shards; lines by action."""
        found = [self.plan_one(of, at, four_eyes=n == 0) for n, of in enumerate(self.shards(month))]
        return sum((Counter(one.counts) for one in found), Counter())

    def apply_one(self, of: Window, at: datetime = LATER, **options: Any) -> int:
        return apply_window(
            self.desk.engine, self.desk.institution, self.desk.secrets, options.pop("signer_at", self.desk.signer), of,
            "renew-1", now=at, **options,
        ).issued  # fmt: skip

    def apply(self, month: str = MONTH, at: datetime = LATER, **options: Any) -> int:
        """Carry out what is approved of all shards; how many were issued."""
        return sum(self.apply_one(of, at, **options) for of in self.shards(month))

    def renew(self, month: str = MONTH, at: datetime = LATER) -> int:
        self.plan(month, at)
        return self.apply(month, at)

    def remind(self, month: str = MONTH, at: datetime = LATER) -> int:
        return sum(remind(self.desk.engine, self.desk.institution, of, at) for of in self.shards(month))

    def blocked(self, month: str = MONTH) -> dict[str, int]:
        with self.desk.engine.connect() as connection:
            return still_blocked(connection, self.shards(month))

    def versions(self, achievement: str = "safety") -> list[tuple[Any, ...]]:
        """(cause, state, awarded_on, valid_until as a day) of an achievement's credentials."""
        return self.desk.rows(
            "select c.cause, s.state, c.awarded_on, cast(c.valid_until at time zone 'America/New_York' as date)"
            " from ledger.credential c join ledger.credential_state s using (credential_id)"
            " where c.achievement = :achievement order by c.award_id, c.as_of",
            achievement=achievement,
        )

    def person(self, key: str) -> UUID:
        found: UUID = self.desk.value(
            "select person_id from identity.source_record where source_key = :key", key=f"lms:{key}"
        )
        return found

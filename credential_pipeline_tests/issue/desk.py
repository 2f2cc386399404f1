"""The issuing room with its neighbours: accepted rows made by hand, real persons, secrets and keys.

Belongs here: an institution for this room and the stage's calls with defaults. Does not belong here: assertions.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Engine, text

from credential_pipeline.credential.keys import Signer
from credential_pipeline.identify.persons import identify_batch
from credential_pipeline.institution import Institution
from credential_pipeline.issue.apply import apply_plan
from credential_pipeline.issue.chunks import ApplyResult
from credential_pipeline.issue.earn import EarnResult, earn_batch
from credential_pipeline.issue.plan import PlanResult, plan_day
from credential_pipeline.issue.plans import open_plans
from credential_pipeline.store.dictionaries import reader_of
from credential_pipeline.store.secrets import SecretsDirectory
from credential_pipeline.store.signing import signer_at
from credential_pipeline_tests.identify.batches import Batches, Fields

DAY = date(2026, 3, 2)
KEY_START = datetime(2026, 1, 1, tzinfo=UTC)
AS_OF = datetime(2026, 3, 2, 10, tzinfo=UTC)


def achievement(course: str, **members: Any) -> dict[str, Any]:
    """An achievement earned by passing the course of its id."""
    return {
        "id": course,
        "name": course.title(),
        "type": "Course",
        "description": f"The course {course}.",
        "criteria": "Passed it.",
        "earned_by": [
            {"dataset": "lms.completions", "where": {"course": course, "outcome": "passed"}, "awarded_on": "done"}
        ],
        "occurrence": {"per": "term"},
        **members,
    }


SCORE = {"id": "score", "name": "Score", "type": "Percent", "field": "score", "min": "0", "max": "100", "omit": ["-"]}
ACHIEVEMENTS = (
    achievement("knots", results=[SCORE]),
    achievement("safety", occurrence="once", validity={"years": 1}, status_purpose="suspension", credits="1.5"),
    achievement("diploma", occurrence="once", approval="four_eyes"),
)


def people(name: str, **columns: str) -> dict[str, Any]:
    """A dataset of people whose columns are called as our fields."""
    fields = ("person", "full_name", "email", "birth_date")
    return {"id": name, "role": "people", "files": f"{name}.csv", "columns": {f: f for f in fields} | columns}


def evidence(name: str) -> dict[str, Any]:
    """A dataset of evidence with one checked date."""
    fields = ("person", "course", "term", "done", "score", "outcome")
    return {
        "id": name,
        "role": "evidence",
        "files": f"{name}.csv",
        "columns": {f: f for f in fields},
        "gate": {"checks": [{"check": "date", "field": "done"}]},
    }


def institution(*achievements: Mapping[str, Any], **members: Any) -> Institution:
    """A sailing school in New York; `achievements` instead of its own three, other members as given."""
    programme = {"id": "courses", "name": "Courses", "achievements": list(achievements or ACHIEVEMENTS)}
    return Institution.model_validate(
        {
            "id": "school",
            "issuer": {"name": "School", "url": "https://school.example"},
            "base_url": "https://badges.school.example",
            "time_zone": "America/New_York",
            "history_from": "2026-01-01",
            "recipient": {
                "name": "shown",
                "identifiers": [{"type": "emailAddress", "from": "email"}, {"type": "systemId", "from": "lms"}],
            },
            "sources": [
                {
                    "id": "lms",
                    "kind": "files",
                    "system": "lms",
                    "name": "Learning",
                    "datasets": [people("users"), evidence("completions"), evidence("exams")],
                },
                {"id": "sis", "kind": "files", "system": "sis", "name": "Register", "datasets": [people("students")]},
            ],
            "catalogue": {"programmes": [programme]},
            **deepcopy(members),
        }
    )


def user(key: str, **fields: str) -> Fields:
    """A person with a name and an e-mail address; a field given as "" is absent, as the gate leaves it."""
    name = "".join(chr(ord(c) + 49) if c.isdigit() else c for c in key)  # a name with digits would be held
    whole = {"person": key, "full_name": f"{name} Learner", "email": f"{key.lower()}@school.example", **fields}
    return {name: value for name, value in whole.items() if value}


def passed(key: str, course: str = "knots", **fields: str) -> Fields:
    """A row of evidence that earns `course`, unless a field says otherwise."""
    row = {"person": key, "course": course, "term": "2026SP", "done": "2026-02-01", "score": "70", "outcome": "passed"}
    return {name: value for name, value in (row | fields).items() if value}


@dataclass
class Desk:
    """A database, an institution and its secrets, with each step of the stage as one call."""

    engine: Engine
    institution: Institution
    secrets: SecretsDirectory

    def offer(self, evidence: Sequence[Fields], users: Sequence[Fields] = (), day: date = DAY, **more: Any) -> None:
        """Make these rows the day's batch, with a user for each person of the evidence, and identify them."""
        given = {row["person"] for row in users}
        plain = [user(key) for key in sorted({row["person"] for row in evidence} - given)]
        datasets = {"lms__users": [*users, *plain], "lms__completions": evidence, **more}
        Batches(self.engine, self.institution).offer(day, **datasets)
        identify_batch(self.engine, self.institution, day, "identify")

    def earn(self, day: date = DAY, run_id: str = "run-1") -> EarnResult:
        return earn_batch(self.engine, self.institution, day, run_id)

    def plan(self, day: date = DAY, as_of: datetime = AS_OF, run_id: str = "run-1") -> PlanResult:
        """Earn and plan."""
        self.earn(day, run_id)
        return plan_day(self.engine, self.institution, self.secrets, day, as_of, run_id)

    def planned(self, day: date = DAY, as_of: datetime = AS_OF) -> UUID:
        """Earn and plan where there is something to do."""
        plan = self.plan(day, as_of).plan_id
        assert plan is not None
        return plan

    def signer(self, as_of: datetime) -> Signer:
        return signer_at(self.secrets, self.institution.issuer_did, as_of)

    def apply(
        self,
        plan: UUID,
        *,
        signer_at: Callable[[datetime], Signer] | None = None,
        run_id: str = "run-1",
        now: datetime = AS_OF,
        **options: Any,
    ) -> ApplyResult:
        return apply_plan(
            self.engine, self.institution, self.secrets, signer_at or self.signer, plan, run_id, now=now, **options
        )

    def issue(self, day: date = DAY, as_of: datetime = AS_OF, **options: Any) -> int:
        """Earn, plan and apply all that is open; returns how many were issued."""
        self.plan(day, as_of)
        return sum(self.apply(plan, **options).issued for plan in open_plans(self.engine))

    def rows(self, query: str, **parameters: Any) -> list[tuple[Any, ...]]:
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(query), parameters)]

    def value(self, query: str, **parameters: Any) -> Any:
        [(found,)] = self.rows(query, **parameters)
        return found

    def write(self, statement: str, **parameters: Any) -> None:
        with self.engine.begin() as connection:
            connection.execute(text(statement), parameters)

    def count(self, table: str) -> int:
        return int(self.value(f"select count(*) from {table}"))

    def regate(self, key: str, course: str, **fields: str) -> None:
        """What the gate does to an accepted row when what it was completed from changes: same row, other fields."""
        [(row_id, before)] = self.rows(
            "select row_id, fields from accepted.row where fields->>'person' = :key and fields->>'course' = :course",
            key=key,
            course=course,
        )
        after = before | fields
        self.write(
            "update accepted.row set fields = cast(:fields as jsonb), fields_hash = :hash where row_id = :row",
            row=row_id,
            fields=json.dumps(after),
            hash=hashlib.sha256(json.dumps(after, sort_keys=True).encode()).digest(),
        )

    def documents(self) -> dict[UUID, bytes]:
        """The signed bytes of every credential that was not erased."""
        with self.engine.connect() as connection:
            reader = reader_of(connection)
            rows = connection.execute(
                text("select credential_id, document_form, document from ledger.credential where document is not null")
            )
            return {credential: reader.read(form, data) for credential, form, data in rows.all()}

    def credentials(self) -> list[dict[str, Any]]:
        """Every credential, read."""
        return [json.loads(data) for data in self.documents().values()]

    def lines(self, plan: UUID | None = None) -> list[tuple[Any, ...]]:
        """(action, state, achievement, reasons) of a plan's lines, or of all plan lines, plan by plan."""
        return self.rows(
            "select l.action, l.state, l.achievement, l.reasons from ledger.plan_line l join ledger.plan p"
            " using (plan_id) where cast(:plan as uuid) is null or plan_id = :plan order by p.recorded_at, l.ordinal",
            plan=plan,
        )

    def holds(self) -> list[tuple[Any, ...]]:
        """(action, state, reasons) of all holds."""
        return self.rows("select action, state, reasons from ledger.hold order by award_id, action")


def written(engine: Engine) -> dict[str, list[tuple[object, ...]]]:
    """Every row of the ledger with the transaction that wrote it: equal only if nothing was written between."""
    with engine.connect() as connection:
        tables = connection.scalars(
            text("select tablename from pg_tables where schemaname = 'ledger' order by 1")
        ).all()
        return {
            table: [tuple(r) for r in connection.execute(text(f"select xmin::text, t::text from ledger.{table} t"))]
            for table in tables
            if table != "alembic_version"
        }

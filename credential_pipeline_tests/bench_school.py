"""A ledger with many credentials about to end, for the benches: an institution as files, and rows put in by COPY.

Belongs here: rows as the stages before would have left them; documents say nothing. Does not belong here: measuring.
Memory stays flat: rows are generators.
"""

from __future__ import annotations

import calendar
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Engine, text

from credential_pipeline.credential import identifiers
from credential_pipeline.credential.identifiers import STATUS_LIST_LENGTH
from credential_pipeline.institution import Institution
from credential_pipeline.institution.calendar import start_of_day
from credential_pipeline.store.document_form import store_document
from credential_pipeline.store.postgres import copy_rows
from credential_pipeline.store.secrets import SecretsDirectory

RUN = "bench"
PLAN = UUID(int=1)
MONTHS = 12

INSTITUTION = """\
id: school
sample: true
issuer: {name: School, url: https://school.example}
base_url: https://badges.school.example
time_zone: America/New_York
history_from: 2020-01-01
policies: {campaign_approval: actor}
recipient:
  name: shown
  identifiers:
    - {type: emailAddress, from: email}
sources:
  - id: lms
    kind: files
    system: lms
    name: Learning
    datasets:
      - id: users
        role: people
        files: users.csv
        columns: {person: id, full_name: name, email: email, status: status}
      - id: completions
        role: evidence
        files: completions.csv
        columns: {person: user, course: course, done: done}
        gate: {checks: [{check: date, field: done}]}
"""

ACHIEVEMENT = """\
  - id: NAME
    name: NAME
    type: Certification
    description: Knows NAME.
    criteria: Passed NAME.
    earned_by:
      - {dataset: lms.completions, where: {course: [NAME]}, awarded_on: done}
    occurrence: once
    validity: {years: 2}
    renewal: {RENEWAL}
"""
# All twelve windows are open at once, as for a backfill of a year.
OPEN = "opens_days_before: 800"
CATALOGUE = (
    "id: courses\nname: Courses\nachievements:\n"
    + ACHIEVEMENT.replace("NAME", "safety").replace(
        "RENEWAL", f"requires: [{{dataset: lms.users, where: {{status: [active]}}}}], grace_days: 30, {OPEN}"
    )
    + ACHIEVEMENT.replace("NAME", "knots").replace("RENEWAL", OPEN)
)


def write_school(directory: Path) -> Path:
    """The institution's directory."""
    (directory / "catalogue").mkdir(parents=True)
    (directory / "data").mkdir()
    (directory / "institution.yaml").write_text(INSTITUTION)
    (directory / "catalogue" / "courses.yaml").write_text(CATALOGUE)
    return directory


@dataclass(frozen=True)
class School:
    """Credentials that end in the twelve months from `first`, one a person, spread evenly.

    Attributes:
        institution: the one of `write_school`.
        secrets: with a signing key that started before `issued`.
        people: how many.
        first: the first day of the first month.
    """

    institution: Institution
    secrets: SecretsDirectory
    people: int
    first: date

    @property
    def issued(self) -> datetime:
        """The instant that all credentials are dated with."""
        return datetime(self.first.year - 1, 1, 1, 12, tzinfo=UTC)

    @property
    def key_start(self) -> datetime:
        """When the key that signed them started."""
        return self.issued - timedelta(days=1)

    @property
    def months(self) -> list[date]:
        """The first days of the months that credentials end in."""
        start = self.first.year * 12 + self.first.month - 1
        return [date((start + n) // 12, (start + n) % 12 + 1, 1) for n in range(MONTHS)]

    def fill(self, engine: Engine) -> None:
        """Put all rows in, in one transaction, and let the planner know them."""
        with engine.begin() as connection:
            self._parents(connection)
            self._landed(connection)
            self._persons(connection)
            self._credentials(connection)
        # The application does not own the tables and may not analyze them: autovacuum does, within a minute of a run.

    def _parents(self, connection: Connection) -> None:
        catalogue = self.institution.catalogue
        connection.execute(
            text("insert into ledger.catalogue_version values (:v, cast(:c as jsonb), 'bench') on conflict do nothing"),
            {"v": catalogue.version, "c": catalogue.model_dump_json()},
        )
        connection.execute(
            text(
                "insert into ledger.plan (plan_id, hash, kind, scope, as_of, catalogue_version, counts, state,"
                " created_by, run_id)"
                " values (:p, sha256('p'), 'issue', 'day:2026-01-02', :as_of, :v, '{}', 'applied', 'bench', 'bench')"
            ),
            {"p": PLAN, "as_of": self.issued, "v": catalogue.version},
        )
        for n in range(-(-self.people // STATUS_LIST_LENGTH)):
            connection.execute(
                text(
                    "insert into ledger.status_list (list_number, purpose, ordinal, secret_version)"
                    " values (:number, 'revocation', :n, :version)"
                ),
                {"number": n + 1, "n": n, "version": self.secrets.secret("status").version},
            )
        connection.execute(text("insert into ledger.status_cursor values ('revocation', :n)"), {"n": self.people})

    def _landed(self, connection: Connection) -> None:
        file = connection.scalar(
            text(
                "insert into landed.file (dataset, name, digest, size_bytes, row_count, day, run_id)"
                " values ('lms.users', 'users.csv', sha256('u'), 1, :n, '2026-01-02', 'bench') returning file_id"
            ),
            {"n": self.people},
        )
        copy_rows(
            connection, "landed.row",
            ("row_id", "dataset", "row_hash", "cells", "file_id", "row_number", "day", "run_id"),
            ((n, "lms.users", digest("row", n), "{}", file, n, "2026-01-02", RUN) for n in self._each()),
        )  # fmt: skip
        copy_rows(
            connection, "landed.file_row", ("file_id", "row_number", "row_id"), ((file, n, n) for n in self._each())
        )
        connection.execute(
            text("insert into landed.batch_file values ('2026-01-02', 'lms.users', :file, 'bench')"), {"file": file}
        )

    def _persons(self, connection: Connection) -> None:
        def put(table: str, columns: Sequence[str], row: Callable[[int], tuple[object, ...]]) -> None:
            copy_rows(connection, table, columns, map(row, self._each()))

        put(
            "identity.person", ("person_id", "first_source_key", "first_day", "run_id"),
            lambda n: (self.person(n), f"lms:U{n}", "2026-01-02", RUN),
        )  # fmt: skip
        put(
            "identity.source_record",
            ("source_key", "source", "person_id", "row_id", "fields_hash", "full_name", "email", "identifiers",
             "link_rule", "day", "run_id"),
            lambda n: (f"lms:U{n}", "lms", self.person(n), n, digest("record", n), f"Learner {name_of(n)}",
                       f"u{n}@school.example", "{}", "first_sight", "2026-01-02", RUN),
        )  # fmt: skip
        put(
            "accepted.row",
            ("row_id", "dataset", "source_key", "fields", "fields_hash", "gate_version", "day", "run_id"),
            lambda n: (n, "lms.users", f"lms:U{n}", json.dumps({"person": f"U{n}", "status": "active"}),
                       digest("fields", n), digest("gate", 0), "2026-01-02", RUN),
        )  # fmt: skip

    def _credentials(self, connection: Connection) -> None:
        copy_rows(
            connection, "ledger.award",
            ("award_id", "person_id", "achievement", "occurrence", "awarded_on", "day", "run_id"),
            ((award, person, achievement, "once", on, "2026-01-02", RUN)
             for _, award, person, achievement, on, _ in self._awards()),
        )  # fmt: skip
        copy_rows(
            connection, "ledger.plan_line",
            ("plan_id", "ordinal", "action", "achievement", "award_id", "credential_id", "cause", "person_id",
             "status_ordinal", "facts", "reasons", "inputs", "state"),
            ((PLAN, n, "create", achievement, award, identifiers.credential_id(award, "issue"), "issue", person, n - 1,
              facts(n, on, until), "[]", "{}", "applied")
             for n, award, person, achievement, on, until in self._awards()),
        )  # fmt: skip
        copy_rows(
            connection, "ledger.credential",
            ("credential_id", "award_id", "cause", "public_id", "id_secret_version", "salt_secret_version",
             "person_id", "achievement", "plan_id", "ordinal", "key_id", "list_number", "status_index", "as_of",
             "awarded_on", "valid_until", "document", "document_form", "document_sha256", "run_id"),
            self._rows(),
        )  # fmt: skip
        states = "insert into ledger.credential_state (credential_id, state) select credential_id, 'current'"
        events = (
            "insert into ledger.event (credential_id, seq, kind, actor, run_id)"
            " select credential_id, 1, 'issued', 'pipeline', 'bench'"
        )
        for statement in (states, events):
            connection.execute(text(f"{statement} from ledger.credential"))

    def _rows(self) -> Iterator[tuple[object, ...]]:
        ids, status = self.secrets.secret("id"), self.secrets.secret("status")
        form, document = store_document(b'{"@context":[],"hand":"made"}')
        for n, award, person, achievement, on, until in self._awards():
            credential = identifiers.credential_id(award, "issue")
            number, index = identifiers.status_place(status.value, "revocation", n - 1)
            yield (
                credential, award, "issue", identifiers.public_id(ids.value, credential), 1, 1, person, achievement,
                PLAN, n, "key-1", number + 1, index, self.issued, on, until, document, form, digest("document", n), RUN,
            )  # fmt: skip

    def _awards(self) -> Iterator[tuple[int, UUID, UUID, str, date, datetime]]:
        """Ordinal, award, person, achievement, day, end of each."""
        zone, months = self.institution.zone, self.months
        ends: dict[date, datetime] = {}
        for n in self._each():
            month = months[n % MONTHS]
            ends_on = month.replace(day=n // MONTHS % (calendar.monthrange(month.year, month.month)[1] - 2) + 2)
            until = ends.setdefault(ends_on, start_of_day(ends_on, zone))
            person, achievement = self.person(n), ("safety", "knots")[n % 2]
            award = identifiers.award_id(self.institution.id, person, achievement, "once")
            yield n, award, person, achievement, ends_on.replace(year=ends_on.year - 2), until

    def _each(self) -> Iterable[int]:
        return range(1, self.people + 1)

    def person(self, n: int) -> UUID:
        """The n-th person."""
        return identifiers.person_id(self.institution.id, f"lms:U{n}")


def facts(n: int, on: date, until: datetime) -> str:
    """What a plan line says of the n-th credential, as JSON."""
    said: dict[str, Any] = {
        "awarded_on": on.isoformat(), "occurrence": "once", "name": f"Learner {name_of(n)}",
        "identifiers": [{"type": "emailAddress", "value": f"u{n}@school.example"}], "valid_until": until.isoformat(),
    }  # fmt: skip
    return json.dumps(said)


def digest(kind: str, n: int) -> bytes:
    """32 bytes that stand for a hash."""
    return hashlib.sha256(f"{kind} {n}".encode()).digest()


def name_of(n: int) -> str:
    """A name without digits."""
    return "".join(chr(ord("a") + int(c)) for c in str(n))

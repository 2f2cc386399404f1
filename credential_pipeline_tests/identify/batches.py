"""Accepted rows as the gate leaves them, without the gate: this room's tests choose exactly what is in a batch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from sqlalchemy import Engine, text

from credential_pipeline.credential.identifiers import row_hash, source_key
from credential_pipeline.institution import Institution

Fields = Mapping[str, str]


@dataclass(frozen=True)
class Batches:
    """Days of an institution."""

    engine: Engine
    institution: Institution

    def offer(self, day: date, **datasets: Sequence[Fields]) -> None:
        """Make these rows the day's whole batch; `sis__students` stands for sis.students."""
        with self.engine.begin() as connection:
            connection.execute(text("delete from landed.batch_file where day = :day"), {"day": day})
            for name, rows in datasets.items():
                self._offer(connection, day, name.replace("__", "."), rows)

    def _offer(self, connection, day: date, name: str, rows: Sequence[Fields]) -> None:
        source, field = next(d.person for d in self.institution.datasets if d.name == name)
        digest = hashlib.sha256(json.dumps([name, *rows], sort_keys=True).encode()).digest()
        common = {"dataset": name, "day": day, "run": "gate"}
        file = connection.scalar(
            text(
                "insert into landed.file (dataset, name, digest, size_bytes, row_count, day, run_id)"
                " values (:dataset, :dataset, :digest, 1, :count, :day, :run)"
                " on conflict (dataset, name, digest) do update set run_id = excluded.run_id returning file_id"
            ),
            {**common, "digest": digest, "count": len(rows)},
        )
        for number, fields in enumerate(rows, 1):
            row = connection.scalar(
                text(
                    "insert into landed.row (dataset, row_hash, cells, file_id, row_number, day, run_id)"
                    " values (:dataset, :hash, cast(:fields as jsonb), :file, :number, :day, :run)"
                    " on conflict (dataset, row_hash, copy) do update set run_id = excluded.run_id returning row_id"
                ),
                {
                    **common,
                    "hash": row_hash(name, dict(fields)),
                    "fields": json.dumps(fields),
                    "file": file,
                    "number": number,
                },
            )
            connection.execute(
                text("insert into landed.file_row values (:file, :number, :row) on conflict do nothing"),
                {"file": file, "number": number, "row": row},
            )
            connection.execute(
                text(
                    "insert into accepted.row"
                    " (row_id, dataset, source_key, fields, fields_hash, gate_version, day, run_id)"
                    " values (:row, :dataset, :key, cast(:fields as jsonb), :hash, :hash, :day, :run)"
                    " on conflict (row_id) do nothing"
                ),
                {
                    **common,
                    "row": row,
                    "key": source_key(source, fields[field]),
                    "fields": json.dumps(fields),
                    "hash": hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).digest(),
                },
            )
        connection.execute(
            text("insert into landed.batch_file (day, dataset, file_id, run_id) values (:day, :dataset, :file, :run)"),
            {**common, "file": file},
        )


def user(key: str, full_name: str, email: str = "", birth_date: str = "") -> Fields:
    """A row of lms.users."""
    return _filled(person=key, full_name=full_name, email=email, birth_date=birth_date)


def student(key: str, given: str, family: str, **fields: str) -> Fields:
    """A row of sis.students."""
    return _filled(person=key, given_name=given, family_name=family, **fields)


def employee(key: str, sort_name: str, **fields: str) -> Fields:
    """A row of hr.employees."""
    return _filled(person=key, sort_name=sort_name, **fields)


def _filled(**fields: str) -> Fields:
    return {name: value for name, value in fields.items() if value}


def snapshot(engine: Engine) -> dict[str, list[tuple[object, ...]]]:
    """Every row of the schema with the transaction that wrote it: equal only if nothing was written between."""
    tables = ("person", "person_alias", "source_record", "review_pair")
    rows = "select xmin::text, ctid::text, t::text from identity.{} t order by 3"
    with engine.connect() as connection:
        return {table: [tuple(row) for row in connection.execute(text(rows.format(table)))] for table in tables}


def persons(engine: Engine) -> dict[str, str]:
    """The person of every source record."""
    with engine.connect() as connection:
        return {
            key: str(person)
            for key, person in connection.execute(text("select source_key, person_id from identity.source_record"))
        }


def link_rules(engine: Engine) -> dict[str, str]:
    """Why every source record belongs to its person."""
    with engine.connect() as connection:
        return dict(connection.execute(text("select source_key, link_rule from identity.source_record")).tuples().all())


def reviews(engine: Engine) -> dict[tuple[str, str], tuple[str, str]]:
    """(state, reason) of every review pair."""
    with engine.connect() as connection:
        return {
            (left, right): (state, reason)
            for left, right, state, reason in connection.execute(
                text("select left_key, right_key, state, reason from identity.review_pair")
            )
        }

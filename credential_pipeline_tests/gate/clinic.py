"""A small institution whose one gate a test writes itself, and its files: the real extract and the real gate."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, text

from credential_pipeline.extract.files import extract_dataset
from credential_pipeline.gate.gate import GateResult, gate_dataset
from credential_pipeline.institution import Institution
from credential_pipeline.institution.sources import DatasetOfSource

DAY = date(2024, 6, 1)

Row = Mapping[str, str]


def institution(*datasets: Mapping[str, Any]) -> Institution:
    """An institution with one source, `lms`, and these datasets."""
    return Institution.model_validate(
        {
            "id": "clinic",
            "issuer": {"name": "Clinic", "url": "https://clinic.example"},
            "base_url": "https://clinic.example",
            "time_zone": "Europe/London",
            "history_from": "2024-01-01",
            "recipient": {"identifiers": [{"type": "systemId", "from": "lms"}]},
            "sources": [{"id": "lms", "kind": "files", "name": "LMS", "datasets": list(datasets)}],
            "catalogue": {"programmes": []},
        }
    )


def dataset(name: str, columns: Iterable[str], *checks: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """A dataset whose columns are called as our fields; a gate that never refuses a batch unless `limit` says so."""
    limit = more.pop("limit", 1.0)
    return {
        "id": name,
        "role": "reference",
        "files": f"{name}*.csv",
        "columns": {column: column for column in columns},
        "gate": {"checks": list(checks), "reject_limit": limit},
        **more,
    }


@dataclass
class Clinic:
    """An engine, a data directory and an institution, with the two stages as one call."""

    engine: Engine
    data: Path
    institution: Institution
    runs: list[str] = field(default_factory=list)

    def named(self, name: str) -> DatasetOfSource:
        """A dataset of the institution."""
        return next(d for d in self.institution.datasets if d.name == name)

    def offer(self, name: str, rows: Iterable[Row], file: str | None = None, columns: Iterable[str] = ()) -> None:
        """Write a file of a dataset; the header is that of the dataset, or `columns`."""
        header = list(columns) or list(self.named(name).dataset.columns.values())
        path = self.data / (file or f"{name.partition('.')[2]}.csv")
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, header, restval="")
            writer.writeheader()
            writer.writerows(rows)

    def run(self, name: str, day: date = DAY, **options: Any) -> GateResult:
        """Extract and gate a dataset."""
        self.runs.append(f"run-{len(self.runs) + 1}")
        extract_dataset(self.engine, self.named(name), self.data, day, self.runs[-1])
        return gate_dataset(self.engine, self.institution, self.named(name), day, self.runs[-1], **options)

    def judge(self, name: str, rows: Iterable[Row], **options: Any) -> GateResult:
        """Offer these rows and run."""
        self.offer(name, rows)
        return self.run(name, **options)

    def codes(self, name: str, *, waiting: bool = True) -> dict[tuple[str, int], set[str]]:
        """Codes by (file, row number) of first sight; those that wait, or those that are resolved."""
        found: dict[tuple[str, int], set[str]] = {}
        for code, _, where in self._reasons(name, waiting):
            found.setdefault(where, set()).add(code)
        return found

    def reasons(self, name: str, *, waiting: bool = True) -> list[tuple[int, str, str, str | None, str]]:
        """(row number, code, field, value, remedy), in order."""
        with self.engine.connect() as connection:
            return [
                tuple(row)
                for row in connection.execute(
                    text(
                        "select r.row_number, q.code, q.field, q.value, q.remedy from quarantine.reason q"
                        " join landed.row r using (row_id) where q.dataset = :name"
                        " and (q.resolved_at is null) = :waiting order by r.row_id, q.code, q.field"
                    ),
                    {"name": name, "waiting": waiting},
                )
            ]

    def accepted(self, name: str) -> list[dict[str, str]]:
        """Fields of the accepted rows, in order."""
        with self.engine.connect() as connection:
            return list(
                connection.execute(
                    text("select fields from accepted.row where dataset = :name order by row_id"), {"name": name}
                ).scalars()
            )

    def value(self, query: str, **parameters: Any) -> Any:
        """The first value of a query."""
        with self.engine.connect() as connection:
            return connection.scalar(text(query), parameters)

    def _reasons(self, name: str, waiting: bool) -> list[tuple[str, str, tuple[str, int]]]:
        with self.engine.connect() as connection:
            rows = connection.execute(
                text(
                    "select q.code, q.field, f.name, r.row_number from quarantine.reason q"
                    " join landed.row r using (row_id) join landed.file f using (file_id)"
                    " where q.dataset = :name and (q.resolved_at is null) = :waiting"
                ),
                {"name": name, "waiting": waiting},
            ).all()
        return [(row.code, row.field, (row.name, row.row_number)) for row in rows]

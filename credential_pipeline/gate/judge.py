"""A chunk of rows -> those that pass by themselves, with their fields, and the reasons of those that do not.

Belongs here: putting together reading problems, derived fields and expectations. Does not belong here: what
rows are to each other (uniqueness, the rejection limit) and the database tables of the verdict (verdicts.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date

import pandas as pd
from sqlalchemy import Connection

from credential_pipeline.gate.derive import Derivations
from credential_pipeline.gate.expectations import (
    KNOWN,
    UNREADABLE,
    Finding,
    Suite,
    as_known,
    as_number,
    row_demands,
)
from credential_pipeline.gate.rows import Cells, Chunk, pin_scope, read_values
from credential_pipeline.gate.values import canonical, comparable
from credential_pipeline.institution.checks import Date, Number, Reference
from credential_pipeline.institution.sources import DatasetOfSource

LONGEST_VALUE = 200
"""Characters of a bad value that are kept with its reason: enough to recognise it."""

NUL_PICTURE = "\u2400"
"""What extract lands instead of NUL, which PostgreSQL cannot hold."""

WHOLE_ROW = {
    "duplicate_row": "remove one of the two equal rows; the first one stays",
    "ragged_row": "give the row as many cells as the header has; look for a missing or unquoted delimiter",
    "control_characters": "remove the NUL characters from the row",
    "erased": "nothing: it was the row of an erased person; take that person out of the source",
}
"""Remedies of the codes that blame no field."""


@dataclass(frozen=True)
class Reason:
    """Why a row is in quarantine. `field` is empty where the whole row is meant; `value` as a clerk can read it."""

    row_id: int
    code: str
    field: str
    value: str | None
    remedy: str


@dataclass(frozen=True)
class Passed:
    """A row that passed by itself: its fields that are not empty, and the landed rows they were completed from."""

    row_id: int
    fields: dict[str, str]
    lookup_rows: tuple[int, ...]


class Judge:
    """Judges chunks of one dataset's batch; opened once a batch, because suites and look-ups cost seconds."""

    def __init__(self, connection: Connection, dataset: DatasetOfSource, day: date) -> None:
        pin_scope(connection, dataset.needs, day)
        checks = dataset.dataset.gate.checks
        self._mapped = tuple(dataset.dataset.columns)
        self._typed = {c.field: c for c in checks if isinstance(c, Number | Date)}
        self._known = {
            as_known(c.field, c.to): (c.field, read_values(connection, c.dataset, c.to.rpartition(".")[2]))
            for c in checks
            if isinstance(c, Reference)
        }
        self._derivations = Derivations(connection, dataset.dataset)
        self._suite = Suite(dataset.name, row_demands(dataset, day))

    def judge(self, chunk: Chunk) -> tuple[list[Passed], list[Reason]]:
        """Every row of the chunk is in exactly one of the two; a row may have several reasons."""
        reasons, sound = _reading_problems(chunk)
        chunk = chunk.pick(sound)
        fields = {f: canonical(chunk.cells[f], self._typed.get(f)) for f in self._mapped}
        fields, lookup_rows = self._derivations.complete(fields, len(chunk.row_ids))
        as_offered = {**fields, **chunk.cells}
        found = self._suite.findings(self._frame(as_offered, fields))
        reasons += _reasons(chunk.row_ids, as_offered, _causes(found))
        bad = {reason.row_id for reason in reasons}
        names = tuple(fields)
        passed = [
            Passed(row_id, {n: v for n, v in zip(names, values, strict=True) if v is not None}, rows)
            for row_id, rows, *values in zip(chunk.row_ids, lookup_rows, *fields.values(), strict=True)
            if row_id not in bad
        ]
        return passed, reasons

    def _frame(self, as_offered: Mapping[str, Cells], fields: Mapping[str, Cells]) -> pd.DataFrame:
        columns = {field: pd.Series(cells, dtype=object) for field, cells in as_offered.items()}
        for field, check in self._typed.items():
            columns[as_number(field)] = pd.Series(comparable(as_offered[field], check), dtype=float)
        for name, (field, known) in self._known.items():
            columns[name] = pd.Series(
                [None if cell is None else KNOWN if cell in known else "unknown" for cell in fields[field]],
                dtype=object,
            )
        return pd.DataFrame(columns)


def _reading_problems(chunk: Chunk) -> tuple[list[Reason], list[int]]:
    """Reasons that reading gave, and the positions whose cells can be trusted enough to be checked further."""
    reasons: list[Reason] = []
    sound: list[int] = []
    for position, (row_id, copy, problems) in enumerate(zip(chunk.row_ids, chunk.copies, chunk.problems, strict=True)):
        if "erased" in problems:
            reasons.append(_whole_row(row_id, "erased"))
        elif copy:  # whatever else is wrong with it is said of the first
            reasons.append(_whole_row(row_id, "duplicate_row"))
        elif "ragged_row" in problems:  # no telling which cell belongs to which column
            reasons.append(_whole_row(row_id, "ragged_row"))
        elif problems:
            reasons += _nul(chunk, position) if "control_characters" in problems else []
            reasons += [_whole_row(row_id, p) for p in problems if p != "control_characters"]
        else:
            sound.append(position)
    return reasons, sound


def _whole_row(row_id: int, code: str) -> Reason:
    return Reason(row_id, code, "", None, WHOLE_ROW.get(code, "correct the row and offer it again"))


def _nul(chunk: Chunk, position: int) -> list[Reason]:
    row_id, remedy = chunk.row_ids[position], WHOLE_ROW["control_characters"]
    named = [
        Reason(row_id, "control_characters", field, visible(cell), remedy)
        for field, cells in chunk.cells.items()
        if (cell := cells[position]) and NUL_PICTURE in cell
    ]
    return named or [_whole_row(row_id, "control_characters")]


def _causes(found: Iterable[Finding]) -> Iterator[Finding]:
    """Findings without repetition, and without those about a cell that cannot be read: they only follow from it."""
    seen: set[tuple[int, str, str]] = set()
    unreadable: set[tuple[int, str]] = set()
    for finding in found:  # control characters come first
        code, field = finding.demand.code, finding.demand.field
        if (finding.position, field) in unreadable or (finding.position, code, field) in seen:
            continue
        seen.add((finding.position, code, field))
        if code == "control_characters":
            unreadable.add((finding.position, field))
        yield finding


def _reasons(row_ids: list[int], offered: Mapping[str, Cells], found: Iterable[Finding]) -> list[Reason]:
    return [
        Reason(row_ids[f.position], f.demand.code, f.demand.field, _value(offered, f), f.demand.remedy) for f in found
    ]


def _value(offered: Mapping[str, Cells], finding: Finding) -> str | None:
    cell = offered[finding.demand.field][finding.position]
    return None if cell is None else visible(cell)


def visible(value: str) -> str:
    """A value with what cannot be seen written as `\\u0007`, cut to 200 characters."""
    value = re.sub(UNREADABLE, lambda bad: f"\\u{ord(bad.group()):04x}", value[: LONGEST_VALUE + 1])
    return value if len(value) <= LONGEST_VALUE else value[: LONGEST_VALUE - 1] + "…"

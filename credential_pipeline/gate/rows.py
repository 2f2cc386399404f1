"""Rows as the gate reads them: the landed rows of a day's batch in chunks, and accepted rows of other datasets.

Belongs here: SQL that reads, trimming, and what counts as empty. Does not belong here: judging and writing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date

from sqlalchemy import Connection, text

from credential_pipeline.institution.sources import DatasetOfSource

ROWS_PER_CHUNK = 200_000
"""Rows judged at once: about 0.5 GB at ten mapped fields, and few enough calls of Great Expectations."""

Cells = list[str | None]
"""A field of a chunk, one cell a row; None where it is empty."""


@dataclass(frozen=True)
class Chunk:
    """Rows side by side: ids, which copy within its file, problems found in reading, cells by field of ours."""

    row_ids: list[int]
    copies: list[int]
    problems: list[tuple[str, ...]]
    cells: dict[str, Cells]

    def pick(self, positions: Sequence[int]) -> Chunk:
        """The rows at these positions."""
        return Chunk(
            [self.row_ids[p] for p in positions],
            [self.copies[p] for p in positions],
            [self.problems[p] for p in positions],
            {field: [column[p] for p in positions] for field, column in self.cells.items()},
        )


def open_batch(connection: Connection, dataset: str, day: date) -> int:
    """Pin the batch for this transaction in a temporary table `gate_batch(row_id)`; returns how many rows landed.

    Pinned, because an extraction of the same day may move the batch while its rows are being judged.
    """
    connection.execute(text("create temporary table gate_batch (row_id bigint primary key) on commit drop"))
    landed = connection.execute(
        text(
            "insert into gate_batch select row_id from landed.batch_row"
            " where day = :day and dataset = :dataset order by row_id"
        ),
        {"day": day, "dataset": dataset},
    ).rowcount
    connection.execute(text("analyze gate_batch"))
    return landed


def read_batch(connection: Connection, dataset: DatasetOfSource, rows_per_chunk: int) -> Iterator[Chunk]:
    """The rows of `gate_batch` in the order they first landed, with our field names and trimmed cells."""
    columns = dataset.dataset.columns
    cells = ", ".join(f"r.cells ->> :column_{n}" for n in range(len(columns)))
    result = connection.execute(
        text(
            f"select r.row_id, r.copy, r.problems, {cells}"
            " from gate_batch b join landed.row r using (row_id) order by r.row_id"
        ),
        {f"column_{n}": column for n, column in enumerate(columns.values())},
        execution_options={"yield_per": rows_per_chunk},
    )
    empty = frozenset(dataset.dataset.empty)
    for partition in result.partitions(rows_per_chunk):
        row_ids, copies, problems, *offered = zip(*partition, strict=True)
        yield Chunk(
            list(row_ids),
            list(copies),
            [tuple(p or ()) for p in problems],
            {field: [_trimmed(c, empty) for c in column] for field, column in zip(columns, offered, strict=True)},
        )


def _trimmed(cell: str | None, empty: frozenset[str]) -> str | None:
    if cell is None:
        return None
    trimmed = cell.strip()
    return None if not trimmed or trimmed in empty else trimmed


def pin_scope(connection: Connection, datasets: Iterable[str], day: date) -> None:
    """Pin which accepted rows of other datasets count, in a temporary table `gate_scope(dataset, row_id)`.

    Those of the day's batch where a dataset has one; all it ever had accepted where it offered nothing that day.
    Pinned and analyzed, because right after a bulk load the planner knows nothing of `accepted.row` yet: a join
    with the files' rows then took 9 minutes for 100,000 rows, and now takes half a second whatever it guesses.
    """
    connection.execute(
        text(
            "create temporary table gate_scope (dataset text, row_id bigint, primary key (dataset, row_id))"
            " on commit drop"
        )
    )
    for dataset in datasets:
        in_batch = batch_files(connection, dataset, day)
        offered = "landed.batch_row where day = :day and" if in_batch else "accepted.row where"
        connection.execute(
            text(f"insert into gate_scope select dataset, row_id from {offered} dataset = :dataset"),
            {"dataset": dataset, "day": day},
        )
    connection.execute(text("analyze gate_scope"))


def read_accepted(connection: Connection, dataset: str, fields: Sequence[str]) -> tuple[list[int], list[Cells]]:
    """Row ids and the named fields of another dataset's accepted rows in scope, smallest id first."""
    names = {f"field_{n}": field for n, field in enumerate(fields)}
    # No server-side cursor: the planner would plan for the first tenth of the rows, and all of them are needed.
    rows = connection.execute(
        text(
            f"select a.row_id, {', '.join(f'a.fields ->> :{name}' for name in names)}"
            " from gate_scope s join accepted.row a using (row_id) where s.dataset = :dataset order by a.row_id"
        ),
        {**names, "dataset": dataset},
    )
    row_ids: list[int] = []
    columns: list[Cells] = [[] for _ in fields]
    for partition in rows.partitions(ROWS_PER_CHUNK):
        ids, *parts = zip(*partition, strict=True)
        row_ids.extend(ids)
        for column, part in zip(columns, parts, strict=True):
            column.extend(part)
    return row_ids, columns


def read_values(connection: Connection, dataset: str, field: str) -> frozenset[str]:
    """All values of a field among another dataset's accepted rows in scope."""
    return frozenset(
        connection.execute(
            text(
                "select distinct a.fields ->> :field from gate_scope s join accepted.row a using (row_id)"
                " where s.dataset = :dataset and a.fields ->> :field is not null"
            ),
            {"field": field, "dataset": dataset},
        ).scalars()
    )


def batch_files(connection: Connection, dataset: str, day: date) -> list[int]:
    """Ids of the files that were taken for the dataset on that day."""
    return list(
        connection.execute(
            text("select file_id from landed.batch_file where day = :day and dataset = :dataset order by file_id"),
            {"day": day, "dataset": dataset},
        ).scalars()
    )

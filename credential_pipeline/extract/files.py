"""Source kind `files`: the files of a data directory -> landed rows of a day's batch.

Belongs here: which files a day offers, and landing each once. Does not belong here: reading bytes (delimited.py)
and judging rows (gate/). The whole directory is offered every day unless a dataset's `files` names `{day}`;
what is known already is neither landed nor issued again.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

from sqlalchemy import Connection, Engine, text

from credential_pipeline.credential.identifiers import source_key
from credential_pipeline.errors import Terminal
from credential_pipeline.extract.breaches import Breach, record_breaches
from credential_pipeline.extract.delimited import FILE_CODES, FileBreachError, OfferedRow, digest, read_rows
from credential_pipeline.institution.sources import DatasetOfSource
from credential_pipeline.store.postgres import copy_rows, transaction_lock
from credential_pipeline.store.secrets import SecretsDirectory
from credential_pipeline.store.tombstones import Tombstones, read_tombstones

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ExtractResult:
    """Counts of one dataset's batch: files taken, rows of them, rows that had not landed before."""

    files: int
    rows: int
    new_rows: int
    breaches: tuple[Breach, ...]


def offered_files(dataset: DatasetOfSource, data: Path, day: date) -> list[Path]:
    """The files a dataset offers on a day, by name.

    Raises:
        Terminal: the data directory does not exist.
    """
    if not data.is_dir():
        raise Terminal(f"no data directory {data}; give one with --data DIR, or set `data` in institution.yaml")
    pattern = dataset.dataset.files.replace("{day}", day.isoformat())
    return sorted(path for path in data.glob(pattern) if path.is_file())


Secrets = Callable[[], SecretsDirectory]
"""Opens the secrets directory, which landing needs once persons were erased: their rows land empty."""


def extract_dataset(
    engine: Engine, dataset: DatasetOfSource, data: Path, day: date, run_id: str, secrets: Secrets | None = None
) -> ExtractResult:
    """Land what a dataset's files offer on `day`; each file is one transaction, and a known file costs one look-up.

    A file that cannot be read as this dataset is set aside with a breach; the others go on.

    Raises:
        Terminal: there is no data directory; or persons were erased, and their rows cannot be known without `secrets`.
    """
    paths = offered_files(dataset, data, day)
    breaches: list[Breach] = []
    taken: list[int] = []
    new_rows = 0
    for path in paths:
        name = path.relative_to(data).as_posix()
        try:
            with engine.begin() as connection:
                file_id, added = _land(connection, dataset, path, name, day, run_id, secrets)
        except FileBreachError as error:
            breaches.append(error.breach)
            log.warning("%s: set aside: %s", dataset.name, error.breach.code)
        else:
            taken.append(file_id)
            new_rows += added
    if not paths and "{day}" not in dataset.dataset.files:
        breaches.append(
            Breach("no_file", f"no file matches {dataset.dataset.files}", "put the export into the data directory")
        )
    elif paths and not taken:
        breaches.append(
            Breach("empty_extract", "none of the batch's files could be taken", "correct the files named beside this")
        )
    with engine.begin() as connection:
        _set_batch(connection, dataset.name, day, taken, run_id)
        record_breaches(connection, day, dataset.name, breaches, run_id, codes=FILE_CODES)
        rows = connection.scalar(
            text("select count(*) from landed.batch_row where day = :day and dataset = :dataset"),
            {"day": day, "dataset": dataset.name},
        )
    return ExtractResult(len(taken), int(rows or 0), new_rows, tuple(breaches))


def _land(
    connection: Connection,
    dataset: DatasetOfSource,
    path: Path,
    name: str,
    day: date,
    run_id: str,
    secrets: Secrets | None,
) -> tuple[int, int]:
    hashed, size = digest(path)
    # Two runs that land the same dataset at once wait for each other; others do not.
    transaction_lock(connection, f"land {dataset.name}")
    known = connection.scalar(
        text("select file_id from landed.file where dataset = :dataset and name = :name and digest = :digest"),
        {"dataset": dataset.name, "name": name, "digest": hashed},
    )
    if known is not None:
        return int(known), 0
    rows: Iterable[OfferedRow] = read_rows(path, name, dataset.name, dataset.dataset)
    # Read below the lock: an erasure takes it too, and none can fall between this and the rows.
    if (tombstones := read_tombstones(connection, secrets)) is not None:
        rows = _emptied(rows, dataset, tombstones)
    connection.execute(
        text(
            "create temporary table offered"
            " (number integer, row_hash bytea, cells jsonb, problems jsonb) on commit drop"
        )
    )
    count = copy_rows(
        connection,
        "offered",
        ("number", "row_hash", "cells", "problems"),
        (
            (
                row.number,
                row.row_hash,
                json.dumps(row.cells, ensure_ascii=False),
                json.dumps(row.problems) if row.problems else None,
            )
            for row in rows
        ),
    )
    file_id = connection.scalar(
        text(
            "insert into landed.file (dataset, name, digest, size_bytes, row_count, day, run_id)"
            " values (:dataset, :name, :digest, :size, :count, :day, :run) returning file_id"
        ),
        {
            "dataset": dataset.name,
            "name": name,
            "digest": hashed,
            "size": size,
            "count": count,
            "day": day,
            "run": run_id,
        },
    )
    parameters = {"dataset": dataset.name, "file": file_id, "day": day, "run": run_id}
    numbered = (
        "select number, row_hash, cells, problems,"
        " row_number() over (partition by row_hash order by number) - 1 as copy from offered"
    )
    added = connection.execute(
        text(
            "insert into landed.row (dataset, row_hash, copy, cells, problems, file_id, row_number, day, run_id)"
            " select :dataset, row_hash, copy, cells, problems, :file, number, :day, :run"
            f" from ({numbered}) n order by number on conflict (dataset, row_hash, copy) do nothing"
        ),
        parameters,
    ).rowcount
    connection.execute(
        text(
            "insert into landed.file_row (file_id, row_number, row_id)"
            f" select :file, n.number, r.row_id from ({numbered}) n"
            " join landed.row r on r.dataset = :dataset and r.row_hash = n.row_hash and r.copy = n.copy"
        ),
        parameters,
    )
    log.info("%s: %s: %d rows, %d new", dataset.name, name, count, added)
    return int(file_id or 0), added


def _emptied(rows: Iterable[OfferedRow], dataset: DatasetOfSource, tombstones: Tombstones) -> Iterator[OfferedRow]:
    """The rows, those of erased persons without their cells and with a hash that cannot be guessed back."""
    source, field = dataset.person
    column = None if dataset.dataset.role == "reference" else dataset.dataset.columns.get(field)
    for row in rows:
        key = source_key(source, row.cells.get(column, "").strip()) if column else None
        blinded = tombstones.blind(key, row.row_hash)
        yield row if blinded is None else replace(row, row_hash=blinded, cells={}, problems=("erased",))


def _set_batch(connection: Connection, dataset: str, day: date, file_ids: list[int], run_id: str) -> None:
    transaction_lock(connection, f"batch {dataset} {day}")
    parameters = {"day": day, "dataset": dataset, "files": file_ids, "run": run_id}
    connection.execute(
        text("delete from landed.batch_file where day = :day and dataset = :dataset and file_id <> all(:files)"),
        parameters,
    )
    connection.execute(
        text(
            "insert into landed.batch_file (day, dataset, file_id, run_id)"
            " select :day, :dataset, f, :run from unnest(cast(:files as bigint[])) f on conflict do nothing"
        ),
        parameters,
    )

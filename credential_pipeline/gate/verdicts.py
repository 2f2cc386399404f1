"""Verdicts on their way into the tables: staged beside the batch, then settled with a few statements.

Belongs here: every statement that writes `accepted` and `quarantine.reason`. Does not belong here: judging.
All of it happens in the one transaction of gate.py, over the temporary tables `gate_batch` (rows.py),
`gate_passed` and `gate_found`, which end with it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from datetime import date

import orjson
from sqlalchemy import Connection, text

from credential_pipeline.credential.identifiers import source_key
from credential_pipeline.gate.fingerprint import gate_version
from credential_pipeline.gate.judge import Passed, Reason
from credential_pipeline.gate.rows import Cells
from credential_pipeline.institution.checks import Unique
from credential_pipeline.institution.sources import DatasetOfSource
from credential_pipeline.store.postgres import copy_rows


def open_staging(connection: Connection) -> None:
    """Make the temporary tables of a batch's verdicts."""
    connection.execute(
        text(
            "create temporary table gate_passed (row_id bigint primary key, source_key text, fields jsonb,"
            " fields_hash bytea, lookup_rows bigint[]) on commit drop"
        )
    )
    connection.execute(
        text(
            "create temporary table gate_found (row_id bigint, code text, field text, value text, remedy text,"
            " primary key (row_id, code, field)) on commit drop"
        )
    )


def stage(connection: Connection, dataset: DatasetOfSource, passed: Iterable[Passed], found: Iterable[Reason]) -> None:
    """Add a chunk's verdicts."""
    source, person = dataset.person
    has_person = dataset.dataset.role != "reference"

    def staged(row: Passed) -> tuple[object, ...]:
        fields = orjson.dumps(row.fields, option=orjson.OPT_SORT_KEYS)
        key = source_key(source, row.fields[person]) if has_person else None
        lookups = "{" + ",".join(map(str, row.lookup_rows)) + "}"
        return row.row_id, key, fields.decode(), hashlib.sha256(fields).digest(), lookups

    copy_rows(
        connection,
        "gate_passed",
        ("row_id", "source_key", "fields", "fields_hash", "lookup_rows"),
        (staged(row) for row in passed),
    )
    _copy_reasons(connection, found)


def set_aside(connection: Connection, found: Iterable[Reason]) -> None:
    """Take rows that were staged as passed out again, for these reasons."""
    _copy_reasons(connection, found)
    _keep_unblamed(connection)


def _copy_reasons(connection: Connection, found: Iterable[Reason]) -> None:
    copy_rows(
        connection,
        "gate_found",
        ("row_id", "code", "field", "value", "remedy"),
        ((r.row_id, r.code, r.field, r.value, r.remedy) for r in found),
    )


def _keep_unblamed(connection: Connection) -> None:
    connection.execute(text("delete from gate_passed p using gate_found f where f.row_id = p.row_id"))


def set_repeated_aside(connection: Connection, remedy: str) -> None:
    """Of staged rows with all fields equal, keep the one that landed first; the others are `duplicate_row`."""
    connection.execute(
        text(
            "insert into gate_found (row_id, code, field, remedy) select row_id, 'duplicate_row', '', :remedy from ("
            " select row_id, row_number() over (partition by fields_hash order by row_id) as nth from gate_passed) p"
            " where nth > 1"
        ),
        {"remedy": remedy},
    )
    _keep_unblamed(connection)


def staged_fields(connection: Connection, fields: Sequence[str]) -> tuple[list[int], dict[str, Cells]]:
    """Row ids and these fields of all rows that still pass, in the order they first landed."""
    names = {f"field_{n}": field for n, field in enumerate(fields)}
    columns = ", ".join(f"fields ->> :{name}" for name in names)
    rows = connection.execute(text(f"select row_id, {columns} from gate_passed order by row_id"), names).all()
    row_ids, *cells = zip(*rows, strict=True) if rows else ((), *((),) * len(fields))
    return list(row_ids), {field: list(column) for field, column in zip(fields, cells, strict=True)}


def rejected(connection: Connection) -> tuple[int, dict[str, int]]:
    """How many rows are bad, and rows by code, most frequent first. Repeated and erased rows are not bad ones."""
    counts = connection.execute(
        text(
            "select code, count(distinct row_id) from gate_found where code not in ('duplicate_row', 'erased')"
            " group by code order by 2 desc, 1"
        )
    )
    by_code = {str(code): int(count) for code, count in counts}
    total = connection.scalar(
        text("select count(distinct row_id) from gate_found where code not in ('duplicate_row', 'erased')")
    )
    return int(total or 0), by_code


def refuse_all(connection: Connection, remedy: str) -> None:
    """The batch is a breach: rows that were good are set aside with the others."""
    connection.execute(
        text(
            "insert into gate_found (row_id, code, field, remedy)"
            " select row_id, 'batch_refused', '', :remedy from gate_passed"
        ),
        {"remedy": remedy},
    )
    connection.execute(text("delete from gate_passed"))


def settle(connection: Connection, dataset: DatasetOfSource, day: date, run_id: str) -> None:
    """Make `accepted.row` and `quarantine.reason` say of the batch's rows what was staged; touch what changed only."""
    parameters = {
        "dataset": dataset.name,
        "day": day,
        "run": run_id,
        "version": gate_version(dataset),
        **{f"column_{field}": column for field, column in dataset.dataset.columns.items()},
    }
    for statement in SETTLE:
        connection.execute(text(statement), parameters)
    if connection.execute(text(GONE), parameters).rowcount:
        for statement in ("analyze gate_gone", *_corrected(dataset)):
            connection.execute(text(statement), parameters)


SETTLE = (
    "analyze gate_passed",
    "analyze gate_found",
    """
    insert into accepted.row as a
      (row_id, dataset, source_key, fields, fields_hash, lookup_rows, gate_version, day, run_id)
    select row_id, :dataset, source_key, fields, fields_hash, lookup_rows, :version, :day, :run
    from gate_passed order by row_id
    on conflict (row_id) do update set
      source_key = excluded.source_key, fields = excluded.fields, fields_hash = excluded.fields_hash,
      lookup_rows = excluded.lookup_rows, gate_version = excluded.gate_version, day = excluded.day,
      run_id = excluded.run_id, recorded_at = clock_timestamp()
    where (a.fields_hash, a.source_key, a.lookup_rows)
      is distinct from (excluded.fields_hash, excluded.source_key, excluded.lookup_rows)
    """,
    """
    delete from accepted.row a using gate_batch b
    where b.row_id = a.row_id and not exists (select from gate_passed p where p.row_id = a.row_id)
    """,
    """
    insert into quarantine.reason as q
      (row_id, code, field, dataset, value, remedy, gate_version, day, run_id)
    select row_id, code, field, :dataset, value, remedy, :version, :day, :run from gate_found order by row_id
    on conflict (row_id, code, field) do update set
      value = excluded.value, remedy = excluded.remedy, gate_version = excluded.gate_version, day = excluded.day,
      run_id = excluded.run_id, resolved_at = null,
      opened_at = case when q.resolved_at is null then q.opened_at else clock_timestamp() end
    where q.resolved_at is not null
      or (q.value, q.remedy) is distinct from (excluded.value, excluded.remedy)
    """,
    """
    update quarantine.reason q set resolved_at = clock_timestamp() from gate_batch b
    where b.row_id = q.row_id and q.resolved_at is null and not exists (
      select from gate_found f where (f.row_id, f.code, f.field) = (q.row_id, q.code, q.field))
    """,
)

# A bad row that the batch no longer offers, because a corrected file came instead, waits for nobody once what
# replaced it is accepted. Cells are compared as offered: a key that the gate rewrites (a date) finds nothing.
# Kept in a table: as part of one statement the planner takes them for a handful and loops over the batch.
GONE = """
create temporary table gate_gone on commit drop as
select q.row_id, array_agg(q.field) as fields, bool_or(q.code = 'ragged_row') as ragged
from quarantine.reason q
where q.dataset = :dataset and q.resolved_at is null
  and not exists (select from gate_batch b where b.row_id = q.row_id)
group by q.row_id
"""

RESOLVE = "update quarantine.reason q set resolved_at = clock_timestamp() where q.resolved_at is null and q.row_id in"

SAME_PLACE = """
(select g.row_id from gate_gone g join landed.row old using (row_id)
 join landed.file_row was using (row_id) join landed.file was_in on was_in.file_id = was.file_id
 join landed.file is_in on is_in.dataset = :dataset and is_in.name = was_in.name
 join landed.batch_file b on b.file_id = is_in.file_id and b.day = :day and b.dataset = :dataset
 join landed.file_row place on place.file_id = is_in.file_id and place.row_number = was.row_number
 join gate_passed p on p.row_id = place.row_id join landed.row new on new.row_id = place.row_id
 where g.ragged or ({unchanged}))
"""


SAME_KEY = """
(select g.row_id from gate_gone g join landed.row old using (row_id)
 where ({offered}) in (select {accepted} from gate_passed p))
"""


def _corrected(dataset: DatasetOfSource) -> Iterable[str]:
    mapped = dataset.dataset.columns
    # At the same place of a file of the same name, and nothing but what was wrong has changed: an export that is
    # written anew every day under one name has other people in its rows.
    unchanged = " and ".join(
        f"('{f}' = any(g.fields) or {_cell('old', f)} is not distinct from {_cell('new', f)})" for f in mapped
    )
    yield RESOLVE + SAME_PLACE.format(unchanged=unchanged)
    for check in dataset.dataset.gate.checks:
        if isinstance(check, Unique) and set(check.fields) <= set(mapped):
            offered = ", ".join(_cell("old", field) for field in check.fields)
            accepted = ", ".join(f"p.fields ->> '{field}'" for field in check.fields)
            yield RESOLVE + SAME_KEY.format(offered=offered, accepted=accepted)


def _cell(row: str, field: str) -> str:
    return f"btrim({row}.cells ->> :column_{field}, E' \\t\\r\\n')"

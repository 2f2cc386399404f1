"""One dataset's batch through its gate: every landed row ends accepted or in quarantine, in one transaction.

Belongs here: the order of the steps, the rejection limit, and what the caller is told. Does not belong here: how
each step works (rows, derive, expectations, judge, verdicts) and Dagster (assets.py).

Only the day's batch is compared: a row that contradicts one accepted on another day is accepted, and is one
more piece of evidence for the same award, which is issued once.
A landed row has one verdict, the last. Two days that offer the same row share it.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import date

import pandas as pd
from sqlalchemy import Connection, Engine, text

from credential_pipeline.extract.breaches import Breach, record_breaches
from credential_pipeline.gate.expectations import Suite, unique_demands
from credential_pipeline.gate.fingerprint import fingerprint
from credential_pipeline.gate.judge import WHOLE_ROW, Judge, Reason, visible
from credential_pipeline.gate.rows import ROWS_PER_CHUNK, open_batch, read_batch
from credential_pipeline.gate.verdicts import (
    open_staging,
    refuse_all,
    rejected,
    set_aside,
    set_repeated_aside,
    settle,
    stage,
    staged_fields,
)
from credential_pipeline.institution import Institution
from credential_pipeline.institution.sources import DatasetOfSource
from credential_pipeline.store.postgres import transaction_lock

log = logging.getLogger(__name__)

GATE_CODES = ("rejection_rate",)
"""Codes of the breaches that this stage opens and resolves."""


@dataclass(frozen=True)
class GateResult:
    """landed = accepted + quarantined. `by_code` counts rows by reason: one with several is in several.

    `breach` tells why the whole batch was refused. `unchanged`: the batch had been judged before, from the same
    files, rules and references, and nothing was done.
    """

    landed: int
    accepted: int
    quarantined: int
    by_code: dict[str, int]
    breach: str | None
    unchanged: bool


def gate_dataset(
    engine: Engine,
    institution: Institution,  # noqa: ARG001 - every stage function is called alike
    dataset: DatasetOfSource,
    day: date,
    run_id: str,
    *,
    rows_per_chunk: int = ROWS_PER_CHUNK,
) -> GateResult:
    """Judge the day's batch of a dataset, after those it needs.

    Two calls for one dataset wait for each other; the second finds nothing left to do.

    Raises:
        Terminal: Great Expectations cannot evaluate a check.
    """
    with engine.begin() as connection:
        transaction_lock(connection, f"gate {dataset.name}")
        inputs = fingerprint(connection, dataset, day)
        landed = open_batch(connection, dataset.name, day)
        unchanged = _is_judged(connection, dataset, day, inputs)
        if not unchanged:
            open_staging(connection)
            breach = _judge_all(connection, dataset, day, landed, rows_per_chunk)
            settle(connection, dataset, day, run_id)
            record_breaches(connection, day, dataset.name, [breach] if breach else [], run_id, codes=GATE_CODES)
            _record(connection, dataset, day, inputs, landed, run_id)
        result = _result(connection, dataset, day, landed, unchanged)
    log.info(
        "%s: %d landed, %d accepted, %d quarantined%s",
        dataset.name, result.landed, result.accepted, result.quarantined, " (unchanged)" if unchanged else "",
    )  # fmt: skip
    return result


def _judge_all(
    connection: Connection, dataset: DatasetOfSource, day: date, landed: int, rows_per_chunk: int
) -> Breach | None:
    if not landed:
        return None
    judge = Judge(connection, dataset, day)
    done = 0
    for chunk in read_batch(connection, dataset, rows_per_chunk):
        stage(connection, dataset, *judge.judge(chunk))
        done += len(chunk.row_ids)
        log.info("%s: %d of %d rows judged", dataset.name, done, landed)
    _compare(connection, dataset)
    bad, by_code = rejected(connection)
    if bad / landed <= dataset.dataset.gate.reject_limit:
        return None
    breach = _refusal(dataset, bad, landed, by_code)
    refuse_all(connection, f"{breach.detail}; {breach.remedy}")
    return breach


def _compare(connection: Connection, dataset: DatasetOfSource) -> None:
    """Uniqueness among the rows that passed everything else; equal rows are repetitions, unequal ones contradict."""
    demands = unique_demands(dataset)
    if not demands:
        return
    set_repeated_aside(connection, WHOLE_ROW["duplicate_row"])
    fields = tuple(dict.fromkeys(field for demand in demands for field in demand.field.split(",")))
    row_ids, cells = staged_fields(connection, fields)
    frame = pd.DataFrame({field: pd.Series(column, dtype=object) for field, column in cells.items()})
    found = {}
    for finding in Suite(dataset.name, demands).findings(frame):
        row_id, demand = row_ids[finding.position], finding.demand
        value = ", ".join(cells[field][finding.position] or "" for field in demand.field.split(","))
        found[row_id, demand.code, demand.field] = Reason(
            row_id, demand.code, demand.field, visible(value), demand.remedy
        )
    set_aside(connection, found.values())


def _refusal(dataset: DatasetOfSource, bad: int, landed: int, by_code: dict[str, int]) -> Breach:
    most = ", ".join(f"{code} {count:,}" for code, count in list(by_code.items())[:3])
    limit = dataset.dataset.gate.reject_limit
    return Breach(
        "rejection_rate",
        f"{bad:,} of {landed:,} rows were bad ({most}), more than the {limit:.0%} of reject_limit",
        f"correct the file and offer it again, or raise reject_limit of {dataset.name}",
    )


def _is_judged(connection: Connection, dataset: DatasetOfSource, day: date, inputs: bytes) -> bool:
    """Whether these inputs were judged and the verdicts still stand: another day may have judged a shared row."""
    return (
        connection.scalar(
            text(
                "select g.landed = (select count(*) from gate_batch)"
                " and g.accepted = (select count(*) from gate_batch join accepted.row using (row_id))"
                " and g.quarantined = (select count(*) from gate_batch b where"
                "  not exists (select from accepted.row a where a.row_id = b.row_id)"
                "  and exists (select from quarantine.reason q where q.row_id = b.row_id))"
                " from accepted.gated_batch g where day = :day and dataset = :dataset and fingerprint = :inputs"
            ),
            {"day": day, "dataset": dataset.name, "inputs": inputs},
        )
        is True
    )


def _record(
    connection: Connection, dataset: DatasetOfSource, day: date, inputs: bytes, landed: int, run_id: str
) -> None:
    connection.execute(
        text(
            "insert into accepted.gated_batch (day, dataset, fingerprint, landed, accepted, quarantined, run_id)"
            " select :day, :dataset, :inputs, :landed, accepted, :landed - accepted, :run"
            " from (select count(*) as accepted from gate_passed) p"
            " on conflict (day, dataset) do update set fingerprint = excluded.fingerprint, landed = excluded.landed,"
            " accepted = excluded.accepted, quarantined = excluded.quarantined, run_id = excluded.run_id,"
            " recorded_at = clock_timestamp()"
        ),
        {"day": day, "dataset": dataset.name, "inputs": inputs, "landed": landed, "run": run_id},
    )


def _result(connection: Connection, dataset: DatasetOfSource, day: date, landed: int, unchanged: bool) -> GateResult:
    scope = {"day": day, "dataset": dataset.name}
    accepted = connection.scalar(text("select count(*) from gate_batch join accepted.row using (row_id)"))
    by_code = connection.execute(
        text(
            "select code, count(distinct row_id) from gate_batch join quarantine.reason using (row_id)"
            " where resolved_at is null group by code order by 2 desc, 1"
        )
    )
    breach = connection.scalar(
        text(
            "select detail || '; ' || remedy from quarantine.breach where day = :day and dataset = :dataset"
            " and code = 'rejection_rate' and resolved_at is null"
        ),
        scope,
    )
    return GateResult(
        landed=landed,
        accepted=int(accepted or 0),
        quarantined=landed - int(accepted or 0),
        by_code={str(code): int(count) for code, count in by_code},
        breach=breach,
        unchanged=unchanged,
    )

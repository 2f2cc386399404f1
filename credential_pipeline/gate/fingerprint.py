"""What a verdict depends on, as one hash: the same fingerprint means that judging again would change nothing.

Belongs here: naming every input of the gate. Does not belong here: what follows from a match (gate.py).
"""

from __future__ import annotations

import hashlib
import json
from datetime import date

from sqlalchemy import Connection, text

from credential_pipeline.gate.rows import batch_files
from credential_pipeline.institution.checks import Date
from credential_pipeline.institution.sources import DatasetOfSource

GATE_CODE = 1
"""Raise it with every change of this room that may change a verdict or a field: batches are then judged anew."""


def gate_version(dataset: DatasetOfSource) -> bytes:
    """SHA-256 (32 bytes) of the rules: this code and everything institution.yaml says of the dataset."""
    return _digest([GATE_CODE, dataset.source.id, dataset.dataset.model_dump_json()])


def fingerprint(connection: Connection, dataset: DatasetOfSource, day: date) -> bytes:
    """SHA-256 (32 bytes) of the rules, the batch's files, the references' own inputs, the day if a date check asks."""
    files = connection.execute(
        text(
            "select encode(f.digest, 'hex') from landed.batch_file b join landed.file f using (file_id)"
            " where b.day = :day and b.dataset = :dataset order by 1"
        ),
        {"day": day, "dataset": dataset.name},
    ).scalars()
    future = any(isinstance(check, Date) and not check.future for check in dataset.dataset.gate.checks)
    return _digest(
        [
            gate_version(dataset).hex(),
            list(files),
            {needed: _judged(connection, needed, day) for needed in dataset.needs},
            day.isoformat() if future else None,
        ]
    )


def _judged(connection: Connection, dataset: str, day: date) -> list[str]:
    # The scope of rows.pin_scope: the day's batch, or all days' where the dataset has none that day.
    scope = " and day = :day" if batch_files(connection, dataset, day) else ""
    judged = connection.execute(
        text(
            "select day || ' ' || encode(fingerprint, 'hex') from accepted.gated_batch"
            f" where dataset = :dataset{scope} order by day"
        ),
        {"dataset": dataset, "day": day},
    )
    return list(judged.scalars())


def _digest(value: object) -> bytes:
    return hashlib.sha256(json.dumps(value, separators=(",", ":"), sort_keys=True).encode()).digest()

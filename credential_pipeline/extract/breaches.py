"""Batch-level breaches: files and batches that were set aside whole, recorded with what to do about them.

Belongs here: writing quarantine.breach, for this stage and for the gate's rejection limit. Does not belong
here: deciding that something is a breach.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from sqlalchemy import Connection, bindparam, text


@dataclass(frozen=True)
class Breach:
    """Why a file, or a day's whole batch of a dataset (`file_name` None), was set aside."""

    code: str
    detail: str
    remedy: str
    file_name: str | None = None
    file_digest: bytes | None = None

    def __str__(self) -> str:
        return f"{self.file_name or 'batch'}: {self.detail} ({self.code}); {self.remedy}"


def record_breaches(
    connection: Connection, day: date, dataset: str, breaches: Iterable[Breach], run_id: str, *, codes: tuple[str, ...]
) -> None:
    """Make the open breaches of a day's batch be exactly these, among those with one of `codes`.

    A breach that is open already keeps its row; one that no longer holds is resolved, not deleted.
    """
    found = tuple(breaches)
    opened = connection.execute(
        text(
            "select breach_id, code, file_name, file_digest from quarantine.breach"
            " where day = :day and dataset = :dataset and resolved_at is null and code in :codes"
        ).bindparams(bindparam("codes", expanding=True)),
        {"day": day, "dataset": dataset, "codes": codes},
    ).all()
    known = {(r.code, r.file_name, r.file_digest): r.breach_id for r in opened}
    still = {known.get((b.code, b.file_name, b.file_digest)) for b in found}
    gone = [breach_id for breach_id in known.values() if breach_id not in still]
    if gone:
        connection.execute(
            text("update quarantine.breach set resolved_at = clock_timestamp() where breach_id = any(:ids)"),
            {"ids": gone},
        )
    for b in found:
        if (b.code, b.file_name, b.file_digest) not in known:
            connection.execute(
                text(
                    "insert into quarantine.breach (day, dataset, file_name, file_digest, code, detail, remedy, run_id)"
                    " values (:day, :dataset, :name, :digest, :code, :detail, :remedy, :run)"
                ),
                {
                    "day": day, "dataset": dataset, "name": b.file_name, "digest": b.file_digest,
                    "code": b.code, "detail": b.detail, "remedy": b.remedy, "run": run_id,
                },
            )  # fmt: skip

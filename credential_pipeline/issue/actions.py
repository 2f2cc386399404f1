"""The audit log of what is not about one credential: one row for each thing somebody did, never changed after.

Belongs here: writing a row of `ledger.action`. Does not belong here: events of a credential (states.py) and reading
(report/). No personal data: ids, counts, hashes; `actor` and `reason` are what staff wrote.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, text


def record_action(
    connection: Connection,
    kind: str,
    subject: str,
    actor: str,
    run_id: str,
    *,
    reason: str | None = None,
    detail: Mapping[str, Any] | None = None,
) -> None:
    """Write what somebody did, in the transaction that does it. `subject` is such as `plan:UUID` or `hold:UUID`."""
    connection.execute(
        text(
            "insert into ledger.action (kind, subject, actor, reason, detail, run_id)"
            " values (:kind, :subject, :actor, :reason, cast(:detail as jsonb), :run)"
        ),
        {
            "kind": kind,
            "subject": subject,
            "actor": actor,
            "reason": reason,
            "detail": json.dumps(detail, default=str) if detail is not None else None,
            "run": run_id,
        },
    )

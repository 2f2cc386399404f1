"""What of renewal windows waits for a person: holds by their reason, and plans that nobody has approved yet.

Does not belong here: why a renewal is held (plan.py), and deciding it (issue/holds.py, issue/approve.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import Connection, text

from credential_pipeline.issue.plans import SHARD_OF
from credential_pipeline.renew.due import Window


def still_blocked(connection: Connection, of_all: Sequence[Window]) -> dict[str, int]:
    """Why renewals of these windows wait for a person, by whichever plan -> how many do."""
    rows = connection.execute(
        text(
            "select reason, count(*) from ledger.hold h join ledger.award w using (award_id),"
            " jsonb_array_elements_text(h.reasons) reason"
            " where h.state = 'waiting' and h.action = 'renew' and h.cause = any(:causes)"
            f" and {SHARD_OF.format('w.person_id')} = any(:shards) group by 1 order by 1"
        ),
        {"causes": [of.cause for of in of_all], "shards": [of.shard for of in of_all]},
    )
    return {reason: count for reason, count in rows}


def still_waiting(connection: Connection, plan_ids: Sequence[UUID]) -> set[UUID]:
    """Those of these plans that nobody has approved yet."""
    return set(
        connection.scalars(
            text("select plan_id from ledger.plan where plan_id = any(:plans) and state = 'planned'"),
            {"plans": list(plan_ids)},
        )
    )

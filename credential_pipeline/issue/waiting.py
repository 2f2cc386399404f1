"""Four-eyes plans that are not finished, and how each stands: what a registrar has to look at today.

Belongs here: the list, for the command line, Dagster's metadata and the sensor. Does not belong here: whether an
approval holds (approve.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Engine, text

from credential_pipeline.institution import Institution
from credential_pipeline.issue.approve import why_unapproved


@dataclass(frozen=True)
class WaitingPlan:
    """A four-eyes plan that is not finished.

    Attributes:
        plan_id: the plan.
        kind: issue, renew, revoke, ...
        scope: what it is about, without personal data.
        created_by: who made it, and so cannot approve it.
        lines: how many of its lines are still to be done.
        waits_for: why it may not be applied now; None when it may.
        approved_at: the newest signature; None without one.
    """

    plan_id: UUID
    kind: str
    scope: str
    created_by: str
    lines: int
    waits_for: str | None
    approved_at: datetime | None


def waiting_plans(engine: Engine, institution: Institution, now: datetime) -> list[WaitingPlan]:
    """All of them, oldest first."""
    with engine.connect() as connection:
        rows = connection.execute(
            text(
                "select p.plan_id, p.kind, p.scope, p.created_by,"
                " (select count(*) from ledger.plan_line l"
                "   where l.plan_id = p.plan_id and l.state = 'planned') as lines,"
                " (select max(a.approved_at) from ledger.approval a"
                "   where a.plan_id = p.plan_id and a.kind = 'signature') as approved_at"
                " from ledger.plan p where p.approval = 'four_eyes' and p.state in ('planned', 'approved')"
                " order by p.recorded_at, p.plan_id"
            )
        ).all()
        return [
            WaitingPlan(
                row.plan_id,
                row.kind,
                row.scope,
                row.created_by,
                row.lines,
                why_unapproved(connection, institution, row.plan_id, now),
                row.approved_at,
            )
            for row in rows
        ]

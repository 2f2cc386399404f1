"""A plan, and the batch of a day: what was offered, judged, planned, approved and done, by number.

Belongs here: reading these chains from what the stages counted: nothing of it counts a million lines again. Does not
belong here: what a name means and how a chain is told (explain.py).
"""

from __future__ import annotations

from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from credential_pipeline.errors import Terminal
from credential_pipeline.report.explain_reading import every, one, some, without_nothing

PLAN = """
select plan_id, encode(hash, 'hex') as hash, kind, scope, as_of, approval, state, counts, created_by, reason,
       encode(catalogue_version, 'hex') as catalogue_version, run_id, recorded_at
from ledger.plan where plan_id = :plan
"""

APPROVALS = """
select kind, approver, encode(plan_hash, 'hex') as plan_hash, approved_at, expires_at
from ledger.approval where plan_id = :plan order by approval_id
"""

ACTIONS = """
select kind, actor, reason, detail, happened_at, run_id from ledger.action
where subject = 'plan:' || cast(:plan as text) order by action_id
"""

BLOCKS = "select purpose, first_position, size from ledger.status_block where plan_id = :plan order by purpose"

LINES = """
select ordinal, action, state, achievement, award_id, credential_id, prior_id, cause, reasons, run_id
from ledger.plan_line where plan_id = :plan order by ordinal
"""

OPEN = """
select ordinal, action, achievement, award_id, reasons from ledger.plan_line
where plan_id = :plan and state = 'planned' order by ordinal
"""


def explain_plan(connection: Connection, plan_id: UUID) -> dict[str, Any]:
    """What a plan is, who let it through, and its first lines."""
    within = {"plan": plan_id}
    return without_nothing(
        {
            "plan": one(connection, PLAN, within),
            "approvals": every(connection, APPROVALS, within),
            "actions": some(connection, ACTIONS, within),
            "status_blocks": every(connection, BLOCKS, within),
            "open_lines": some(connection, OPEN, within),
            "lines": some(connection, LINES, within),
        }
    )


FILES = """
select b.dataset, f.name as file, f.row_count as rows, encode(f.digest, 'hex') as digest, f.day as first_landed_on,
       b.run_id
from landed.batch_file b join landed.file f using (file_id) where b.day = :day order by b.dataset, f.name
"""

GATED = """
select dataset, landed, accepted, quarantined, encode(fingerprint, 'hex') as fingerprint, recorded_at, run_id
from accepted.gated_batch where day = :day order by dataset
"""

BREACHES = """
select dataset, file_name as file, code, remedy, opened_at, resolved_at, run_id
from quarantine.breach where day = :day order by breach_id
"""

PLANS = """
select plan_id, kind, approval, as_of, state, counts, created_by, run_id, recorded_at
from ledger.plan where scope = :scope order by recorded_at, plan_id
"""


def explain_batch(connection: Connection, day: str) -> dict[str, Any]:
    """What arrived on a day, what the gate made of it, and the plans that were made of that.

    Raises:
        Terminal: nothing arrived, or the day is none.
    """
    try:
        within = {"day": date.fromisoformat(day), "scope": f"day:{day}"}
    except ValueError as error:
        raise Terminal(f"{day!r} is not a day; write it as YYYY-MM-DD") from error
    files = some(connection, FILES, within)
    breaches = some(connection, BREACHES, within)
    if not files and not breaches:
        raise Terminal(f"nothing arrived on {day}; `explain` knows days on which a source was extracted")
    return without_nothing(
        {
            "batch": {"day": day},
            "files": files,
            "gate": every(connection, GATED, within),
            "breaches": breaches,
            "plans": some(connection, PLANS, within),
        }
    )

"""A plan as people read it before they let it through: counts, reasons, and its lines beside what is issued.

Belongs here: reading a plan, and its text. Does not belong here: deciding anything about it. Names and identifiers of
persons are shown only where somebody asks for `facts`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from credential_pipeline.errors import Terminal
from credential_pipeline.institution import Institution
from credential_pipeline.institution.describe import credential_url
from credential_pipeline.issue.approve import why_unapproved
from credential_pipeline.issue.forecast import forecast

SHOWN = 20
PERSONAL = ("name", "identifiers")
MARKS = {
    "create": "+", "renew": "~", "replace": "~", "revoke": "-", "suspend": "-", "reinstate": "+", "hold": "?",
    "skip": ".",
}  # fmt: skip

LINES = """
select l.ordinal, l.action, l.state, l.achievement, l.reasons, l.facts, l.credential_id, c.public_id,
       p.public_id as prior, s.state as prior_state, q.facts as prior_facts
from ledger.plan_line l
left join ledger.credential c on c.credential_id = l.credential_id
left join ledger.credential p on p.credential_id = l.prior_id
left join ledger.credential_state s on s.credential_id = l.prior_id
left join ledger.plan_line q on q.plan_id = p.plan_id and q.ordinal = p.ordinal
where l.plan_id = :plan and l.action <> 'skip'
order by l.action = 'hold', l.ordinal limit :limit
"""


def find_plan(connection: Connection, name: str) -> UUID:
    """The plan with this id, or whose id alone begins with it (8 characters at least).

    Raises:
        Terminal: there is none, or more than one.
    """
    wanted = name.strip().lower()
    found = []
    if len(wanted) >= 8:
        found = list(
            connection.scalars(
                text("select plan_id from ledger.plan where starts_with(plan_id::text, :name) limit 2"),
                {"name": wanted},
            )
        )
    if len(found) != 1:
        what = f"more than one plan begins with {name}" if found else f"no plan {name} in this ledger"
        raise Terminal(f"{what}; `credential-pipeline plan list` shows them")
    return UUID(str(found[0]))


def describe_plan(
    connection: Connection,
    institution: Institution,
    plan_id: UUID,
    now: datetime,
    *,
    lines: int = SHOWN,
    facts: bool = False,
) -> dict[str, Any]:
    """Everything a person needs to decide about a plan; JSON as it stands."""
    plan = connection.execute(
        text(
            "select plan_id, hash, kind, scope, as_of, approval, state, created_by, reason, counts, recorded_at"
            " from ledger.plan where plan_id = :plan"
        ),
        {"plan": plan_id},
    ).one()
    waits = plan.approval == "four_eyes" and plan.state in ("planned", "approved")
    rows = connection.execute(text(LINES), {"plan": plan_id, "limit": lines}).all()
    return {
        "plan": str(plan.plan_id),
        "hash": plan.hash.hex(),
        "kind": plan.kind,
        "scope": plan.scope,
        "as_of": plan.as_of.isoformat(),
        "approval": plan.approval,
        "state": plan.state,
        "waits_for": why_unapproved(connection, institution, plan_id, now) if waits else None,
        "created_by": plan.created_by,
        "reason": plan.reason,
        "counts": plan.counts,
        "achievements": _achievements(connection, plan_id),
        "reasons": _reasons(connection, plan_id),
        "approvals": _approvals(connection, plan_id),
        "forecast": forecast(plan.counts).as_dict(),
        "lines": [_line(institution, row, facts) for row in rows],
    }


def _achievements(connection: Connection, plan_id: UUID) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    rows = connection.execute(
        text(
            "select achievement, action, count(*) from ledger.plan_line where plan_id = :plan and achievement <> ''"
            " group by 1, 2 order by 1, 2"
        ),
        {"plan": plan_id},
    )
    for achievement, action, number in rows:
        found.setdefault(achievement, {})[action] = number
    return found


def _reasons(connection: Connection, plan_id: UUID) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    rows = connection.execute(
        text(
            "select action, reason, count(*) from ledger.plan_line, jsonb_array_elements_text(reasons) reason"
            " where plan_id = :plan and action in ('hold', 'skip') group by 1, 2 order by 1, 3 desc, 2"
        ),
        {"plan": plan_id},
    )
    for action, reason, number in rows:
        found.setdefault(action, {})[reason] = number
    return found


def _approvals(connection: Connection, plan_id: UUID) -> list[dict[str, Any]]:
    rows = connection.execute(
        text(
            "select kind, approver, approved_at, expires_at from ledger.approval where plan_id = :plan"
            " order by approval_id"
        ),
        {"plan": plan_id},
    )
    return [
        {
            "kind": row.kind,
            "by": row.approver,
            "at": row.approved_at.isoformat(),
            "expires_at": row.expires_at.isoformat() if row.expires_at else None,
        }
        for row in rows
    ]


def _line(institution: Institution, row: Row[Any], with_facts: bool) -> dict[str, Any]:
    after = row.facts or {}
    told = {
        "ordinal": row.ordinal,
        "action": row.action,
        "state": row.state,
        "achievement": row.achievement,
        "reasons": row.reasons,
        "occurrence": after.get("occurrence"),
        "awarded_on": after.get("awarded_on"),
        "valid_until": after.get("valid_until"),
        "results": {result["id"]: result["value"] for result in after.get("results", ())},
        "credential_id": str(row.credential_id) if row.credential_id else None,
        "url": credential_url(institution, row.public_id) if row.public_id else None,
        "prior": credential_url(institution, row.prior) if row.prior else None,
        "prior_state": row.prior_state,
        "changes": _changes(row.prior_facts, after, with_facts) if row.prior and after else {},
    }
    if with_facts:
        told |= {member: after.get(member) for member in PERSONAL}
    return told


def _changes(before: Mapping[str, Any] | None, after: Mapping[str, Any], with_facts: bool) -> dict[str, Any]:
    """member -> [as issued, as planned], for the members that differ; null for what is personal and not asked for."""
    was = before or {}
    differing = sorted(member for member in {*was, *after} if was.get(member) != after.get(member))
    hidden = () if with_facts else PERSONAL
    return {member: None if member in hidden else [was.get(member), after.get(member)] for member in differing}


def as_text(plan: Mapping[str, Any]) -> str:
    """A described plan for a person to read."""
    standing = f"{plan['state']}; {plan['waits_for']}" if plan["waits_for"] else plan["state"]
    told = [
        f"plan {plan['plan']}  {plan['kind']}  {plan['scope']}  dated {plan['as_of']}",
        f"  hash   {plan['hash']}",
        f"  state  {standing}  (approval: {plan['approval']}; made by {plan['created_by']})",
    ]
    if plan["reason"]:
        told.append(f"  reason {plan['reason']}")
    told += _counts_as_text(plan)
    for action, reasons in plan["reasons"].items():
        told.append(f"  {action}: " + ", ".join(f"{reason} {number:,}" for reason, number in reasons.items()))
    for approval in plan["approvals"]:
        until = f", until {approval['expires_at']}" if approval["expires_at"] else ""
        told.append(f"  {approval['kind']} by {approval['by']} at {approval['at']}{until}")
    if plan["forecast"]["objects"]:
        told.append(_forecast_as_text(plan["forecast"]))
    told += [line for shown in plan["lines"] for line in _line_as_text(shown)]
    hidden = sum(number for action, number in plan["counts"].items() if action != "skip") - len(plan["lines"])
    if hidden > 0:
        told.append(f"  ... and {hidden:,} more (--lines N)")
    return "\n".join(told)


def _counts_as_text(plan: Mapping[str, Any]) -> list[str]:
    if not plan["achievements"]:
        return []
    actions = [action for action in MARKS if any(action in found for found in plan["achievements"].values())]
    width = max(len("achievement"), *(len(achievement) for achievement in plan["achievements"]))
    rows = [f"  {'achievement':<{width}}" + "".join(f"{action:>11}" for action in actions)]
    for achievement, found in plan["achievements"].items():
        cells = "".join(f"{found[action]:>11,}" if action in found else f"{'-':>11}" for action in actions)
        rows.append(f"  {achievement:<{width}}{cells}")
    return rows


def _forecast_as_text(expected: Mapping[str, Any]) -> str:
    return (
        f"  expect about {expected['seconds']:,.0f} s, {expected['objects']:,} objects "
        f"({expected['object_bytes'] / 1e6:,.1f} MB), {expected['ledger_bytes'] / 1e6:,.1f} MB in the ledger, "
        f"{expected['messages']:,} messages"
    )


def _line_as_text(line: Mapping[str, Any]) -> list[str]:
    about = [line["achievement"], line["occurrence"], line["awarded_on"]]
    about += [f"{result}={value}" for result, value in line["results"].items()]
    if line["action"] == "hold" or line["state"] not in ("planned", "applied"):
        about.append(f"[{', '.join(line['reasons'])}]")
    if line.get("name"):
        about.append(line["name"])
    about += [f"{found['type']}={found['value']}" for found in line.get("identifiers") or ()]
    told = [f"  {MARKS[line['action']]} {line['action']:<9} " + "  ".join(str(word) for word in about if word)]
    if line["prior"]:
        told.append(f"      {line['prior']} ({line['prior_state']})")
    for member, values in line["changes"].items():
        change = "changed (--facts shows it)" if values is None else f"{values[0]} -> {values[1]}"
        told.append(f"      {member}: {change}")
    return told


def list_plans(
    connection: Connection, institution: Institution, now: datetime, *, everything: bool = False, limit: int = 50
) -> list[dict[str, Any]]:
    """Plans that are not finished, or the newest of all; oldest first."""
    rows = connection.execute(
        text(
            "select * from (select plan_id, hash, kind, scope, as_of, approval, state, created_by, counts, recorded_at"
            " from ledger.plan where :everything or state in ('planned', 'approved')"
            " order by recorded_at desc limit :limit) newest order by recorded_at, plan_id"
        ),
        {"everything": everything, "limit": limit},
    ).all()
    found = []
    for row in rows:
        waits = row.approval == "four_eyes" and row.state in ("planned", "approved")
        found.append(
            {
                "plan": str(row.plan_id),
                "hash": row.hash.hex(),
                "kind": row.kind,
                "scope": row.scope,
                "as_of": row.as_of.isoformat(),
                "approval": row.approval,
                "state": row.state,
                "created_by": row.created_by,
                "counts": row.counts,
                "waits_for": why_unapproved(connection, institution, row.plan_id, now) if waits else None,
            }
        )
    return found

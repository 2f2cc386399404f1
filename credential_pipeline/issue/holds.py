"""Holds as people see them: what waits and why; letting go; turning down.

Belongs here: a person's decision about a hold, and what it may not decide. Does not belong here: why an award is held
(lines.py, alarms.py) and planning it afterwards (plan.py looks at every decision).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import Connection, Engine, Row, text

from credential_pipeline.errors import Terminal
from credential_pipeline.institution import Institution
from credential_pipeline.issue.actions import record_action
from credential_pipeline.issue.lines import NOT_FOR_RELEASE
from credential_pipeline.issue.plans import ISSUING_LOCK
from credential_pipeline.issue.reasons import refuse_naming_holders
from credential_pipeline.store.postgres import transaction_lock

Decision = Literal["released", "rejected"]
MANY = 5
"""Ids that an error names; the count says how many there are."""


@dataclass(frozen=True)
class Hold:
    """An award that waits, was released, or was rejected. Ids and codes only: nothing of the person.

    `done`: what it held up has happened, so that no decision is left.
    """

    award_id: UUID
    cause: str
    action: str
    achievement: str
    occurrence: str
    awarded_on: date
    state: str
    reasons: tuple[str, ...]
    released: tuple[str, ...]
    plan_id: UUID
    opened_at: datetime
    decided_by: str | None
    decision_reason: str | None
    done: bool


@dataclass(frozen=True)
class Choice:
    """Which holds are meant. Nothing chosen means all that wait."""

    awards: Sequence[UUID] = ()
    reason: str | None = None
    achievement: str | None = None
    action: str | None = None


FIND = """
select h.award_id, h.cause, h.action, w.achievement, w.occurrence, w.awarded_on, h.state, h.reasons, h.released,
       h.plan_id, h.opened_at, h.decided_by, h.decision_reason,
       case h.action when 'create' then c.credential_id is not null else coalesce(s.state, '') <> 'current' end as done
from ledger.hold h
join ledger.award w using (award_id)
left join ledger.credential c on c.award_id = h.award_id and c.cause = h.cause
left join ledger.credential_state s on s.credential_id = c.credential_id
where (cast(:awards as uuid[]) is null or h.award_id = any(:awards))
  and (cast(:reason as text) is null or h.reasons ? :reason)
  and (cast(:achievement as text) is null or w.achievement = :achievement)
  and (cast(:action as text) is null or h.action = :action)
  and h.state = any(:states)
order by h.opened_at, h.award_id, h.cause, h.action
"""


def find_holds(engine: Engine, choice: Choice, states: Sequence[str] = ("waiting",)) -> list[Hold]:
    """The chosen holds in these states, oldest first."""
    with engine.connect() as connection:
        return [_hold(row) for row in _find(connection, choice, states)]


def decide_holds(
    engine: Engine,
    institution: Institution,
    choice: Choice,
    decision: Decision,
    *,
    actor: str,
    reason: str,
    now: datetime,
    run_id: str,
) -> list[Hold]:
    """Release the chosen holds (the next plan makes what they held up), or reject them for good.

    All of them or none. A decision can be taken back by the other one as long as nothing was issued; what is decided
    that way already is left alone, so that a repeated command changes nothing.

    Raises:
        Terminal: none is meant by the choice, one cannot be released by a person, or the actor may not decide.
    """
    _refuse_stranger(institution, actor)
    if not reason.strip():
        raise Terminal("a decision needs a reason: it stays with the hold and in the audit log")
    if not (choice.awards or choice.reason):
        raise Terminal("say which holds: their ids (`credential-pipeline hold list`), or --held-for REASON")
    with engine.begin() as connection:
        transaction_lock(connection, ISSUING_LOCK)
        found = [_hold(row) for row in _find(connection, choice, ("waiting", "released", "rejected"))]
        _refuse_unknown(choice, found)
        deciding = [one for one in found if _is_open(one, decision, named=bool(choice.awards))]
        if decision == "released":
            _refuse_not_for_release(deciding)
        refuse_naming_holders(connection, [one.award_id for one in deciding], reason, actor)
        for one in deciding:
            _decide(connection, one, decision, actor, reason.strip(), now, run_id)
    return [replace(one, state=decision, decided_by=actor, decision_reason=reason.strip()) for one in deciding]


def _find(connection: Connection, choice: Choice, states: Sequence[str]) -> Sequence[Row[Any]]:
    return connection.execute(
        text(FIND),
        {
            "awards": list(choice.awards) or None,
            "reason": choice.reason,
            "achievement": choice.achievement,
            "action": choice.action,
            "states": list(states),
        },
    ).all()


def _hold(row: Row[Any]) -> Hold:
    values = row._asdict()
    return Hold(**{**values, "reasons": tuple(row.reasons), "released": tuple(row.released or ())})


def _refuse_stranger(institution: Institution, actor: str) -> None:
    people = {person.id for person in institution.people}
    if not actor.strip():
        raise Terminal("a decision needs an actor: give --actor ID")
    if people and actor not in people:
        raise Terminal(f"{actor} is none of the people of institution.yaml ({', '.join(sorted(people))})")


def _refuse_unknown(choice: Choice, found: Sequence[Hold]) -> None:
    unknown = set(choice.awards) - {one.award_id for one in found}
    if unknown:
        named = ", ".join(sorted(map(str, unknown))[:MANY])
        raise Terminal(
            f"no hold of {named}; `credential-pipeline hold list` shows those that wait. Nothing was decided"
        )


def _is_open(one: Hold, decision: Decision, *, named: bool) -> bool:
    """What waits is open; what somebody decided otherwise is, too, where it is named by its id."""
    return not one.done and (one.state == "waiting" or (named and one.state != decision))


def _refuse_not_for_release(deciding: Sequence[Hold]) -> None:
    for one in deciding:
        for code in one.reasons:
            # An approval is asked for besides: the other reasons may go before it is given.
            if code in NOT_FOR_RELEASE and (code != "approval_required" or len(one.reasons) == 1):
                raise Terminal(
                    f"hold {one.award_id} waits for {code}, which nobody can release: {NOT_FOR_RELEASE[code]}. "
                    "Nothing was decided"
                )


def _decide(
    connection: Connection, one: Hold, decision: Decision, actor: str, reason: str, now: datetime, run_id: str
) -> None:
    released = sorted({*one.released, *one.reasons} - NOT_FOR_RELEASE.keys()) if decision == "released" else []
    connection.execute(
        text(
            "update ledger.hold set state = :state, released = cast(:released as jsonb), decided_by = :actor,"
            " decided_at = :now, decision_reason = :reason"
            " where award_id = :award and cause = :cause and action = :action"
        ),
        {
            "state": decision, "released": json.dumps(released) if released else None, "actor": actor, "now": now,
            "reason": reason, "award": one.award_id, "cause": one.cause, "action": one.action,
        },
    )  # fmt: skip
    detail = {"cause": one.cause, "action": one.action, "reasons": one.reasons, "plan": str(one.plan_id)}
    record_action(connection, f"hold_{decision}", f"hold:{one.award_id}", actor, run_id, reason=reason, detail=detail)

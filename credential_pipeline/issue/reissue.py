"""Re-issuing everything a key signed: a campaign after its private half was lost or became known.

Each credential of the key that still holds gets a successor with the same content, signed by the key that signs now,
and is superseded by it (and so revoked); one that has ended is revoked. Belongs here: the lines of that plan. Does not
belong here: declaring the key compromised (key_periods.py) and carrying the plan out (apply.py).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Engine, Row, text

from credential_pipeline.credential import identifiers
from credential_pipeline.errors import Terminal
from credential_pipeline.institution import Institution
from credential_pipeline.institution.catalogue import Achievement
from credential_pipeline.issue import plans
from credential_pipeline.issue.actions import record_action
from credential_pipeline.issue.lines import Line, outside_limits
from credential_pipeline.issue.plans import ISSUING_LOCK, LINES_AT_ONCE, Header, Stored
from credential_pipeline.store.postgres import transaction_lock
from credential_pipeline.store.secrets import SecretsDirectory
from credential_pipeline.store.signing import key_at

log = logging.getLogger(__name__)

REISSUE = "reissue"
"""The kind of these plans."""

KEY_LOST = "key_lost"
"""The reason of a line that re-issues; ENDED of one that only revokes."""
ENDED = "ended"


def cause_of(key_id: str) -> str:
    """Why a version that this campaign makes exists: a replay finds it."""
    return f"campaign:{key_id}"


def plan_reissue(
    engine: Engine,
    institution: Institution,
    secrets: SecretsDirectory,
    key_id: str,
    as_of: datetime,
    run_id: str,
    *,
    actor: str,
    reason: str,
) -> Stored | None:
    """The plan that re-issues and revokes what a key signed; None when nothing of it is left to do.

    It waits for signatures, unless `policies.campaign_approval` is `actor`.

    Raises:
        Terminal: no such key, it would sign the successors too, or the actor is none of the institution's people.
    """
    _refuse(engine, institution, secrets, key_id, as_of, actor, reason)
    alone = institution.policies.campaign_approval == "actor"
    header = Header(REISSUE, f"key:{key_id}", as_of, "auto" if alone else "four_eyes", actor, reason.strip())
    with engine.begin() as connection:
        transaction_lock(connection, ISSUING_LOCK)
        plans.record_catalogue(connection, institution, run_id)
        # A plan of before the policy was changed would keep its credentials from this one.
        other = plans.not_begun(connection, replace(header, approval="four_eyes" if alone else "auto"))
        if other is not None:
            plans.set_aside(connection, other.plan_id)
        stored = plans.standing_plan(
            connection, institution, header, lambda h, again: _lines(connection, institution, key_id, h, again), run_id
        )
        if stored is None:
            return None
        if stored.new:
            detail = {"key": key_id, "counts": dict(stored.counts), "approval": header.approval}
            subject = f"plan:{stored.plan_id}"
            record_action(connection, "reissue_planned", subject, actor, run_id, reason=header.reason, detail=detail)
        if alone and stored.does_something:
            plans.approve_by_actor(connection, stored.plan_id, actor)
    log.info("reissue: %s", ", ".join(f"{n} {action}" for action, n in sorted(stored.counts.items())))
    return stored


def _refuse(
    engine: Engine,
    institution: Institution,
    secrets: SecretsDirectory,
    key_id: str,
    as_of: datetime,
    actor: str,
    reason: str,
) -> None:
    if not reason.strip() or not actor.strip():
        raise Terminal("a campaign needs a reason and an actor: give --reason TEXT and --actor ID")
    people = {person.id for person in institution.people}
    if people and actor not in people:
        raise Terminal(f"{actor} is none of the people of institution.yaml ({', '.join(sorted(people))})")
    with engine.connect() as connection:
        keys = connection.scalars(text("select key_id from ledger.signing_key order by valid_from, key_id")).all()
    if key_id not in keys:
        raise Terminal(f"no key {key_id}; there are: {', '.join(keys)}")
    if key_at(secrets, as_of).key_id == key_id:
        raise Terminal(
            f"{key_id} is the key that signs: it would sign the successors too. Make the next key first: "
            f"`credential-pipeline key compromised {key_id}` or `credential-pipeline key rotate`"
        )


SIGNED = """
select c.credential_id, c.award_id, w.person_id, c.achievement, c.valid_until, s.state, s.version, l.facts, l.row_id
from ledger.credential c
join ledger.credential_state s using (credential_id)
join ledger.award w using (award_id)
join ledger.plan_line l on l.plan_id = c.plan_id and l.ordinal = c.ordinal
where c.key_id = :key and s.state in ('current', 'suspended') and l.facts is not null
  and not exists (select from ledger.plan_line x where x.prior_id = c.credential_id and x.state = 'planned'
                  and x.action in ('replace', 'revoke') and x.plan_id <> :again and x.award_id = c.award_id)
  and not exists (select from ledger.hold h where h.award_id = c.award_id and h.cause = :cause
                  and h.state = 'rejected')
order by c.achievement, c.award_id, c.credential_id
"""


def _lines(
    connection: Connection, institution: Institution, key_id: str, header: Header, again: UUID
) -> Iterator[Line]:
    achievements = institution.catalogue.achievements
    waiting = _waiting(connection, key_id, again)
    rows = connection.execute(
        text(SIGNED),
        {"key": key_id, "again": again, "cause": cause_of(key_id)},
        execution_options={"yield_per": LINES_AT_ONCE},
    )
    for row in rows:
        line = _line(row, achievements.get(row.achievement), key_id, header.as_of)
        if line.action != "hold" or waiting.get((row.award_id, "replace")) != line.reasons:
            yield line


def _waiting(connection: Connection, key_id: str, again: UUID) -> dict[tuple[UUID, str], tuple[str, ...]]:
    """Reasons of the holds that an earlier plan of this campaign opened."""
    rows = connection.execute(
        text("select award_id, action, reasons from ledger.hold where cause = :cause and plan_id <> :again"),
        {"cause": cause_of(key_id), "again": again},
    )
    return {(award, action): tuple(reasons) for award, action, reasons in rows}


def _line(row: Row[Any], achievement: Achievement | None, key_id: str, as_of: datetime) -> Line:
    reasons = _reasons_to_wait(row, achievement)
    ended = row.valid_until is not None and row.valid_until <= as_of
    inputs = {"prior": f"{row.state}:{row.version}"}
    if ended:
        return Line(
            "revoke", (ENDED,), inputs, row.achievement, row.award_id, cause=cause_of(key_id),
            person_id=row.person_id, prior_id=row.credential_id,
        )  # fmt: skip
    return Line(
        action="hold" if reasons else "replace",
        reasons=reasons or (KEY_LOST,),
        inputs={**inputs, "achievement": achievement.version} if achievement else inputs,
        achievement=row.achievement,
        award_id=row.award_id,
        credential_id=identifiers.credential_id(row.award_id, cause_of(key_id)),
        cause=cause_of(key_id),
        person_id=row.person_id,
        row_id=row.row_id,
        facts={"action": "replace"} if reasons else row.facts,
        purpose=None if reasons or achievement is None else achievement.status_purpose,
        prior_id=row.credential_id,
    )


def _reasons_to_wait(row: Row[Any], achievement: Achievement | None) -> tuple[str, ...]:
    """A successor would be current, so what is suspended waits; so does what the catalogue can no longer describe."""
    if achievement is None:
        return ("achievement_not_in_catalogue",)
    described = {result.id for result in achievement.results}
    waits = {
        "suspended": row.state == "suspended",
        "result_outside_limits": any(r["id"] not in described for r in row.facts.get("results", ()))
        or any(outside_limits(result, row.facts) for result in achievement.results),
    }
    return tuple(reason for reason, holds in waits.items() if holds)


@dataclass(frozen=True)
class Campaign:
    """A plan about many credentials, and how far it is: `open` lines are still to be done."""

    plan_id: UUID
    kind: str
    scope: str
    state: str
    approval: str
    created_by: str
    as_of: datetime
    counts: dict[str, int]
    open: int


def campaigns(engine: Engine, limit: int = 100) -> list[Campaign]:
    """Renewals and re-issues, the newest first; a plan that another one took the place of is not shown."""
    with engine.connect() as connection:
        rows = connection.execute(
            text(
                "select plan_id, kind, scope, state, approval, created_by, as_of, counts,"
                " (select count(*) from ledger.plan_line l where l.plan_id = p.plan_id and l.state = 'planned') as open"
                " from ledger.plan p where kind in ('renew', 'reissue') and state <> 'stale'"
                " order by recorded_at desc, plan_id limit :limit"
            ),
            {"limit": limit},
        )
        return [Campaign(**row._asdict()) for row in rows]

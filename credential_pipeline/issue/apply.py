"""Carry out an approved plan; a chunk of lines is a transaction.

Kill it anywhere: a chunk is done whole or not at all, and the next call does only what is missing. Belongs here:
whether a plan and its lines may be carried out, and in which order. Does not belong here: how a credential is made
(issuing.py), how a state changes (states.py) and what makes a line stale (stale.py).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Engine, Row, text

from credential_pipeline.credential.keys import Signer
from credential_pipeline.errors import Terminal
from credential_pipeline.institution import Institution
from credential_pipeline.institution.catalogue import Catalogue
from credential_pipeline.issue import plans
from credential_pipeline.issue.actions import record_action
from credential_pipeline.issue.approve import refuse_against_policy, refuse_changed, refuse_unapproved
from credential_pipeline.issue.compose import Composer, CreateLine, Versioned
from credential_pipeline.issue.issuing import PlanInHand, Signing, issue_lines
from credential_pipeline.issue.plans import Refused, Stale, apply_lock
from credential_pipeline.issue.stale import hold_stale, refuse_stale
from credential_pipeline.issue.states import Move, move
from credential_pipeline.issue.status_blocks import blocks_of, reserve
from credential_pipeline.store.postgres import transaction_lock
from credential_pipeline.store.secrets import SecretsDirectory

log = logging.getLogger(__name__)

CHUNK = 4000

MAKING = ("create", "replace", "renew")
"""Actions that make a credential; `replace` and `renew` also retire the one before."""

MOVING = {"revoke": "revoked", "suspend": "suspended", "reinstate": "current"}
"""Actions that change the state of a credential that exists, and the state they lead to."""


@dataclass(frozen=True)
class ApplyResult:
    """What this call did with a plan: credentials recorded, states changed, lines that had gone stale and were held."""

    issued: int
    stale: int
    moved: int = 0


def apply_plan(
    engine: Engine,
    institution: Institution,
    secrets: SecretsDirectory,
    signer_at: Callable[[datetime], Signer],
    plan_id: UUID,
    run_id: str,
    *,
    now: datetime,
    chunk: int = CHUNK,
    shard: int | None = None,
) -> ApplyResult:
    """Do what is left of an approved plan, `chunk` lines a transaction.

    Args:
        engine: the ledger.
        institution: whose plan it is; its listed approvers are who may have signed.
        secrets: for public ids, salts and status indexes.
        signer_at: the key to sign with at an instant, the plan's `as_of`.
        plan_id: the plan.
        run_id: recorded with every event.
        now: the instant that approvals must not have expired at.
        chunk: lines a transaction; memory grows with it, the result does not depend on it.
        shard: only the lines of these persons (plans.SHARD_OF); the plan is applied when the last shard is.

    Raises:
        Refused: the plan is not approved, its approval does not hold, or (four eyes) one of its lines is stale.
        CheckError: a signed document is not what was planned; the chunk is not recorded.
    """
    try:
        return _apply(engine, plan_id, _Hands(institution, secrets, signer_at, run_id, now, chunk, shard))
    except Stale as stale:
        # No approval can help it. Set aside, its awards are free for the next plan; else they would wait for good.
        with engine.begin() as connection:
            transaction_lock(connection, apply_lock(plan_id))
            if plans.set_aside(connection, plan_id):
                detail = {"why": str(stale)}
                record_action(connection, "plan_set_aside", f"plan:{plan_id}", plans.PIPELINE, run_id, detail=detail)
        raise


@dataclass(frozen=True)
class Applied:
    """What became of all approved plans: what each came to, and why some were refused. None holds up another."""

    results: Mapping[UUID, ApplyResult]
    refused: Mapping[UUID, str]

    @property
    def issued(self) -> int:
        """Credentials recorded."""
        return sum(result.issued for result in self.results.values())

    @property
    def stale(self) -> int:
        """Lines that had gone stale and were held."""
        return sum(result.stale for result in self.results.values())

    @property
    def moved(self) -> int:
        """Credentials whose state was changed."""
        return sum(result.moved for result in self.results.values())


def apply_approved(
    engine: Engine,
    institution: Institution,
    secrets: SecretsDirectory,
    signer_at: Callable[[datetime], Signer],
    run_id: str,
    *,
    now: datetime,
    plan_ids: Sequence[UUID] | None = None,
    chunk: int = CHUNK,
) -> Applied:
    """Apply these plans, or every approved one that is not finished, also one that an earlier run left."""
    results: dict[UUID, ApplyResult] = {}
    refused: dict[UUID, str] = {}
    for plan_id in plans.open_plans(engine) if plan_ids is None else plan_ids:
        try:
            results[plan_id] = apply_plan(
                engine, institution, secrets, signer_at, plan_id, run_id, now=now, chunk=chunk
            )
        except Refused as reason:
            refused[plan_id] = str(reason)
            log.warning("plan %s was not applied", plan_id)
    return Applied(results, refused)


@dataclass(frozen=True)
class _Hands:
    """What the chunks of one call share."""

    institution: Institution
    secrets: SecretsDirectory
    signer_at: Callable[[datetime], Signer]
    run_id: str
    now: datetime
    chunk: int
    shard: int | None
    known: dict[str, Signing] = field(default_factory=dict)

    def signing(self, as_of: datetime) -> Signing:
        """The key at an instant; another one when the key changed between two chunks."""
        signer = self.signer_at(as_of)
        if signer.public_key_multibase not in self.known:
            self.known[signer.public_key_multibase] = Signing.at(signer, as_of)
        return self.known[signer.public_key_multibase]


def _apply(engine: Engine, plan_id: UUID, hands: _Hands) -> ApplyResult:
    institution, run_id = hands.institution, hands.run_id
    done = ApplyResult(0, 0)
    begun = False
    while True:
        with engine.begin() as connection:
            transaction_lock(connection, apply_lock(plan_id))
            plan = _in_hand(connection, institution, hands.secrets, plan_id, hands.now)
            if plan is None:
                return done
            if plan.approval == "four_eyes" and not begun:
                refuse_changed(connection, institution, plan_id)
                refuse_stale(connection, plan_id, institution.catalogue)
            if plan.approval != "four_eyes" and not begun:
                refuse_against_policy(connection, institution, plan_id)
            begun = True
            step = _do_chunk(connection, plan, hands)
            if step is None:
                if hands.shard is None or not _next_lines(connection, plan_id, 1, None):
                    connection.execute(
                        text("update ledger.plan set state = 'applied' where plan_id = :plan"), {"plan": plan_id}
                    )
                    record_action(connection, "plan_applied", f"plan:{plan_id}", plans.PIPELINE, run_id)
                return done
        done = ApplyResult(done.issued + step.issued, done.stale + step.stale, done.moved + step.moved)
        if step.issued:
            log.info("issued %d credentials", done.issued)
        if step.moved:
            log.info("changed the state of %d credentials", done.moved)


def _do_chunk(connection: Connection, plan: PlanInHand, hands: _Hands) -> ApplyResult | None:
    """Do the next lines; None when there are none."""
    rows = _next_lines(connection, plan.plan_id, hands.chunk, hands.shard)
    if not rows:
        return None
    held = hold_stale(connection, plan.plan_id, [row.ordinal for row in rows])
    if held and plan.approval == "four_eyes":
        raise Stale(f"plan {plan.plan_id} went stale while it was applied: plan again, and have that approved")
    fresh = [row for row in rows if row.ordinal not in held]
    making = [row for row in fresh if row.action in MAKING]
    moving = [row for row in fresh if row.action in MOVING]
    if making:
        ids, salts = _current(hands.secrets, "id"), _current(hands.secrets, "salt")
        composer = Composer(hands.institution, plan.catalogue.achievements, plan.as_of, ids, salts)
        lines = _create_lines(making, plan, hands.secrets)
        signing, verify = hands.signing(plan.as_of), hands.institution.policies.verify
        issue_lines(connection, plan, composer, signing, lines, hands.run_id, verify)
    moved = _move(connection, plan, moving, hands.run_id) if moving else 0
    _mark(connection, plan, [row.ordinal for row in fresh], hands.run_id)
    return ApplyResult(len(making), len(held), moved)


def _current(secrets: SecretsDirectory, kind: Any) -> Versioned:
    secret = secrets.secret(kind)
    return Versioned(secret.version, secret.value)


def _in_hand(
    connection: Connection, institution: Institution, secrets: SecretsDirectory, plan_id: UUID, now: datetime
) -> PlanInHand | None:
    row = connection.execute(
        text(
            "select p.state, p.hash, p.kind, p.approval, p.as_of, p.created_by, p.reason, v.catalogue"
            " from ledger.plan p join ledger.catalogue_version v using (catalogue_version) where plan_id = :plan"
        ),
        {"plan": plan_id},
    ).first()
    if row is None:
        raise Terminal(f"no plan {plan_id} in this ledger")
    if row.state == "applied":
        return None
    if row.state == "stale":
        raise Stale(f"plan {plan_id} is stale: what it cites has changed, or another plan took its place")
    refuse_unapproved(connection, institution, plan_id, now)
    # The catalogue as it was when the plan was made: an edit after that is for the next plan.
    catalogue = Catalogue.model_validate(row.catalogue)
    _reserve(connection, plan_id, catalogue, secrets)
    return PlanInHand(
        plan_id,
        row.hash,
        row.kind,
        row.approval,
        row.as_of,
        row.created_by,
        row.reason,
        catalogue,
        blocks_of(connection, plan_id),
    )


def _reserve(connection: Connection, plan_id: UUID, catalogue: Catalogue, secrets: SecretsDirectory) -> None:
    """The plan's blocks of status positions, once: whoever applies it first reserves them."""
    if connection.scalar(
        text("select exists (select from ledger.status_block where plan_id = :plan)"), {"plan": plan_id}
    ):
        return
    sizes: dict[str, int] = {}
    for achievement, lines in connection.execute(
        text(
            "select achievement, max(status_ordinal) + 1 from ledger.plan_line"
            " where plan_id = :plan and status_ordinal is not null group by 1"
        ),
        {"plan": plan_id},
    ):
        purpose: str = catalogue.achievements[achievement].status_purpose
        sizes[purpose] = max(sizes.get(purpose, 0), lines)
    for used, size in sorted(sizes.items()):
        reserve(connection, plan_id, used, size, secrets.secret("status").version)


def _next_lines(connection: Connection, plan_id: UUID, chunk: int, shard: int | None) -> Sequence[Row[Any]]:
    of_shard = "" if shard is None else f" and {plans.SHARD_OF.format('person_id')} = :shard"
    return connection.execute(
        text(
            "select ordinal, action, award_id, credential_id, prior_id, cause, person_id, achievement, facts, reasons,"
            f" status_ordinal from ledger.plan_line where plan_id = :plan and state = 'planned'{of_shard}"
            " order by ordinal limit :chunk"
        ),
        {"plan": plan_id, "chunk": chunk, **({} if shard is None else {"shard": shard})},
    ).all()


def _create_lines(rows: Sequence[Row[Any]], plan: PlanInHand, secrets: SecretsDirectory) -> list[CreateLine]:
    achievements = plan.catalogue.achievements
    lines = []
    for row in rows:
        block = plan.blocks[achievements[row.achievement].status_purpose]
        number, index = block.place(row.status_ordinal, lambda version: secrets.secret("status", version).value)
        lines.append(
            CreateLine(
                ordinal=row.ordinal,
                award_id=row.award_id,
                credential_id=row.credential_id,
                cause=row.cause,
                person_id=row.person_id,
                achievement=row.achievement,
                facts=row.facts,
                list_number=number,
                status_index=index,
                prior_id=row.prior_id,
            )
        )
    return lines


def _move(connection: Connection, plan: PlanInHand, rows: Sequence[Row[Any]], run_id: str) -> int:
    moves = [Move(row.prior_id, MOVING[row.action], plan.reason or row.reasons[0]) for row in rows]
    moved = move(connection, moves, actor=plan.created_by, run_id=run_id)
    if moved.refused:
        credential, why = next(iter(moved.refused.items()))
        raise Terminal(
            f"credential {credential}: {why}; nothing of this chunk was done, plan {plan.plan_id} stays open"
        )
    return len(moved.done)


def _mark(connection: Connection, plan: PlanInHand, ordinals: Sequence[int], run_id: str) -> None:
    connection.execute(
        text(
            "update ledger.plan_line set state = 'applied', run_id = :run"
            " where plan_id = :plan and ordinal = any(:ordinals)"
        ),
        {"plan": plan.plan_id, "ordinals": list(ordinals), "run": run_id},
    )
    if plan.approval == "four_eyes":
        connection.execute(
            text(
                "update ledger.hold h set state = 'released', decided_by = coalesce((select string_agg(approver, ', '"
                "   order by approver) from ledger.approval where plan_id = :plan and kind = 'signature'), :by),"
                " decided_at = clock_timestamp(), decision_reason = 'plan ' || cast(:plan as text)"
                " from ledger.plan_line l where l.plan_id = :plan and l.ordinal = any(:ordinals)"
                " and h.award_id = l.award_id and h.cause = l.cause and h.action = l.action and h.state = 'waiting'"
            ),
            {"plan": plan.plan_id, "ordinals": list(ordinals), "by": plan.created_by},
        )

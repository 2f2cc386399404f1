"""Carry out an approved plan; a chunk of lines is a transaction.

Kill it anywhere: a chunk is done whole or not at all, and the next call does only what is missing. Belongs here:
whether a plan and its lines may be carried out, and in which order. Does not belong here: how a credential is made
(making.py), what happens to a chunk (chunks.py) and what makes a line stale (stale.py).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Protocol
from uuid import UUID

from sqlalchemy import Connection, Engine, text

from credential_pipeline.credential.keys import Signer
from credential_pipeline.errors import Terminal
from credential_pipeline.institution import Institution
from credential_pipeline.institution.catalogue import Catalogue
from credential_pipeline.issue import plans
from credential_pipeline.issue.actions import record_action
from credential_pipeline.issue.approve import refuse_against_policy, refuse_changed, refuse_unapproved
from credential_pipeline.issue.chunks import (
    MAKING,
    MOVING,
    ApplyResult,
    Hands,
    chunks,
    count_planned,
    issue_chunk,
    move_chunk,
)
from credential_pipeline.issue.issuing import PlanInHand
from credential_pipeline.issue.plans import Refused, Stale, apply_lock
from credential_pipeline.issue.progress import Progress
from credential_pipeline.issue.sentinels import sentinel_dictionary
from credential_pipeline.issue.stale import refuse_stale
from credential_pipeline.issue.status_blocks import blocks_of, reserve
from credential_pipeline.store.dictionaries import ensure_dictionaries
from credential_pipeline.store.postgres import transaction_lock
from credential_pipeline.store.secrets import SecretsDirectory
from credential_pipeline.worker_processes import Workers

log = logging.getLogger(__name__)

CHUNK = 4000


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
    workers: Workers | None = None,
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
        workers: processes that sign beside this one; None signs here. The result does not depend on it.
        shard: only the lines of these persons (plans.SHARD_OF); the plan is applied when the last shard is.

    Raises:
        Refused: the plan is not approved, its approval does not hold, or (four eyes) one of its lines is stale.
        CheckError: a signed document is not what was planned; the chunk is not recorded.
    """
    try:
        return _apply(engine, plan_id, Hands(institution, secrets, signer_at, run_id, now, chunk, shard, workers))
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
    workers: Workers | None = None,
) -> Applied:
    """Apply these plans, or every approved one that is not finished, also one that an earlier run left."""
    results: dict[UUID, ApplyResult] = {}
    refused: dict[UUID, str] = {}
    for plan_id in plans.open_plans(engine) if plan_ids is None else plan_ids:
        try:
            results[plan_id] = apply_plan(
                engine, institution, secrets, signer_at, plan_id, run_id, now=now, chunk=chunk, workers=workers
            )
        except Refused as reason:
            refused[plan_id] = str(reason)
            log.warning("plan %s was not applied", plan_id)
    return Applied(results, refused)


def _apply(engine: Engine, plan_id: UUID, hands: Hands) -> ApplyResult:
    done = ApplyResult(0, 0)
    with engine.begin() as connection:
        plan = _begin(connection, hands, plan_id)
        if plan is None:
            return done
        to_make, to_move = (count_planned(connection, plan_id, hands, actions) for actions in (MAKING, [*MOVING]))
    issued, moved = Progress("issued {} credentials", to_make), Progress("changed the state of {} credentials", to_move)
    # Again until nothing is left: who applied the same plan beside us may have failed at what we left to them.
    while not _finish(engine, plan, hands):
        with closing(chunks(engine, plan, hands, to_make)) as made:
            for chunk in made:
                step = _step(engine, plan, hands, partial(issue_chunk, chunk=chunk))
                issued.add(step.issued)
                done += step
        while (step := _step(engine, plan, hands, move_chunk)) != ApplyResult(0, 0):
            moved.add(step.moved)
            done += step
    issued.end()
    moved.end()
    return done


class _Do(Protocol):
    def __call__(self, connection: Connection, plan: PlanInHand, hands: Hands) -> ApplyResult: ...


def _step(engine: Engine, plan: PlanInHand, hands: Hands, do: _Do) -> ApplyResult:
    """A chunk in a transaction, under the plan's lock, if the plan is still open and approved."""
    with engine.begin() as connection:
        if not _is_open(connection, hands, plan.plan_id):
            return ApplyResult(0, 0)
        return do(connection, plan=plan, hands=hands)


def _is_open(connection: Connection, hands: Hands, plan_id: UUID) -> bool:
    """Whether there is something left of an approved plan; nobody else works on it until the transaction ends."""
    transaction_lock(connection, apply_lock(plan_id))
    state = connection.scalar(text("select state from ledger.plan where plan_id = :plan"), {"plan": plan_id})
    if state is None:
        raise Terminal(f"no plan {plan_id} in this ledger")
    if state == "applied":
        return False
    if state == "stale":
        raise Stale(f"plan {plan_id} is stale: what it cites has changed, or another plan took its place")
    refuse_unapproved(connection, hands.institution, plan_id, hands.now)
    return True


def _begin(connection: Connection, hands: Hands, plan_id: UUID) -> PlanInHand | None:
    """The plan with its places in status lists and its dictionaries; None when it is applied already."""
    if not _is_open(connection, hands, plan_id):
        return None
    row = connection.execute(
        text(
            "select p.hash, p.kind, p.approval, p.as_of, p.created_by, p.reason, v.catalogue"
            " from ledger.plan p join ledger.catalogue_version v using (catalogue_version) where plan_id = :plan"
        ),
        {"plan": plan_id},
    ).one()
    institution = hands.institution
    if row.approval == "four_eyes":
        refuse_changed(connection, institution, plan_id)
        refuse_stale(connection, plan_id, institution.catalogue)
    else:
        refuse_against_policy(connection, institution, plan_id)
    # The catalogue as it was when the plan was made: an edit after that is for the next plan.
    catalogue = Catalogue.model_validate(row.catalogue)
    used = _reserve(connection, plan_id, catalogue, hands.secrets)
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
        ensure_dictionaries(connection, catalogue, hands.run_id, partial(sentinel_dictionary, institution), used),
    )


def _finish(engine: Engine, plan: PlanInHand, hands: Hands) -> bool:
    """Whether nothing is left for this call; the plan is applied when nothing is left of it at all."""
    with engine.begin() as connection:
        if not _is_open(connection, hands, plan.plan_id):
            return True
        if count_planned(connection, plan.plan_id, hands, plans.OPEN):
            return False
        if hands.shard is None or not count_planned(connection, plan.plan_id, replace(hands, shard=None), plans.OPEN):
            connection.execute(
                text("update ledger.plan set state = 'applied' where plan_id = :plan"), {"plan": plan.plan_id}
            )
            record_action(connection, "plan_applied", f"plan:{plan.plan_id}", plans.PIPELINE, hands.run_id)
        return True


def _reserve(connection: Connection, plan_id: UUID, catalogue: Catalogue, secrets: SecretsDirectory) -> Collection[str]:
    """Reserve the plan's blocks of status positions, once: whoever applies it first. Returns its achievements."""
    ends: dict[str, int] = {
        achievement: end
        for achievement, end in connection.execute(
            text(
                "select achievement, max(status_ordinal) + 1 from ledger.plan_line"
                " where plan_id = :plan and status_ordinal is not null group by 1"
            ),
            {"plan": plan_id},
        )
    }
    if connection.scalar(
        text("select exists (select from ledger.status_block where plan_id = :plan)"), {"plan": plan_id}
    ):
        return ends
    sizes: dict[str, int] = {}
    for achievement, end in ends.items():
        purpose = catalogue.achievements[achievement].status_purpose
        sizes[purpose] = max(sizes.get(purpose, 0), end)
    for used, size in sorted(sizes.items()):
        reserve(connection, plan_id, used, size, secrets.secret("status").version)
    return ends

"""The chunks of a plan: read, made here or by worker processes, and carried out, each in a transaction of its own.

While PostgreSQL digests a chunk, workers are on the next ones; what was read ahead is judged again under the plan's
lock, in the transaction that records it. Belongs here: what happens between two commits. Does not belong here: whether
the plan may be applied (apply.py), how credentials are made (making.py) and recorded (issuing.py).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Engine, Row, text

from credential_pipeline.credential.keys import Signer
from credential_pipeline.errors import Terminal
from credential_pipeline.institution import Institution
from credential_pipeline.issue import issuing, plans
from credential_pipeline.issue.compose import Versioned
from credential_pipeline.issue.issuing import PlanInHand
from credential_pipeline.issue.making import LINE, Made, Maker, Making, MakingElsewhere, Signing, opener_of
from credential_pipeline.issue.plans import Stale
from credential_pipeline.issue.stale import hold_stale
from credential_pipeline.issue.states import Move, move
from credential_pipeline.store.postgres import integers
from credential_pipeline.store.secrets import SecretsDirectory
from credential_pipeline.worker_processes import Workers

MAKING = ("create", "replace", "renew")
"""Actions that make a credential; `replace` and `renew` also retire the one before."""

MOVING = {"revoke": "revoked", "suspend": "suspended", "reinstate": "current"}
"""Actions that change the state of a credential that exists, and the state they lead to."""

WORTH_STARTING = 2
"""Chunks from which on workers are started: a process needs a second to start, in which it could sign 6,000."""


@dataclass(frozen=True)
class ApplyResult:
    """What this call did with a plan: credentials recorded, states changed, lines that had gone stale and were held."""

    issued: int
    stale: int
    moved: int = 0

    def __add__(self, other: ApplyResult) -> ApplyResult:
        """Both together."""
        return ApplyResult(self.issued + other.issued, self.stale + other.stale, self.moved + other.moved)


@dataclass(frozen=True)
class Hands:
    """What the chunks of one call share."""

    institution: Institution
    secrets: SecretsDirectory
    signer_at: Callable[[datetime], Signer]
    run_id: str
    now: datetime
    chunk: int
    shard: int | None
    workers: Workers | None
    known: dict[str, Signing] = field(default_factory=dict)

    def making(self, plan: PlanInHand) -> tuple[Making, Signer]:
        """What making this plan's credentials takes now: not the same when a secret or the key has changed."""
        ids, salts = self._current("id"), self._current("salt")
        signer = self.signer_at(plan.as_of)
        versions = {version for block in plan.blocks.values() for _, version in block.lists.values()}
        making = Making(
            institution=self.institution,
            catalogue=plan.catalogue,
            plan_id=plan.plan_id,
            plan_hash=plan.hash,
            as_of=plan.as_of,
            run_id=self.run_id,
            ids=ids,
            salts=salts,
            status={version: self.secrets.secret("status", version).value for version in sorted(versions)},
            blocks=plan.blocks,
            key_id=signer.verification_method.partition("#")[2],
            public_key_multibase=signer.public_key_multibase,
            dictionaries=plan.dictionaries,
            policy=self.institution.policies.verify,
        )
        return making, signer

    def maker(self, plan: PlanInHand) -> Maker:
        """Makes credentials in this process; the key remembers the chunks before."""
        making, signer = self.making(plan)
        key = signer.public_key_multibase
        if key not in self.known:
            self.known[key] = Signing.at(signer, plan.as_of)
        return Maker(making, self.known[key])

    def _current(self, kind: Any) -> Versioned:
        secret = self.secrets.secret(kind)
        return Versioned(secret.version, secret.value)


@dataclass(frozen=True)
class Chunk:
    """Lines that were planned when they were read (`data`: a JSON array of LINE), and what workers made of them."""

    ordinals: Sequence[int]
    data: bytes
    making: Making | None = None
    made: Made | None = None


def chunks(engine: Engine, plan: PlanInHand, hands: Hands, total: int) -> Generator[Chunk, None, None]:
    """The lines that make a credential, in order; made by workers where there are some and `total` is worth it.

    Raises:
        WorkerEnded: a worker died. What it was working on is not recorded; the next call does it.
    """
    read = _read(engine, plan, hands)
    workers = _workers(plan, hands, total)
    if workers is None:
        yield from read
        return
    for chunk, made in workers.results(_work(read, plan, hands)):
        yield Chunk(chunk.ordinals, chunk.data, chunk.making, made)


def _workers(plan: PlanInHand, hands: Hands, total: int) -> Workers | None:
    """The workers, if they are worth it and the key can be opened by them."""
    workers = hands.workers
    if workers is None or workers.count == 1 or not total:
        return None
    if not workers.pids and total <= WORTH_STARTING * hands.chunk:
        return None
    return workers if opener_of(hands.signer_at(plan.as_of)) else None


def _work(
    read: Iterator[Chunk], plan: PlanInHand, hands: Hands
) -> Iterator[tuple[Chunk, MakingElsewhere | None, bytes]]:
    work: MakingElsewhere | None = None
    for chunk in read:
        making, signer = hands.making(plan)
        if work is None or work.making != making:
            opener = opener_of(signer)
            work = None if opener is None else MakingElsewhere(making, opener)
        yield Chunk(chunk.ordinals, chunk.data, making), work, chunk.data


def _read(engine: Engine, plan: PlanInHand, hands: Hands) -> Iterator[Chunk]:
    """Chunk by chunk, each in a transaction of its own that ends before the chunk is carried out."""
    after = -1
    parameters = {"plan": plan.plan_id, "chunk": hands.chunk, "actions": list(MAKING), **_shard(hands)}
    while True:
        with engine.connect() as connection:
            ordinals, data = connection.execute(text(_lines(hands)), {"after": after, **parameters}).one()
        if not ordinals:
            return
        yield Chunk(ordinals, data.encode())
        after = ordinals[-1]


def _lines(hands: Hands) -> str:
    # One value of 2 MB: the server writes the JSON, nobody here looks at 4,000 rows, and a worker reads it in one go.
    return (
        "select array_agg(ordinal order by ordinal),"
        f" json_agg(json_build_array({', '.join(LINE)}) order by ordinal)::text"
        f" from (select {', '.join(LINE)} from ledger.plan_line where plan_id = :plan and state = 'planned'"
        f" and ordinal > :after and action = any(:actions){_of_shard(hands)} order by ordinal limit :chunk) l"
    )


def _of_shard(hands: Hands) -> str:
    return "" if hands.shard is None else f" and {plans.SHARD_OF.format('person_id')} = :shard"


def _shard(hands: Hands) -> dict[str, int]:
    return {} if hands.shard is None else {"shard": hands.shard}


def count_planned(connection: Connection, plan_id: UUID, hands: Hands, actions: Sequence[str]) -> int:
    """How many lines of these actions are left to do in this call's shard."""
    return int(
        connection.scalar(
            text(
                "select count(*) from ledger.plan_line where plan_id = :plan and state = 'planned'"
                f" and action = any(:actions){_of_shard(hands)}"
            ),
            {"plan": plan_id, "actions": list(actions), **_shard(hands)},
        )
        or 0
    )


def issue_chunk(connection: Connection, plan: PlanInHand, hands: Hands, chunk: Chunk) -> ApplyResult:
    """Record the credentials of a chunk, but of lines that went stale or that another process has done meanwhile.

    Raises:
        CheckError: a signed document is not what was planned; nothing may be recorded.
    """
    planned = _still_planned(connection, plan, chunk.ordinals)
    held = _hold_stale(connection, plan, planned)
    fresh = planned - held
    if fresh:
        made = _made(plan, hands, chunk, frozenset(chunk.ordinals) - fresh)
        issuing.record(connection, made)
        issuing.supersede(connection, plan, made, hands.run_id)
        _mark(connection, plan, made.ordinals, hands.run_id)
    return ApplyResult(len(fresh), len(held))


def _made(plan: PlanInHand, hands: Hands, chunk: Chunk, without: frozenset[int]) -> Made:
    if chunk.made is not None and hands.making(plan)[0] == chunk.making:
        return chunk.made.without(without)
    # No worker made it, or a secret or the key has changed since one did.
    return hands.maker(plan).make(chunk.data, without)


def _still_planned(connection: Connection, plan: PlanInHand, ordinals: Sequence[int]) -> set[int]:
    found = "from ledger.plan_line where plan_id = :plan and state = 'planned' and ordinal = any(:ordinals)"
    parameters = {"plan": plan.plan_id, "ordinals": integers(ordinals)}
    if connection.scalar(text(f"select count(*) {found}"), parameters) == len(ordinals):
        return set(ordinals)
    return set(connection.scalars(text(f"select ordinal {found}"), parameters))


def _hold_stale(connection: Connection, plan: PlanInHand, ordinals: set[int]) -> set[int]:
    held = hold_stale(connection, plan.plan_id, sorted(ordinals)) if ordinals else set()
    if held and plan.approval == "four_eyes":
        raise Stale(f"plan {plan.plan_id} went stale while it was applied: plan again, and have that approved")
    return held


def move_chunk(connection: Connection, plan: PlanInHand, hands: Hands) -> ApplyResult:
    """Change the states that the next lines are about; all zero when there are none."""
    rows = connection.execute(
        text(
            "select ordinal, action, prior_id, reasons from ledger.plan_line where plan_id = :plan"
            f" and state = 'planned' and action = any(:actions){_of_shard(hands)} order by ordinal limit :chunk"
        ),
        {"plan": plan.plan_id, "chunk": hands.chunk, "actions": list(MOVING), **_shard(hands)},
    ).all()
    held = _hold_stale(connection, plan, {row.ordinal for row in rows})
    fresh = [row for row in rows if row.ordinal not in held]
    moved = _move(connection, plan, fresh, hands.run_id) if fresh else 0
    _mark(connection, plan, [row.ordinal for row in fresh], hands.run_id)
    return ApplyResult(0, len(held), moved)


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
    # Mostly all lines of a stretch: one look into the index, not one for each.
    whole = ordinals and max(ordinals) - min(ordinals) + 1 == len(ordinals)
    these = "between :first and :last" if whole else "= any(:ordinals)"
    connection.execute(
        text(
            "update ledger.plan_line set state = 'applied', run_id = :run"
            f" where plan_id = :plan and ordinal {these}"
        ),
        {
            "plan": plan.plan_id, "run": run_id,
            **({"first": min(ordinals), "last": max(ordinals)} if whole else {"ordinals": integers(ordinals)}),
        },
    )  # fmt: skip
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

"""Storing a plan: lines, hash, holds, approval; whatever the plan is about.

Belongs here: what all kinds of plans share. Does not belong here: which lines a plan has (plan.py for a day's awards,
change.py and the rest for credentials that exist) and carrying it out (apply.py).
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from typing import Literal
from uuid import UUID

from sqlalchemy import Connection, Engine, text

from credential_pipeline.credential import identifiers
from credential_pipeline.errors import Terminal
from credential_pipeline.institution import Institution
from credential_pipeline.issue.forecast import forecast
from credential_pipeline.issue.lines import Line
from credential_pipeline.issue.plan_rows import COLUMNS, canonical, encoded, essence
from credential_pipeline.store.binary_copy import copy_encoded
from credential_pipeline.store.postgres import transaction_lock

LINES_AT_ONCE = 4000

ISSUING_LOCK = "issuing"
"""Held by whoever decides or plans: one at a time in an institution."""

PIPELINE = "pipeline"
"""Who made a plan that nobody asked for by name."""

SHARD_OF = "(get_byte(uuid_send({}), 0) >> 6)"
"""SQL: the shard, 0 to 3, of a person by the first two bits of their id."""

OPEN = ("create", "replace", "renew", "revoke", "suspend", "reinstate")
"""Actions that do something when the plan is applied; hold and skip lines only tell."""


class Refused(Terminal):
    """A plan may not be applied as it stands now; the others are not touched by that. The text says why."""


class Stale(Refused):
    """What the plan says is no more so: no approval can help it, it has to be made again."""


@dataclass(frozen=True)
class Header:
    """What a plan is, beside its lines; all but `created_by` is part of its hash.

    Attributes:
        kind: issue | renew | revoke | suspend | reinstate | correct | reissue.
        scope: what it is about: `day:2026-03-02`, `window:2027-03/0`, `key:key-1`, `query:...`.
        as_of: the instant its credentials are dated with.
        approval: `auto` is let through by the catalogue's version or by the actor, `four_eyes` by signatures.
        created_by: the pipeline, or who gave the command.
        reason: why somebody wants it, where a person does.
    """

    kind: str
    scope: str
    as_of: datetime
    approval: Literal["auto", "four_eyes"] = "auto"
    created_by: str = PIPELINE
    reason: str | None = None


@dataclass(frozen=True)
class Stored:
    """A plan in the ledger. `new`: this call stored it; else it was there, with the same hash."""

    plan_id: UUID
    hash: bytes
    counts: Mapping[str, int]
    new: bool

    @property
    def does_something(self) -> bool:
        """Whether applying it changes anything."""
        return any(self.counts.get(action) for action in OPEN)


def store_plan(
    connection: Connection,
    institution: Institution,
    header: Header,
    lines: Iterable[Line],
    run_id: str,
    *,
    only: UUID | None = None,
) -> Stored | None:
    """Store a plan with its holds in the current transaction; None when it has no line, or is not the plan `only`.

    The same header and lines are the same plan: it is found, and nothing is written.
    """
    connection.execute(text("create temporary table draft (like ledger.plan_line) on commit drop"))
    connection.execute(text("alter table draft alter column plan_id drop not null"))
    counts, digest = _draft(connection, institution, header, lines, run_id)
    wanted = only is None or identifiers.plan_id(institution.id, digest) == only
    stored = _keep(connection, institution, header, counts, digest, run_id) if counts and wanted else None
    connection.execute(text("drop table draft"))
    if stored is not None and stored.new:
        _hold(connection, stored.plan_id)
    return stored


def _draft(
    connection: Connection, institution: Institution, header: Header, lines: Iterable[Line], run_id: str
) -> tuple[Counter[str], bytes]:
    hashed = hashlib.sha256(_opening(institution.id, header, institution.catalogue.version))
    counts: Counter[str] = Counter()
    purposes: Counter[str] = Counter()
    written = 0
    stream = iter(lines)
    while chunk := list(islice(stream, LINES_AT_ONCE)):
        rows = []
        for line in chunk:
            hashed.update(canonical(essence(line)))
            status_ordinal = None
            if line.purpose:
                status_ordinal = purposes[line.purpose]
                purposes[line.purpose] += 1
            rows.append(encoded(written, line, status_ordinal, run_id))
            counts[line.action] += 1
            written += 1
        copy_encoded(connection, "draft", COLUMNS, [b"".join(rows)])
    return counts, hashed.digest()


def _opening(institution: str, header: Header, catalogue_version: bytes) -> bytes:
    return canonical(
        {
            "institution": institution,
            "kind": header.kind,
            "scope": header.scope,
            "as_of": header.as_of.astimezone(UTC).isoformat(),
            "approval": header.approval,
            "reason": header.reason,
            "catalogue": catalogue_version.hex(),
        }
    )


def hash_of(connection: Connection, institution: str, plan: UUID) -> bytes:
    """The hash of what the ledger holds of a plan now: another one than `plan.hash` when a line was changed."""
    kind, scope, as_of, approval, created_by, reason, version = connection.execute(
        text(
            "select kind, scope, as_of, approval, created_by, reason, catalogue_version from ledger.plan"
            " where plan_id = :plan"
        ),
        {"plan": plan},
    ).one()
    hashed = hashlib.sha256(_opening(institution, Header(kind, scope, as_of, approval, created_by, reason), version))
    lines = connection.execute(
        text(
            "select action, reasons, inputs, achievement, award_id, credential_id, cause, prior_id, facts"
            " from ledger.plan_line where plan_id = :plan order by ordinal"
        ),
        {"plan": plan},
        execution_options={"yield_per": LINES_AT_ONCE},
    )
    for row in lines:
        hashed.update(canonical(essence(Line(**row._asdict()))))
    return hashed.digest()


def _keep(
    connection: Connection,
    institution: Institution,
    header: Header,
    counts: Mapping[str, int],
    digest: bytes,
    run_id: str,
) -> Stored:
    plan_id = identifiers.plan_id(institution.id, digest)
    does_something = any(counts.get(action) for action in OPEN)
    new = connection.execute(
        text(
            "insert into ledger.plan (plan_id, hash, kind, scope, as_of, catalogue_version, counts, state, created_by,"
            " approval, reason, forecast, run_id) values (:plan, :hash, :kind, :scope, :as_of, :version,"
            " cast(:counts as jsonb), :state, :created_by, :approval, :reason, cast(:forecast as jsonb), :run)"
            " on conflict (plan_id) do nothing"
        ),
        {
            "plan": plan_id, "hash": digest, "kind": header.kind, "scope": header.scope, "as_of": header.as_of,
            "version": institution.catalogue.version, "counts": json.dumps(counts),
            "state": "planned" if does_something else "applied", "created_by": header.created_by,
            "approval": header.approval, "reason": header.reason,
            "forecast": json.dumps(forecast(counts).as_dict()), "run": run_id,
        },
    ).rowcount  # fmt: skip
    if new:
        names = ", ".join(COLUMNS)
        connection.execute(
            text(f"insert into ledger.plan_line (plan_id, {names}) select :plan, {names} from draft"),
            {"plan": plan_id},
        )
    return Stored(plan_id, digest, counts, bool(new))


def _hold(connection: Connection, plan: UUID) -> None:
    connection.execute(
        text(
            "insert into ledger.hold as h (award_id, cause, action, reasons, state, plan_id)"
            " select award_id, cause, coalesce(facts->>'action', 'create'), reasons, 'waiting', plan_id"
            " from ledger.plan_line where plan_id = :plan and action = 'hold'"
            " on conflict (award_id, cause, action) do update set reasons = excluded.reasons, state = 'waiting',"
            "   plan_id = excluded.plan_id, decided_by = null, decided_at = null, decision_reason = null"
            "   where h.state <> 'rejected'"
        ),
        {"plan": plan},
    )
    connection.execute(
        text(
            "update ledger.hold h set state = 'released', decided_by = 'pipeline', decided_at = clock_timestamp(),"
            " decision_reason = 'the reasons to wait are gone' from ledger.plan_line l join ledger.plan p"
            " using (plan_id) where l.plan_id = :plan and p.approval = 'auto' and l.action in ('create', 'renew')"
            " and h.award_id = l.award_id and h.cause = l.cause and h.action = l.action and h.state = 'waiting'"
        ),
        {"plan": plan},
    )


def approve_by_catalogue(connection: Connection, institution: Institution, plan: UUID) -> None:
    """Let a plan of `auto` achievements through: their approval is the catalogue's reviewed version."""
    _approve(connection, plan, "catalogue", f"catalogue {institution.catalogue.version.hex()}")


def approve_by_actor(connection: Connection, plan: UUID, actor: str) -> None:
    """Let a plan through that somebody asked for by name, where the institution does not want four eyes on it."""
    _approve(connection, plan, "actor", actor)


def _approve(connection: Connection, plan: UUID, kind: str, approver: str) -> None:
    connection.execute(
        text(
            "insert into ledger.approval (plan_id, plan_hash, kind, approver)"
            " select plan_id, hash, :kind, :approver from ledger.plan where plan_id = :plan on conflict do nothing"
        ),
        {"plan": plan, "kind": kind, "approver": approver},
    )
    connection.execute(
        text("update ledger.plan set state = 'approved' where plan_id = :plan and state = 'planned'"), {"plan": plan}
    )


@dataclass(frozen=True)
class OpenPlan:
    """A plan of which nothing has been applied yet."""

    plan_id: UUID
    hash: bytes
    as_of: datetime


def not_begun(connection: Connection, header: Header) -> OpenPlan | None:
    """The plan of this kind, scope and approval that waits, or is approved and not begun.

    Until the transaction ends nobody begins it: who applies a plan holds the same lock.
    """
    found = _not_begun(connection, header)
    while found is not None:
        transaction_lock(connection, apply_lock(found.plan_id))
        again = _not_begun(connection, header)  # begun while we waited?
        if again is None or again.plan_id == found.plan_id:
            return again
        found = again
    return None


def apply_lock(plan: UUID) -> str:
    """The lock of whoever applies, approves or sets aside a plan."""
    return f"apply {plan}"


def _not_begun(connection: Connection, header: Header) -> OpenPlan | None:
    row = connection.execute(
        text(
            "select plan_id, hash, as_of from ledger.plan p where kind = :kind and scope = :scope"
            " and approval = :approval and state in ('planned', 'approved') and not exists ("
            "   select from ledger.plan_line l where l.plan_id = p.plan_id and l.state = 'applied')"
            " order by recorded_at desc limit 1"
        ),
        {"kind": header.kind, "scope": header.scope, "approval": header.approval},
    ).first()
    return OpenPlan(*row) if row is not None else None


def set_aside(connection: Connection, plan: UUID) -> bool:
    """A plan that another one takes the place of: what it cited is no more so, and its approvals are void.

    Returns whether it stood until now.
    """
    stood = connection.execute(
        text("update ledger.plan set state = 'stale' where plan_id = :plan and state in ('planned', 'approved')"),
        {"plan": plan},
    ).rowcount
    connection.execute(
        text("update ledger.plan_line set state = 'stale' where plan_id = :plan and state = 'planned'"),
        {"plan": plan},
    )
    return bool(stood)


def open_plans(engine: Engine) -> list[UUID]:
    """Approved plans that are not finished, oldest first: this run's, and those of a run that died."""
    with engine.connect() as connection:
        found = connection.scalars(
            text("select plan_id from ledger.plan where state = 'approved' order by recorded_at, plan_id")
        )
        return list(found)


def standing_plan(
    connection: Connection,
    institution: Institution,
    header: Header,
    lines_of: Callable[[Header, UUID], Iterable[Line]],
    run_id: str,
) -> Stored | None:
    """The plan of this kind, scope and approval that stands, or its successor with this `as_of`; None: nothing to do.

    `lines_of(header, again)` makes the lines; what the plan `again` says already counts as not said.
    """
    before = not_begun(connection, header)
    if before is not None:
        again = replace(header, as_of=before.as_of)
        lines = lines_of(again, before.plan_id)
        stands = store_plan(connection, institution, again, lines, run_id, only=before.plan_id)
        if stands is not None:
            return stands
        set_aside(connection, before.plan_id)
    return store_plan(connection, institution, header, lines_of(header, NO_PLAN), run_id)


def stored_by(connection: Connection, header: Header, runs: Sequence[str]) -> Stored | None:
    """The plan of this kind, scope and approval that one of these runs stored, unless it has gone stale.

    A run that goes on where another was killed does not plan again what that one had planned.
    """
    row = connection.execute(
        text(
            "select plan_id, hash, counts from ledger.plan where kind = :kind and scope = :scope"
            " and approval = :approval and run_id = any(:runs) and state <> 'stale' order by recorded_at desc limit 1"
        ),
        {"kind": header.kind, "scope": header.scope, "approval": header.approval, "runs": list(runs)},
    ).first()
    return Stored(row.plan_id, row.hash, row.counts, new=False) if row is not None else None


NO_PLAN = UUID(int=0)


def record_catalogue(connection: Connection, institution: Institution, run_id: str) -> None:
    """Keep the catalogue as it is now: plans refer to it."""
    connection.execute(
        text(
            "insert into ledger.catalogue_version (catalogue_version, catalogue, run_id)"
            " values (:version, cast(:catalogue as jsonb), :run) on conflict do nothing"
        ),
        {
            "version": institution.catalogue.version,
            "catalogue": institution.catalogue.model_dump_json(),
            "run": run_id,
        },
    )

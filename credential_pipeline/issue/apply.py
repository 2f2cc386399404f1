"""Carry out an approved plan: build, sign, check, record; a chunk is a transaction.

Kill it anywhere: a chunk is recorded whole or not at all, and the next run does only what is missing. Sign, then
check, then record.
"""

from __future__ import annotations

import hashlib
import json
import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Engine, text

from credential_pipeline.credential import identifiers
from credential_pipeline.credential.canonical import rdfc, rdfc_second_opinion
from credential_pipeline.credential.document import open_badge_credential
from credential_pipeline.credential.keys import Signer
from credential_pipeline.credential.multikey import decode_ed25519_public
from credential_pipeline.credential.proof import ProofError, sign, verify_proof
from credential_pipeline.credential.text import serialize
from credential_pipeline.errors import Terminal
from credential_pipeline.institution import Institution
from credential_pipeline.institution.catalogue import Catalogue
from credential_pipeline.issue.compose import CheckError, Composer, CreateLine, Versioned, compare
from credential_pipeline.issue.status_blocks import StatusBlock, blocks_of
from credential_pipeline.store.document_form import store_document
from credential_pipeline.store.postgres import copy_rows, transaction_lock
from credential_pipeline.store.secrets import SecretsDirectory

log = logging.getLogger(__name__)

CHUNK = 4000
FULLY_VERIFIED_SHARE = 0.001
FULLY_VERIFIED_LEAST = 4


@dataclass(frozen=True)
class ApplyResult:
    """What this call did with a plan: credentials recorded, lines that had gone stale and were held."""

    issued: int
    stale: int


@dataclass(frozen=True)
class _Plan:
    plan_id: UUID
    hash: bytes
    as_of: datetime
    catalogue: Catalogue
    blocks: dict[str, StatusBlock]


def apply_plan(
    engine: Engine,
    institution: Institution,
    secrets: SecretsDirectory,
    signer_at: Callable[[datetime], Signer],
    plan_id: UUID,
    run_id: str,
    *,
    chunk: int = CHUNK,
) -> ApplyResult:
    """Issue what is left of an approved plan, `chunk` lines a transaction.

    Args:
        engine: the ledger.
        institution: whose plan it is.
        secrets: for public ids, salts and status indexes.
        signer_at: the key to sign with at an instant, the plan's `as_of`.
        plan_id: the plan.
        run_id: recorded with every event.
        chunk: lines a transaction; memory grows with it, the result does not depend on it.

    Raises:
        Terminal: the plan is not approved, or its hash is not the one that was.
        CheckError: a signed document is not what was planned; the chunk is not recorded.
    """
    issued = stale = 0
    while True:
        with engine.begin() as connection:
            transaction_lock(connection, f"apply {plan_id}")
            plan = _approved(connection, plan_id)
            if plan is None:
                return ApplyResult(issued, stale)
            stale += _hold_stale(connection, plan_id)
            composer = Composer(
                institution, plan.catalogue.achievements, plan.as_of, _current(secrets, "id"), _current(secrets, "salt")
            )
            lines = _next_lines(connection, plan, secrets, chunk)
            if lines:
                _issue(connection, plan, composer, signer_at(plan.as_of), lines, run_id, institution.policies.verify)
                issued += len(lines)
                log.info("issued %d credentials", issued)
            else:
                connection.execute(
                    text("update ledger.plan set state = 'applied' where plan_id = :plan"), {"plan": plan_id}
                )


def _current(secrets: SecretsDirectory, kind: Any) -> Versioned:
    secret = secrets.secret(kind)
    return Versioned(secret.version, secret.value)


def _approved(connection: Connection, plan_id: UUID) -> _Plan | None:
    row = connection.execute(
        text(
            "select p.state, p.hash, p.as_of, v.catalogue, exists (select from ledger.approval a"
            " where a.plan_id = p.plan_id and a.plan_hash = p.hash) as approved"
            " from ledger.plan p join ledger.catalogue_version v using (catalogue_version) where plan_id = :plan"
        ),
        {"plan": plan_id},
    ).first()
    if row is None:
        raise Terminal(f"no plan {plan_id} in this ledger")
    if row.state == "applied":
        return None
    if row.state != "approved" or not row.approved:
        raise Terminal(f"plan {plan_id} is {row.state} and not approved with the hash it has now; nothing was issued")
    # The catalogue as it was when the plan was made: an edit after that is for the next plan.
    return _Plan(plan_id, row.hash, row.as_of, Catalogue.model_validate(row.catalogue), blocks_of(connection, plan_id))


def _hold_stale(connection: Connection, plan_id: UUID) -> int:
    """Hold the open lines whose cited row changed since the plan was made, or is accepted no more."""
    return connection.execute(
        text(
            "with stale as (update ledger.plan_line l set state = 'held', reasons = reasons || '[\"stale\"]'"
            "  where l.plan_id = :plan and l.action = 'create' and l.state = 'planned' and not exists ("
            "    select from accepted.row a where a.row_id = l.row_id"
            "    and encode(a.fields_hash, 'hex') = l.inputs->>'fields')"
            "  returning l.award_id, l.cause, l.plan_id)"
            " insert into ledger.hold (award_id, cause, action, reasons, state, plan_id)"
            " select award_id, cause, 'create', '[\"stale\"]', 'waiting', plan_id from stale"
            " on conflict (award_id, cause, action) do update set reasons = excluded.reasons, state = 'waiting',"
            "   plan_id = excluded.plan_id"
        ),
        {"plan": plan_id},
    ).rowcount


def _next_lines(connection: Connection, plan: _Plan, secrets: SecretsDirectory, chunk: int) -> list[CreateLine]:
    rows = connection.execute(
        text(
            "select ordinal, award_id, credential_id, cause, person_id, achievement, facts, status_ordinal"
            " from ledger.plan_line where plan_id = :plan and state = 'planned' order by ordinal limit :chunk"
        ),
        {"plan": plan.plan_id, "chunk": chunk},
    ).all()
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
            )
        )
    return lines


def _issue(
    connection: Connection,
    plan: _Plan,
    composer: Composer,
    signer: Signer,
    lines: Sequence[CreateLine],
    run_id: str,
    verify_policy: str,
) -> None:
    signed = [serialize(sign(open_badge_credential(composer.facts(line)), signer, plan.as_of)) for line in lines]
    _check(plan, composer, signer, lines, signed, verify_policy)
    _record(connection, plan, composer, signer, lines, signed, run_id)


def _check(
    plan: _Plan, composer: Composer, signer: Signer, lines: Sequence[CreateLine], signed: Sequence[bytes], policy: str
) -> None:
    """Read every document back; verify every jcs proof, and in full the first of each achievement and a sample."""
    public_key = decode_ed25519_public(signer.public_key_multibase)
    full = set(range(len(lines))) if policy == "all" else _sample(plan.hash, lines)
    for position, (line, data) in enumerate(zip(lines, signed, strict=True)):
        document = json.loads(data)
        compare(document, line, composer)
        unsecured = {member: value for member, value in document.items() if member != "proof"}
        try:
            verify_proof(document, document["proof"][1], public_key)
            if position in full:
                verify_proof(document, document["proof"][0], public_key)
        except ProofError as error:
            raise CheckError(f"credential {line.credential_id}: {error}; nothing of this chunk was recorded") from error
        if position in full and rdfc(unsecured) != rdfc_second_opinion(unsecured):
            raise CheckError(
                f"credential {line.credential_id}: two implementations of RDFC-1.0 disagree about it; nothing of this "
                "chunk was recorded. Look for unusual characters in its achievement or its results"
            )


def _sample(plan_hash: bytes, lines: Sequence[CreateLine]) -> set[int]:
    first_of_achievement = {line.achievement: n for n, line in reversed(list(enumerate(lines)))}
    size = min(len(lines), max(FULLY_VERIFIED_LEAST, round(len(lines) * FULLY_VERIFIED_SHARE)))
    # Seeded by the plan: a repeated run checks the same ones, and nobody can choose which.
    drawn = random.Random(plan_hash + lines[0].credential_id.bytes).sample(range(len(lines)), size)  # noqa: S311
    return {*first_of_achievement.values(), *drawn}


def _record(
    connection: Connection,
    plan: _Plan,
    composer: Composer,
    signer: Signer,
    lines: Sequence[CreateLine],
    signed: Sequence[bytes],
    run_id: str,
) -> None:
    key_id = signer.verification_method.partition("#")[2]
    columns = (
        "credential_id", "award_id", "cause", "public_id", "id_secret_version", "salt_secret_version", "person_id",
        "achievement", "plan_id", "ordinal", "key_id", "list_number", "status_index", "as_of", "awarded_on",
        "valid_until", "document", "document_form", "document_sha256", "run_id",
    )  # fmt: skip
    rows = []
    for line, data in zip(lines, signed, strict=True):
        form, stored = store_document(data)
        rows.append(
            (
                line.credential_id,
                line.award_id,
                line.cause,
                composer.public_id(line.credential_id),
                composer.ids.version,
                composer.salts.version,
                line.person_id,
                line.achievement,
                plan.plan_id,
                line.ordinal,
                key_id,
                line.list_number,
                line.status_index,
                plan.as_of,
                line.facts["awarded_on"],
                line.facts.get("valid_until"),
                stored,
                form,
                hashlib.sha256(data).digest(),
                run_id,
            )
        )
    copy_rows(connection, "ledger.credential", columns, rows)
    ids = [line.credential_id for line in lines]
    copy_rows(connection, "ledger.credential_state", ("credential_id", "state"), ((i, "current") for i in ids))
    copy_rows(
        connection,
        "ledger.event",
        ("credential_id", "seq", "kind", "actor", "run_id"),
        ((i, 1, "issued", "pipeline", run_id) for i in ids),
    )
    copy_rows(
        connection,
        "outbox.message",
        ("message_id", "kind", "credential_id", "person_id"),
        (
            (identifiers.message_id(line.credential_id, "issued"), "issued", line.credential_id, line.person_id)
            for line in lines
        ),
    )
    connection.execute(
        text(
            "update ledger.plan_line set state = 'applied', run_id = :run"
            " where plan_id = :plan and ordinal = any(:ordinals)"
        ),
        {"plan": plan.plan_id, "ordinals": [line.ordinal for line in lines], "run": run_id},
    )

"""Lines that make a credential: build, sign, check, record; a chunk of them at once, in the caller's transaction.

Sign, then check, then record. Belongs here: what happens to the lines of one chunk. Does not belong here: whether the
plan may be applied at all (apply.py) and what a document says (compose.py).
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection

from credential_pipeline.credential import identifiers
from credential_pipeline.credential.canonical import rdfc, rdfc_second_opinion
from credential_pipeline.credential.keys import Signer
from credential_pipeline.credential.many import ManySigner, signer_of_many
from credential_pipeline.credential.multikey import decode_ed25519_public
from credential_pipeline.credential.proof import ProofError, verify_proof
from credential_pipeline.institution.catalogue import Catalogue
from credential_pipeline.issue.compose import CheckError, Composer, CreateLine, compare
from credential_pipeline.issue.states import Move, move
from credential_pipeline.issue.status_blocks import StatusBlock
from credential_pipeline.store.document_form import store_document
from credential_pipeline.store.postgres import copy_rows

FULLY_VERIFIED_SHARE = 0.001
FULLY_VERIFIED_LEAST = 4


@dataclass(frozen=True)
class PlanInHand:
    """An approved plan that is being applied. `catalogue`: as it was when the plan was made."""

    plan_id: UUID
    hash: bytes
    kind: str
    approval: str
    as_of: datetime
    created_by: str
    reason: str | None
    catalogue: Catalogue
    blocks: dict[str, StatusBlock]


@dataclass(frozen=True)
class Signing:
    """A key at an instant, and what it remembers of the credentials it signed: kept from chunk to chunk."""

    signer: Signer
    many: ManySigner

    @classmethod
    def at(cls, signer: Signer, as_of: datetime) -> Signing:
        """A signing that has seen nothing yet."""
        return cls(signer, signer_of_many(signer, as_of))


def issue_lines(
    connection: Connection,
    plan: PlanInHand,
    composer: Composer,
    signing: Signing,
    lines: Sequence[CreateLine],
    run_id: str,
    verify_policy: str,
) -> None:
    """Sign, check and record the credentials of these lines, and retire the versions they take the place of.

    Raises:
        CheckError: a signed document is not what was planned; nothing may be committed.
    """
    signed = [signing.many.credential(composer.facts(line)) for line in lines]
    _check(plan, composer, signing, lines, signed, verify_policy)
    _record(connection, plan, composer, signing.signer, lines, signed, run_id)
    _supersede(connection, plan, lines, run_id)


def _check(
    plan: PlanInHand,
    composer: Composer,
    signing: Signing,
    lines: Sequence[CreateLine],
    signed: Sequence[bytes],
    policy: str,
) -> None:
    """Read every document back; verify every jcs proof, and in full the first of each achievement and a sample."""
    public_key = decode_ed25519_public(signing.signer.public_key_multibase)
    verifier = signing.many.verifier()
    full = set(range(len(lines))) if policy == "all" else _sample(plan.hash, lines)
    for position, (line, data) in enumerate(zip(lines, signed, strict=True)):
        document = json.loads(data)
        compare(document, line, composer)
        unsecured = {member: value for member, value in document.items() if member != "proof"}
        try:
            verifier.verify_proof(document, document["proof"][1], public_key)
            if position in full:
                # By the reference: a second look by the same eyes would be none.
                for proof in document["proof"]:
                    verify_proof(document, proof, public_key)
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
    drawn = random.Random(plan_hash + lines[0].credential_id.bytes).sample(range(len(lines)), size)  # noqa: S311 - not a secret
    return {*first_of_achievement.values(), *drawn}


def _record(
    connection: Connection,
    plan: PlanInHand,
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


def _supersede(connection: Connection, plan: PlanInHand, lines: Sequence[CreateLine], run_id: str) -> None:
    """The version before gives way in the same transaction; the message about the new one tells of it."""
    moves = [
        Move(line.prior_id, "superseded", plan.reason or plan.kind, line.credential_id)
        for line in lines
        if line.prior_id is not None
    ]
    moved = move(connection, moves, actor=plan.created_by, run_id=run_id, tell=False)
    if moved.refused:
        credential, why = next(iter(moved.refused.items()))
        raise CheckError(f"credential {credential} cannot give way to its next version: {why}; nothing was recorded")

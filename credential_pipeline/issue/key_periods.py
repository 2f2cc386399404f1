"""A new signing key, and a key that somebody else may have: decided by a person, written into the ledger's audit log.

A key signs from its start until the next one starts; what it signed stays verifiable. A compromised key signs nothing,
whatever the date, and leaves did.json at the next publication. Belongs here: those two decisions and the list of keys.
Does not belong here: which key signs (store/signing.py) and re-issuing what a key signed (reissue.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, Engine, text

from credential_pipeline.credential.multikey import Algorithm, algorithm_of
from credential_pipeline.errors import Terminal
from credential_pipeline.issue import plans
from credential_pipeline.issue.actions import record_action
from credential_pipeline.issue.plans import ISSUING_LOCK
from credential_pipeline.store.kms import Kms
from credential_pipeline.store.postgres import transaction_lock
from credential_pipeline.store.secrets import USES, SecretsDirectory, SigningKey
from credential_pipeline.store.signing import in_order, key_at, record_keys


@dataclass(frozen=True)
class Key:
    """A key and its period; `credentials`: what it signed, by state. `signs`: it is the one that signs now.

    `algorithm`: Ed25519 signs documents, ES256 and RS256 sign JWTs. `kms_key`: the ARN of a key in AWS KMS.
    """

    key_id: str
    algorithm: str
    public_key_multibase: str
    kms_key: str | None
    valid_from: datetime
    valid_until: datetime | None
    compromised_at: datetime | None
    signs: bool
    credentials: Mapping[str, int]


def key_list(engine: Engine, secrets: SecretsDirectory, now: datetime) -> list[Key]:
    """All keys, the oldest first."""
    newest = [in_order(keys)[-1] for keys in (secrets.signing_keys("key"), secrets.signing_keys("jwt")) if keys]
    signing = {key.key_id for key in newest if key.created <= now and key.compromised_at is None}
    signed: dict[str, dict[str, int]] = {}
    with engine.connect() as connection:
        for key_id, state, number in connection.execute(
            text(
                "select c.key_id, s.state, count(*) from ledger.credential c"
                " join ledger.credential_state s using (credential_id) group by 1, 2 order by 1, 2"
            )
        ):
            signed.setdefault(key_id, {})[state] = number
        rows = connection.execute(
            text(
                "select key_id, algorithm, public_key_multibase, kms_key, valid_from, valid_until, compromised_at"
                " from ledger.signing_key"
                " order by valid_from, key_id"
            )
        ).all()
    return [Key(**row._asdict(), signs=row.key_id in signing, credentials=signed.get(row.key_id, {})) for row in rows]


@dataclass(frozen=True)
class KeyInKms:
    """A key that is in a KMS, and its public half as text."""

    arn: str
    public_key_multibase: str

    @classmethod
    def asked(cls, kms: Kms, arn: str) -> KeyInKms:
        """The key that KMS has; raises Terminal or Transient where it cannot sign here."""
        return cls(arn, kms.public_key(arn))


def rotate_key(
    engine: Engine,
    secrets: SecretsDirectory,
    now: datetime,
    new: Algorithm | KeyInKms = "Ed25519",
    *,
    actor: str,
    reason: str,
    run_id: str,
) -> SigningKey:
    """Make, or take, a key that signs from `now` on; the period of the one before ends, and what it signed stays
    verifiable. There need not be one before.

    Raises:
        Terminal: a key of the same use starts later than that already: two would sign at once; the key in KMS has a
            period already.
    """
    with engine.begin() as connection:
        transaction_lock(connection, ISSUING_LOCK)
        return _rotate(connection, secrets, now, new, actor, reason, run_id)


def _rotate(
    connection: Connection,
    secrets: SecretsDirectory,
    now: datetime,
    new: Algorithm | KeyInKms,
    actor: str,
    reason: str,
    run_id: str,
) -> SigningKey:
    use = USES[algorithm_of(new.public_key_multibase) if isinstance(new, KeyInKms) else new]
    newest = in_order(secrets.signing_keys(use))[-1:]
    _refuse_another_directory(connection, secrets)
    for one in newest:
        if one.created > now:
            raise Terminal(f"{one.key_id} starts at {one.created.isoformat()}, later than a new key would start now")
    if isinstance(new, KeyInKms):
        for known in secrets.all_keys():
            if known.public_key_multibase == new.public_key_multibase:
                raise Terminal(f"{new.arn} is {known.key_id} already: each period has a key of its own")
        key = secrets.adopt_kms_key(now, new.arn, new.public_key_multibase)
    else:
        key = secrets.create_signing_key(now, new)
    record_keys(connection, secrets)
    detail = {"after": newest[0].key_id if newest else None, "algorithm": key.algorithm, "kms_key": key.kms_key}
    record_action(connection, "key_rotated", f"key:{key.key_id}", actor, run_id, reason=reason, detail=detail)
    return key


def _refuse_another_directory(connection: Connection, secrets: SecretsDirectory) -> None:
    here = {key.key_id for key in secrets.all_keys()}
    recorded = connection.scalars(text("select key_id from ledger.signing_key order by valid_from, key_id")).all()
    if missing := [key_id for key_id in recorded if key_id not in here]:
        raise Terminal(
            f"the ledger knows {', '.join(missing)}, which the secrets directory {secrets.path} lacks; restore the "
            "directory this database was used with, or set CREDENTIAL_PIPELINE_SECRETS to it"
        )


@dataclass(frozen=True)
class Compromised:
    """What came of it: the key, the key that signs from now on where this one did, and plans that cannot be signed
    any more and were set aside. `credentials`: current ones that it signed.
    """

    key: SigningKey
    successor: SigningKey | None
    set_aside: tuple[UUID, ...]
    credentials: int


def declare_compromised(
    engine: Engine,
    secrets: SecretsDirectory,
    key_id: str,
    since: datetime,
    now: datetime,
    *,
    actor: str,
    reason: str,
    run_id: str,
) -> Compromised:
    """Let nothing be signed with a key any more; said twice, the earlier instant holds.

    Where it was the key that signs now, the next one is made at once: without a key nothing could be published, and
    did.json would go on vouching for the lost one.

    Raises:
        Terminal: there is no such key, or `since` is in the future or before the key existed; it is in a KMS and no
            other follows it yet.
    """
    keys = {key.key_id: key for key in secrets.all_keys()}
    if key_id not in keys:
        raise Terminal(f"no key {key_id}; there are: {', '.join(keys)}")
    if not keys[key_id].created <= since <= now:
        raise Terminal(
            f"{key_id} cannot be compromised since {since.isoformat()}: it started at "
            f"{keys[key_id].created.isoformat()}, and it is {now.isoformat()} now"
        )
    with engine.begin() as connection:
        transaction_lock(connection, ISSUING_LOCK)
        lost = keys[key_id]
        is_newest = in_order(secrets.signing_keys(lost.use))[-1].key_id == key_id
        if is_newest and lost.kms_key is not None:
            raise Terminal(
                f"{key_id} is in a KMS, where only you can make its successor: `credential-pipeline key rotate --kms "
                "ARN` first, and then this again"
            )
        key = secrets.mark_compromised(key_id, since)
        connection.execute(
            text("update ledger.signing_key set compromised_at = :since where key_id = :key"),
            {"key": key_id, "since": key.compromised_at},
        )
        successor = None
        if is_newest:
            successor = _rotate(connection, secrets, now, lost.algorithm, actor, f"{key_id} is compromised", run_id)
        aside = _set_aside_unsignable(connection, secrets)
        signed = connection.scalar(
            text(
                "select count(*) from ledger.credential c join ledger.credential_state s using (credential_id)"
                " where c.key_id = :key and s.state = 'current'"
            ),
            {"key": key_id},
        )
        record_action(
            connection,
            "key_compromised",
            f"key:{key_id}",
            actor,
            run_id,
            reason=reason,
            detail={"since": since.isoformat(), "current_credentials": signed, "plans_set_aside": len(aside)},
        )
    return Compromised(key, successor, aside, int(signed or 0))


def _set_aside_unsignable(connection: Connection, secrets: SecretsDirectory) -> tuple[UUID, ...]:
    """Plans are dated: one whose key may sign no more can never be finished, and has to be made again."""
    aside = []
    for plan, as_of in connection.execute(
        text("select plan_id, as_of from ledger.plan where state in ('planned', 'approved') order by 1")
    ).all():
        try:
            key_at(secrets, as_of)
        except Terminal:
            plans.set_aside(connection, plan)
            aside.append(plan)
    return tuple(aside)

"""Which key signs at an instant: the newest that had started, unless it is compromised; the first run makes the first.

Keys of documents and keys of JWTs have periods of their own. Periods are recorded in the ledger, private halves stay in
the secrets directory or in a KMS. Does not belong here: deciding that
there is a new key or that one is compromised (issue/key_periods.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise

from sqlalchemy import Connection, Engine, text

from credential_pipeline.credential.keys import Signer, file_signer
from credential_pipeline.errors import Terminal
from credential_pipeline.store.kms import Kms
from credential_pipeline.store.secrets import SecretsDirectory, SigningKey, Use

FOR_USE = {"key": "", "jwt": " for JWTs"}


def ensure_signing_key(engine: Engine, secrets: SecretsDirectory, as_of: datetime, *, jwts: bool = False) -> None:
    """Make the first key, started at `as_of`, if there is none; record in the ledger every key the directory has.

    `jwts`: the first key of JWTs too (ES256).

    What either of the two knows to be compromised is so in both afterwards: one of them may come from a backup.
    """
    secrets.ensure_signing_key(as_of)
    if jwts:
        secrets.ensure_signing_key(as_of, "ES256")
    with engine.begin() as connection:
        record_keys(connection, secrets)


def record_keys(connection: Connection, secrets: SecretsDirectory) -> None:
    """Write down what the ledger lacks of the directory's keys: a key, the end of its period, that it is compromised.

    Raises:
        Terminal: the directory is not the one that this ledger was used with.
    """
    keys = secrets.all_keys()
    recorded = {
        row.key_id: row
        for row in connection.execute(
            text("select key_id, public_key_multibase, valid_until, compromised_at from ledger.signing_key")
        )
    }
    ends = {older.key_id: younger.created for older, younger in pairwise(in_order(keys)) if older.use == younger.use}
    for key in keys:
        known = recorded.get(key.key_id)
        if known is not None and known.public_key_multibase != key.public_key_multibase:
            raise Terminal(
                f"the ledger knows another {key.key_id} than the secrets directory holds; "
                "restore the directory this database was used with, or set CREDENTIAL_PIPELINE_SECRETS to it"
            )
        if known is not None and known.compromised_at and not key.compromised_at:
            secrets.mark_compromised(key.key_id, known.compromised_at)
        wanted = (ends.get(key.key_id), (known.compromised_at if known else None) or key.compromised_at)
        if known is None or (known.valid_until, known.compromised_at) != wanted:
            connection.execute(
                text(
                    "insert into ledger.signing_key as k"
                    " (key_id, algorithm, public_key_multibase, kms_key, valid_from, valid_until, compromised_at)"
                    " values (:id, :algorithm, :public, :kms, :start, :end, :compromised)"
                    " on conflict (key_id) do update set valid_until = coalesce(k.valid_until, excluded.valid_until),"
                    " compromised_at = coalesce(k.compromised_at, excluded.compromised_at)"
                ),
                {
                    "id": key.key_id, "algorithm": key.algorithm, "public": key.public_key_multibase,
                    "kms": key.kms_key, "start": key.created, "end": wanted[0], "compromised": wanted[1],
                },
            )  # fmt: skip


def in_order(keys: Sequence[SigningKey]) -> list[SigningKey]:
    """By use, then by start; of two that start in the same second, the one made later is the later one."""
    return sorted(keys, key=lambda key: (key.use, key.created, key.number))


def key_at(secrets: SecretsDirectory, as_of: datetime, use: Use = "key") -> SigningKey:
    """The newest key of a use that had started at `as_of`.

    An older one does not step in for a key that is compromised: its period is over, and a verifier would refuse what
    it signs after that.

    Raises:
        Terminal: none had (a credential cannot be older than its key), or it is compromised.
    """
    keys = secrets.signing_keys(use)
    started = in_order([key for key in keys if key.created <= as_of])
    if not started:
        first = min((key.created for key in keys), default=None)
        raise Terminal(
            f"no signing key had started at {as_of.isoformat()}{FOR_USE[use]}"
            + (f"; the first starts at {first.isoformat()}: give a later --as-of" if first else "")
        )
    key = started[-1]
    if key.compromised_at is not None:
        raise Terminal(
            f"{key.key_id}, which signed at {as_of.isoformat()}, is compromised: nothing is signed with it. Give a "
            "later --as-of, or make the next key first: `credential-pipeline key rotate`"
        )
    return key


def signer_at(
    secrets: SecretsDirectory, did: str, as_of: datetime, use: Use = "key", *, kms: Kms | None = None
) -> Signer:
    """The signer of the key that signs at `as_of`; `kms` reaches it where it is there."""
    key = key_at(secrets, as_of, use)
    method = f"{did}#{key.key_id}"
    if key.kms_key is not None:
        return (kms or Kms()).signer(key.kms_key, method, key.public_key_multibase)
    return file_signer(key.private_key, method)


def jwt_signer_at(secrets: SecretsDirectory, did: str, as_of: datetime, *, kms: Kms | None = None) -> Signer | None:
    """The signer of JWTs at `as_of`; None while no key of theirs had started, or it is compromised.

    A JWT may be made any time after its credential: what gets none at this instant gets it at a later one.
    """
    started = in_order([key for key in secrets.signing_keys("jwt") if key.created <= as_of])
    if not started or started[-1].compromised_at is not None:
        return None
    return signer_at(secrets, did, as_of, "jwt", kms=kms)

"""Which key signs: the newest that had started at an instant; the first is made by the first run.

Periods are recorded in the ledger, private halves stay in the secrets directory.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Engine, text

from credential_pipeline.credential.keys import Ed25519FileSigner, Signer
from credential_pipeline.errors import Terminal
from credential_pipeline.store.secrets import SecretsDirectory, SigningKey

ALGORITHM = "Ed25519"


def ensure_signing_key(engine: Engine, secrets: SecretsDirectory, as_of: datetime) -> None:
    """Make the first key, started at `as_of`, if there is none; record in the ledger every key the directory has."""
    secrets.ensure_signing_key(as_of)
    keys = secrets.signing_keys()
    with engine.begin() as connection:
        for key in keys:
            connection.execute(
                text(
                    "insert into ledger.signing_key (key_id, algorithm, public_key_multibase, valid_from)"
                    " values (:id, :algorithm, :public, :start) on conflict (key_id) do nothing"
                ),
                {"id": key.key_id, "algorithm": ALGORITHM, "public": key.public_key_multibase, "start": key.created},
            )
            recorded = connection.scalar(
                text("select public_key_multibase from ledger.signing_key where key_id = :id"), {"id": key.key_id}
            )
            if recorded != key.public_key_multibase:
                raise Terminal(
                    f"the ledger knows another {key.key_id} than the secrets directory holds; "
                    "restore the directory this database was used with, or set CREDENTIAL_PIPELINE_SECRETS to it"
                )


def key_at(secrets: SecretsDirectory, as_of: datetime) -> SigningKey:
    """The newest key that had started at `as_of`.

    Raises:
        Terminal: none had; a credential cannot be older than its key.
    """
    keys = secrets.signing_keys()
    started = [key for key in keys if key.created <= as_of]
    if not started:
        first = min((key.created for key in keys), default=None)
        raise Terminal(
            f"no signing key had started at {as_of.isoformat()}"
            + (f"; the first starts at {first.isoformat()}: give a later --as-of" if first else "")
        )
    return max(started, key=lambda key: key.created)


def signer_at(secrets: SecretsDirectory, did: str, as_of: datetime) -> Signer:
    """The signer of the key that signs at `as_of`."""
    key = key_at(secrets, as_of)
    return Ed25519FileSigner(key.private_key, f"{did}#{key.key_id}")

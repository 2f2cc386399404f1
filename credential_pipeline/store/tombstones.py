"""What was erased, as keyed hashes: enough to know it again when a source offers it, and nothing to read.

Belongs here: making the hashes and recognising with them. Does not belong here: erasing (issue/erase.py) and landing
(extract/files.py). Plain hashes would not do: whoever has the database tries all student numbers in a second. The key
of these is the `erasure` secret of the secrets directory, which a dump of the database does not hold.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from sqlalchemy import Connection, text

from credential_pipeline.errors import Terminal
from credential_pipeline.store.secrets import Secret, SecretsDirectory

SECRET: Final = "erasure"  # noqa: S105 - the name of a secret

What = Literal["key", "row"]


def keyed_hash(secret: Secret, what: What, value: bytes) -> bytes:
    """HMAC-SHA-256 (32 bytes) of a source key (UTF-8) or of a row hash."""
    return hmac.digest(secret.value, what.encode() + b"\0" + value, "sha256")


@dataclass(frozen=True)
class Tombstones:
    """The hashes of everything erased, by the version of the secret that made them."""

    by_version: Mapping[int, tuple[Secret, frozenset[bytes]]] = field(default_factory=dict)

    def blind(self, source_key: str | None, row_hash: bytes) -> bytes | None:
        """What an offered row's hash is kept as if it is an erased person's or was erased itself, else None."""
        for secret, digests in self.by_version.values():
            blinded = keyed_hash(secret, "row", row_hash)
            if blinded in digests or (
                source_key is not None and keyed_hash(secret, "key", source_key.encode()) in digests
            ):
                return blinded
        return None


def read_tombstones(connection: Connection, secrets: Callable[[], SecretsDirectory] | None) -> Tombstones | None:
    """All tombstones, None when nothing was ever erased; the secrets directory is opened only when there are some.

    Raises:
        Terminal: something was erased and there is no secrets directory to know it by.
    """
    digests: dict[int, set[bytes]] = {}
    for version, digest in connection.execute(text("select secret_version, digest from ledger.tombstone")):
        digests.setdefault(version, set()).add(bytes(digest))
    if not digests:
        return None
    if secrets is None:
        raise Terminal("persons were erased from this ledger: nothing can be landed without the secrets directory")
    opened = secrets()
    return Tombstones({v: (opened.secret(SECRET, v), frozenset(found)) for v, found in digests.items()})

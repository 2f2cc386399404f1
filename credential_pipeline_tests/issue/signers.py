"""People who sign plans in tests: keys from a seed, signatures as `ssh-keygen -Y sign` makes them.

test_sshsig.py holds these against the real ssh-keygen, byte by byte (Ed25519 signatures are deterministic).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from credential_pipeline.issue.approve import NAMESPACE
from credential_pipeline.issue.sshsig import SshSignature, armored


def wire(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


@dataclass(frozen=True)
class Registrar:
    """Somebody with a key; `roles` as institution.yaml lists them."""

    id: str
    roles: Sequence[str] = ("approver",)

    @property
    def key(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(f"key of {self.id}".encode()).digest())

    @property
    def public(self) -> bytes:
        return self.key.public_key().public_bytes_raw()

    @property
    def private_file(self) -> bytes:
        """What ssh-keygen reads as a private key."""
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())

    @property
    def public_line(self) -> str:
        return self.key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode() + f" {self.id}"

    @property
    def listed(self) -> dict[str, Any]:
        """As `people` of institution.yaml has them."""
        return {"id": self.id, "name": self.id.title(), "roles": list(self.roles), "ssh_public_key": self.public_line}

    def sign(self, message: bytes, *, namespace: str = NAMESPACE, hash_name: str = "sha512") -> str:
        """The armored signature over these bytes."""
        digest = hashlib.new(hash_name, message).digest()
        signed = b"SSHSIG" + b"".join(wire(p) for p in (namespace.encode(), b"", hash_name.encode(), digest))
        return armored(SshSignature(self.public, namespace.encode(), hash_name, self.key.sign(signed)))

    def sign_plan(self, plan_hash: bytes) -> str:
        """The armored signature over a plan's hash."""
        return self.sign(plan_hash.hex().encode())


RITA = Registrar("rita", ("approver",))
OMAR = Registrar("omar", ("approver",))
PIA = Registrar("pia", ("preparer",))
BO = Registrar("bo", ("preparer", "approver"))
STRANGER = Registrar("stranger")
PEOPLE = [one.listed for one in (RITA, OMAR, PIA, BO)]

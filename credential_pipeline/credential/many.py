"""Many documents, one key, one instant: one contract, two implementations.

Belongs here: the contract, its reference implementation, and the choice. Does not belong here: how the other one is
fast. With the files of COMPILED_MODULES deleted everything here does the same, only slower.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Literal, Protocol

from credential_pipeline.credential.document import CredentialFacts, open_badge_credential
from credential_pipeline.credential.keys import Signer
from credential_pipeline.credential.proof import ANY_TIME, BOTH, ProofOptions, sign, verify_proof
from credential_pipeline.credential.text import serialize

Implementation = Literal["compiled", "reference"]

COMPILED_MODULES = (
    "known_shapes",
    "known_facts",
    "shape",
    "slots",
    "compiled",
    "lexical",
    "straight",
    "straight_facts",
    "ties",
    "proof_value",
    "ed25519_check",
)
_COMPILED = f"{__package__}.{COMPILED_MODULES[0]}"


class ManySigner(Protocol):
    """Signs with one key at one instant."""

    def sign(self, document: dict[str, Any]) -> dict[str, Any]:
        """What `proof.sign` returns; raises what it raises."""
        ...

    def serialized(self, document: dict[str, Any]) -> bytes:
        """The same as the bytes that `text.serialize` makes of it."""
        ...

    def credential(self, facts: CredentialFacts) -> bytes:
        """`serialized(open_badge_credential(facts))`; raises what the builder raises."""
        ...

    def credentials(self, facts: Sequence[CredentialFacts]) -> list[bytes]:
        """`credential` of each, in their order; the way to sign a chunk."""
        ...

    def verifier(self) -> ManyVerifier:
        """A verifier for what was signed here."""
        ...


class ManyVerifier(Protocol):
    """Checks proofs; what it knows of one document makes the next one faster."""

    def verify_proof(
        self, document: dict[str, Any], proof: Any, public_key: bytes, options: ProofOptions = ANY_TIME
    ) -> None:
        """What `proof.verify_proof` does; raises what it raises."""
        ...


class ReferenceSigner:
    """Each document by itself."""

    def __init__(self, signer: Signer, created: datetime, suites: Sequence[str] = BOTH) -> None:
        self._signer = signer
        self._created = created
        self._suites = suites

    def sign(self, document: dict[str, Any]) -> dict[str, Any]:
        """`proof.sign`."""
        return sign(document, self._signer, self._created, self._suites)

    def serialized(self, document: dict[str, Any]) -> bytes:
        """`serialize(sign(document))`."""
        return serialize(self.sign(document))

    def credential(self, facts: CredentialFacts) -> bytes:
        """`serialized(open_badge_credential(facts))`."""
        return self.serialized(open_badge_credential(facts))

    def credentials(self, facts: Sequence[CredentialFacts]) -> list[bytes]:
        """`credential` of each."""
        return [self.credential(x) for x in facts]

    def verifier(self) -> ReferenceVerifier:
        """Knows nothing that another one would not."""
        return ReferenceVerifier()


class ReferenceVerifier:
    """Each proof by itself."""

    def verify_proof(
        self, document: dict[str, Any], proof: Any, public_key: bytes, options: ProofOptions = ANY_TIME
    ) -> None:
        """`proof.verify_proof`."""
        verify_proof(document, proof, public_key, options=options)


def implementation() -> Implementation:
    """The faster one that is there."""
    return "compiled" if find_spec(_COMPILED) else "reference"


def signer_of_many(
    signer: Signer, created: datetime, suites: Sequence[str] = BOTH, *, by: Implementation | None = None
) -> ManySigner:
    """A signer for many documents; keep it for a batch, and one a process."""
    if (by or implementation()) == "reference":
        return ReferenceSigner(signer, created, suites)
    made: ManySigner = import_module(_COMPILED).CompiledSigner(signer, created, suites)
    return made


def verifier_of_many(*, by: Implementation | None = None) -> ManyVerifier:
    """A verifier of many proofs; keep it for a batch."""
    if (by or implementation()) == "reference":
        return ReferenceVerifier()
    made: ManyVerifier = import_module(_COMPILED).CompiledVerifier()
    return made


def sign_many(
    documents: Iterable[dict[str, Any]],
    signer: Signer,
    created: datetime,
    suites: Sequence[str] = BOTH,
    *,
    by: Implementation | None = None,
) -> Iterator[bytes]:
    """The bytes of each signed document, in order: `serialize(sign(document, signer, created, suites))`."""
    return map(signer_of_many(signer, created, suites, by=by).serialized, documents)

"""Signing with a key that is far away: many signatures at once, where documents are made one after the other.

Belongs here: making documents twice, so that all their signatures are asked for together. Does not belong here: how
they are asked for (a Signer with `sign_many`), and how a document is made.

The first pass notes what is to be signed, the second finds the signatures. A pass costs 50 us a credential, a signature
in a KMS some milliseconds; whatever makes documents needs to know nothing of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar, runtime_checkable

from credential_pipeline.credential.keys import Signer

T = TypeVar("T")

_NOT_YET = bytes(64)


@runtime_checkable
class FarSigner(Protocol):
    """A signer that is worth asking for many signatures at once."""

    verification_method: str
    public_key_multibase: str

    def sign(self, data: bytes) -> bytes:
        """As Signer has it."""
        ...

    def sign_many(self, data: Sequence[bytes]) -> list[bytes]:
        """The signature of each, in order; raises what `sign` raises."""
        ...


class SignerInFlight:
    """Signs with another signer: one by one, and inside `together` all at once. One thread."""

    def __init__(self, far: FarSigner) -> None:
        self.verification_method = far.verification_method
        self.public_key_multibase = far.public_key_multibase
        self._far = far
        self._wanted: dict[bytes, None] | None = None
        self._signed: dict[bytes, bytes] = {}

    def __repr__(self) -> str:
        return f"SignerInFlight({self._far!r})"

    def sign(self, data: bytes) -> bytes:
        """As Signer has it; in the first pass of `together` 64 zero bytes, which nobody keeps."""
        if data in self._signed:
            return self._signed[data]
        if self._wanted is None:
            return self._far.sign(data)
        self._wanted[data] = None
        return _NOT_YET

    def together(self, make: Callable[[], T]) -> T:
        """What `make` returns, whose signatures are asked for at once; it is called twice and has no effects.

        Raises what `make` and the signer raise.
        """
        self._wanted = {}
        try:
            make()
            wanted = list(self._wanted)
        finally:
            self._wanted = None
        self._signed = dict(zip(wanted, self._far.sign_many(wanted), strict=True))
        try:
            return make()
        finally:
            self._signed = {}


def in_flight(signer: Signer) -> Signer:
    """The signer itself, or, where it is far away, one that `together` can use."""
    return SignerInFlight(signer) if isinstance(signer, FarSigner) else signer


def together(signer: Signer, make: Callable[[], T]) -> T:
    """What `make` returns. Where `signer` came from `in_flight` and is far away, all its signatures are asked for at
    once: `make` is then called twice.
    """
    return signer.together(make) if isinstance(signer, SignerInFlight) else make()

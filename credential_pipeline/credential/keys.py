"""The issuer's Ed25519 key: made, kept as an encrypted PEM, used to sign.

Belongs here: the Signer protocol and its implementation over a key in memory. Does not belong here: where the PEM
lies, where the passphrase comes from, and key periods.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from credential_pipeline.credential.multikey import encode_ed25519_public


class WrongPassphrase(ValueError):
    """The key file cannot be opened with this passphrase. The text never holds the passphrase."""


class KeyFormatError(ValueError):
    """The key file is not an encrypted PEM of an Ed25519 private key."""


class Signer(Protocol):
    """Whatever signs with the issuer's key: a key in memory, a KMS."""

    @property
    def verification_method(self) -> str:
        """The DID URL with fragment under which did.json lists the key."""
        ...

    @property
    def public_key_multibase(self) -> str:
        """The public key as a Multikey text."""
        ...

    def sign(self, data: bytes) -> bytes:
        """The 64-byte Ed25519 signature (RFC 8032 5.1.6) of `data`."""
        ...


class Ed25519FileSigner:
    """Signs with a private key in memory, usually read with `from_encrypted_pem`."""

    def __init__(self, key: Ed25519PrivateKey, verification_method: str) -> None:
        """`verification_method`: the DID URL with fragment, such as `did:web:example.org#key-1`."""
        did, _, fragment = verification_method.partition("#")
        if not did.startswith("did:") or not fragment:
            raise KeyFormatError(f"a verification method is a DID URL with a fragment, not {verification_method!r}")
        self._key = key
        self.sign = _signing(key)
        self.verification_method = verification_method
        self.public_key_multibase = encode_ed25519_public(key.public_key().public_bytes_raw())

    def __repr__(self) -> str:
        return f"Ed25519FileSigner({self.verification_method!r}, {self.public_key_multibase!r})"


def _signing(key: Ed25519PrivateKey) -> Callable[[bytes], bytes]:
    """The 64-byte Ed25519 signature (RFC 8032 5.1.6): by libsodium where PyNaCl is, 19 us instead of OpenSSL's 33."""
    try:
        from nacl.bindings import crypto_sign
    except ImportError:
        return key.sign
    secret = key.private_bytes_raw() + key.public_key().public_bytes_raw()
    return lambda data: crypto_sign(data, secret)[:64]


def generate_ed25519() -> Ed25519PrivateKey:
    """A new private key from the operating system's randomness."""
    return Ed25519PrivateKey.generate()


def to_encrypted_pem(key: Ed25519PrivateKey, passphrase: bytes) -> bytes:
    """The key as PKCS #8 PEM, encrypted with the passphrase; raises KeyFormatError for an empty passphrase."""
    if not passphrase:
        raise KeyFormatError("refusing to write a private key without a passphrase: set one and try again")
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(passphrase))


def from_encrypted_pem(pem: bytes, passphrase: bytes) -> Ed25519PrivateKey:
    """The key in a PEM of `to_encrypted_pem`. Raises WrongPassphrase, or KeyFormatError for anything else."""
    if b"-----BEGIN ENCRYPTED PRIVATE KEY-----" not in pem:
        raise KeyFormatError("not an encrypted private key: expected a PEM block 'ENCRYPTED PRIVATE KEY'")
    if not passphrase:
        raise WrongPassphrase("the signing key is encrypted and no passphrase was given: set it and try again")
    try:
        key = load_pem_private_key(pem, passphrase)
    except (ValueError, TypeError) as cause:
        # A wrong passphrase shows as bad padding or as broken DER inside: both are told alike, and the cause is
        # dropped so that no library text about the decrypted bytes reaches a log.
        if "BEGIN" in str(cause) or "base64" in str(cause).lower():
            raise KeyFormatError("the key file is damaged: restore it from the backup") from None
        raise WrongPassphrase(
            "the signing key does not open with this passphrase: check the passphrase that was set when the key was"
            " made; without it the key cannot be recovered and a new one has to be made"
        ) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyFormatError(f"the key file holds a {type(key).__name__}: an Ed25519 key is needed")
    return key

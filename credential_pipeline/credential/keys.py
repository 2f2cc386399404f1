"""The issuer's keys: made, kept as an encrypted PEM, used to sign. Ed25519 for documents, P-256 and RSA for JWTs.

Belongs here: the Signer protocol and its implementations over a key in memory. Does not belong here: where the PEM
lies, where the passphrase comes from, key periods, and keys in a KMS (store/).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as generate_point
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from credential_pipeline.credential.jwk import RSA_BITS, multibase_of
from credential_pipeline.credential.multikey import Algorithm, encode_ed25519_public

RSA_DEFAULT_BITS = 3072
"""128 bits of security, as the curves have (NIST SP 800-57 part 1, table 2)."""

PrivateKey = Ed25519PrivateKey | EllipticCurvePrivateKey | RSAPrivateKey


class WrongPassphrase(ValueError):
    """The key file cannot be opened with this passphrase. The text never holds the passphrase."""


class KeyFormatError(ValueError):
    """The key file is not an encrypted PEM of a private key of the kind that was asked for."""


class Signer(Protocol):
    """Whatever signs with the issuer's key: a key in memory, a KMS."""

    @property
    def verification_method(self) -> str:
        """The DID URL with fragment under which did.json lists the key."""
        ...

    @property
    def public_key_multibase(self) -> str:
        """The public key as a Multikey text; `multikey.algorithm_of` tells from it how the key signs."""
        ...

    def sign(self, data: bytes) -> bytes:
        """The signature of `data`: Ed25519, 64 bytes (RFC 8032 5.1.6); of a JWT key, as RFC 7518 3.3 and 3.4 have it.

        Raises, where the key is elsewhere:
            Terminal: it may not be used, or not for this.
            Transient: an outage; nothing was signed that anybody has seen.
        """
        ...


class Ed25519FileSigner:
    """Signs documents with a private key in memory, usually read with `from_encrypted_pem`."""

    def __init__(self, key: Ed25519PrivateKey, verification_method: str) -> None:
        """`verification_method`: the DID URL with fragment, such as `did:web:example.org#key-1`."""
        self._key = key
        self.sign = _signing(key)
        self.verification_method = checked_method(verification_method)
        self.public_key_multibase = public_text(key)

    def opener(self) -> OpenEd25519:
        """What opens this signer in another process of ours; it holds the private key: through a pipe, no further."""
        return OpenEd25519(self._key.private_bytes_raw(), self.verification_method)

    def __repr__(self) -> str:
        return f"Ed25519FileSigner({self.verification_method!r}, {self.public_key_multibase!r})"


@dataclass(frozen=True)
class OpenEd25519:
    """A signer on its way to another process."""

    private_key: bytes = field(repr=False)
    verification_method: str

    def __call__(self) -> Ed25519FileSigner:
        """The signer."""
        return Ed25519FileSigner(Ed25519PrivateKey.from_private_bytes(self.private_key), self.verification_method)


class JwtFileSigner:
    """Signs JWTs with a P-256 key (ES256: another signature each time) or an RSA key (RS256) in memory."""

    def __init__(self, key: EllipticCurvePrivateKey | RSAPrivateKey, verification_method: str) -> None:
        """`verification_method`: the DID URL with fragment, such as `did:web:example.org#jwt-1`."""
        self._key = key
        self.verification_method = checked_method(verification_method)
        self.public_key_multibase = public_text(key)

    def sign(self, data: bytes) -> bytes:
        """The JWS signature of `data`: RFC 7518 3.3 (RS256), or r and s in 32 bytes each, 3.4 (ES256)."""
        if isinstance(self._key, RSAPrivateKey):
            return self._key.sign(data, PKCS1v15(), SHA256())
        return raw_ecdsa(self._key.sign(data, ECDSA(SHA256())))

    def __repr__(self) -> str:
        return f"JwtFileSigner({self.verification_method!r}, {self.public_key_multibase!r})"


def file_signer(key: PrivateKey, verification_method: str) -> Signer:
    """The signer of a key in memory."""
    if isinstance(key, Ed25519PrivateKey):
        return Ed25519FileSigner(key, verification_method)
    return JwtFileSigner(key, verification_method)


def raw_ecdsa(der: bytes) -> bytes:
    """r and s of P-256 in 32 bytes each, from the DER of RFC 3279 2.2.3; raises ValueError."""
    try:
        return b"".join(number.to_bytes(32, "big") for number in decode_dss_signature(der))
    except OverflowError as cause:
        raise ValueError("not a signature of P-256: a number has more than 32 bytes") from cause


def checked_method(verification_method: str) -> str:
    """The verification method, if it is a DID URL with a fragment; raises KeyFormatError."""
    did, _, fragment = verification_method.partition("#")
    if not did.startswith("did:") or not fragment:
        raise KeyFormatError(f"a verification method is a DID URL with a fragment, not {verification_method!r}")
    return verification_method


def public_text(key: PrivateKey) -> str:
    """The public half as text (multikey.py); raises KeyFormatError for another curve, or RSA that is too short."""
    if isinstance(key, Ed25519PrivateKey):
        return encode_ed25519_public(key.public_key().public_bytes_raw())
    _refuse_weak(key)
    return multibase_of(key.public_key())


def _refuse_weak(key: EllipticCurvePrivateKey | RSAPrivateKey) -> None:
    if isinstance(key, RSAPrivateKey):
        if key.key_size not in RSA_BITS:
            raise KeyFormatError(
                f"an RSA key of {key.key_size} bits: {RSA_BITS[0]} to {RSA_BITS[-1]} are needed (RFC 7518 3.3)"
            )
    elif not isinstance(key.curve, SECP256R1):
        raise KeyFormatError(f"a key on the curve {key.curve.name}: P-256 is needed (RFC 7518 3.4)")


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


def generate(algorithm: Algorithm, *, rsa_bits: int = RSA_DEFAULT_BITS) -> PrivateKey:
    """A new private key for an algorithm. RSA of 3,072 bits takes about a second."""
    if algorithm == "Ed25519":
        return generate_ed25519()
    if algorithm == "ES256":
        return generate_point(SECP256R1())
    return generate_rsa(65537, rsa_bits)


def to_encrypted_pem(key: PrivateKey, passphrase: bytes) -> bytes:
    """The key as PKCS #8 PEM, encrypted with the passphrase; raises KeyFormatError for an empty passphrase."""
    if not passphrase:
        raise KeyFormatError("refusing to write a private key without a passphrase: set one and try again")
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(passphrase))


def from_encrypted_pem(pem: bytes, passphrase: bytes) -> Ed25519PrivateKey:
    """The Ed25519 key in a PEM of `to_encrypted_pem`. Raises WrongPassphrase, or KeyFormatError for anything else."""
    key = any_from_encrypted_pem(pem, passphrase)
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyFormatError(f"the key file holds a {type(key).__name__}: an Ed25519 key is needed")
    return key


def any_from_encrypted_pem(pem: bytes, passphrase: bytes) -> PrivateKey:
    """The same for a key of any kind that signs here."""
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
    if not isinstance(key, PrivateKey):
        raise KeyFormatError(f"the key file holds a {type(key).__name__}: Ed25519, P-256 or RSA is needed")
    return key

"""Public keys and signatures as text: Multikey and multibase base58btc (Controlled Identifiers 1.0, 2.2.2 and 2.4).

Belongs here: encoding and strict decoding. Does not belong here: private keys, and keys as JSON (jwk.py).
"""

from __future__ import annotations

import re
from typing import Literal

import base58

Algorithm = Literal["Ed25519", "ES256", "RS256"]
"""What a key signs with. Ed25519: the proofs in documents; ES256 and RS256: JWTs (RFC 7518 3.1)."""

_ED25519_PUBLIC = b"\xed\x01"  # multicodec ed25519-pub as a varint
_P256_PUBLIC = b"\x80\x24"  # multicodec p256-pub: the compressed point of SEC 1 2.3.3
_RSA_PUBLIC = b"\x85\x24"  # multicodec rsa-pub: RSAPublicKey of RFC 8017 A.1.1 in DER
_BASE58BTC = re.compile(r"z[1-9A-HJ-NP-Za-km-z]*\Z")
_MAX_CHARACTERS = 1024  # base58 is quadratic; a key has 48 characters (RSA of 4,096 bits: 720) and a signature 89


class MultibaseError(ValueError):
    """A text that is not the multibase or Multikey encoding asked for."""


def encode_base58btc(data: bytes) -> str:
    """`z` + base58btc; every leading zero byte becomes one `1`."""
    return "z" + base58.b58encode(data).decode("ascii")


def decode_base58btc(text: str) -> bytes:
    """The bytes of a multibase base58btc text, leading zero bytes kept. Raises MultibaseError.

    The alphabet is checked here because base58 strips trailing white space: two texts would name one signature.
    """
    if len(text) > _MAX_CHARACTERS or not _BASE58BTC.match(text):
        raise MultibaseError("not multibase base58btc: expected 'z' and characters of the Bitcoin alphabet")
    return bytes(base58.b58decode(text[1:]))


def encode_ed25519_public(raw32: bytes) -> str:
    """The Multikey text (`z6Mk...`) of a raw Ed25519 public key of 32 bytes."""
    if len(raw32) != 32:
        raise MultibaseError(f"an Ed25519 public key has 32 bytes, not {len(raw32)}")
    return encode_base58btc(_ED25519_PUBLIC + raw32)


def decode_ed25519_public(text: str) -> bytes:
    """The raw 32 bytes behind a Multikey text; raises MultibaseError for any other kind of key."""
    data = decode_base58btc(text)
    if len(data) != 34 or data[:2] != _ED25519_PUBLIC:
        raise MultibaseError("not an Ed25519 Multikey: expected the prefix 0xed01 and 32 bytes (z6Mk...)")
    return data[2:]


def encode_p256_public(compressed33: bytes) -> str:
    """The Multikey text (`zDn...`) of a P-256 point, compressed to 33 bytes."""
    if len(compressed33) != 33 or compressed33[0] not in (2, 3):
        raise MultibaseError("a compressed P-256 point has 33 bytes, the first 02 or 03 (SEC 1 2.3.3)")
    return encode_base58btc(_P256_PUBLIC + compressed33)


def decode_p256_public(text: str) -> bytes:
    """The compressed point behind a Multikey text; raises MultibaseError for any other kind of key."""
    data = decode_base58btc(text)
    if len(data) != 35 or data[:2] != _P256_PUBLIC or data[2] not in (2, 3):
        raise MultibaseError("not a P-256 Multikey: expected the prefix 0x8024 and a compressed point (zDn...)")
    return data[2:]


def encode_rsa_public(der: bytes) -> str:
    """The text (`z4MX...`, `zgg...`) of an RSA public key, RSAPublicKey in DER; multicodec has it, Multikey has not."""
    return encode_base58btc(_RSA_PUBLIC + der)


def decode_rsa_public(text: str) -> bytes:
    """The DER behind such a text; raises MultibaseError for any other kind of key."""
    data = decode_base58btc(text)
    if data[:2] != _RSA_PUBLIC:
        raise MultibaseError("not an RSA public key: expected the prefix 0x8524")
    return data[2:]


def algorithm_of(text: str) -> Algorithm:
    """What a key of one of these texts signs with; raises MultibaseError."""
    kinds: dict[bytes, Algorithm] = {_ED25519_PUBLIC: "Ed25519", _P256_PUBLIC: "ES256", _RSA_PUBLIC: "RS256"}
    found = kinds.get(decode_base58btc(text)[:2])
    if found is None:
        raise MultibaseError("neither an Ed25519 Multikey nor a public key of P-256 or RSA")
    return found

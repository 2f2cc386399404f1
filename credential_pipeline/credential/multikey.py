"""Public keys and signatures as text: Multikey and multibase base58btc (Controlled Identifiers 1.0, 2.2.2 and 2.4).

Belongs here: encoding and strict decoding. Does not belong here: private keys, and any other key type.
"""

from __future__ import annotations

import re

import base58

_ED25519_PUBLIC = b"\xed\x01"  # multicodec ed25519-pub as a varint
_BASE58BTC = re.compile(r"z[1-9A-HJ-NP-Za-km-z]*\Z")
_MAX_CHARACTERS = 1024  # base58 is quadratic; a key has 48 characters and a signature 89


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

"""The bitstring of a status list and its text form (Bitstring Status List 1.0, 3.3 and 3.4).

Belongs here: encode, decode, read one bit. Does not belong here: the credential around it, and which index is whose.
"""

from __future__ import annotations

import base64
import re
import zlib
from binascii import a2b_base64
from collections.abc import Iterable, Iterator

LEAST_BITS = 131_072
"""Bitstring Status List 6.1: fewer entries would not hide a holder in a crowd."""

MAX_BYTES = 1 << 20
"""Unpacked: 8 million entries. A list of a million has 125 kB."""

_BASE64URL = re.compile(r"u[A-Za-z0-9_-]+\Z")
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_TO_STANDARD = bytes.maketrans(b"-_", b"+/")
_GZIP_HEAD = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff"
"""RFC 1952 2.3.1: no name, no time, best compression, unknown system (Python versions differ about the last)."""


class StatusListError(ValueError):
    """The list cannot be made, or the text is not a list."""


def encode(length_bits: int, set_indices: Iterable[int]) -> str:
    """The `encodedList` (multibase `u`, base64url of gzip) of a list of `length_bits` with these bits set.

    The same input gives the same bytes: no time stamp in the gzip header. Raises StatusListError.
    """
    if length_bits < LEAST_BITS or length_bits % 8:
        raise StatusListError(f"a list has at least {LEAST_BITS} entries and whole bytes, not {length_bits} (6.1)")
    bits = bytearray(length_bits // 8)
    for index in set_indices:
        if not 0 <= index < length_bits:
            raise StatusListError(f"the index {index} is outside a list of {length_bits} entries")
        bits[index >> 3] |= 0x80 >> (index & 7)  # 3.3: index 0 is the left-most bit
    packer = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    trailer = zlib.crc32(bits).to_bytes(4, "little") + len(bits).to_bytes(4, "little")  # RFC 1952 2.3.1
    packed = b"".join((_GZIP_HEAD, packer.compress(bits), packer.flush(), trailer))
    return "u" + base64.urlsafe_b64encode(packed).decode("ascii").rstrip("=")


def decode(encoded: str, max_bytes: int = MAX_BYTES) -> bytes:
    """The bitstring behind `encodedList`; at most `max_bytes` are unpacked, once. Raises StatusListError.

    Keep what comes back as long as the list is asked: `is_set` on it costs nothing.
    """
    if not _BASE64URL.match(encoded):
        raise StatusListError("encodedList is not multibase base64url: expected 'u' and no padding (3.4)")
    packed = _from_base64url(encoded)
    unpacker = zlib.decompressobj(wbits=31)
    try:
        bits = unpacker.decompress(packed, max_bytes + 1)
    except zlib.error as cause:
        raise StatusListError(f"encodedList is not gzip: {cause}") from cause
    if len(bits) > max_bytes:
        raise StatusListError(f"the list unpacks to more than {max_bytes} bytes: refused")
    if not unpacker.eof or unpacker.unused_data:
        raise StatusListError("the gzip data of encodedList is cut short or followed by something else")
    if len(bits) * 8 < LEAST_BITS:
        raise StatusListError(f"the list has {len(bits) * 8} entries; at least {LEAST_BITS} are required (6.1)")
    return bits


def set_bits(bits: bytes) -> Iterator[int]:
    """The indexes whose bit is set, in order, one at a time."""
    for position, byte in enumerate(bits):
        if byte:
            for bit in range(8):
                if byte & (0x80 >> bit):
                    yield position * 8 + bit


def is_set(bits: bytes, index: int) -> bool:
    """Whether the bit at `index` is set, counted from the left. Raises StatusListError outside the list."""
    if not 0 <= index < len(bits) * 8:
        raise StatusListError(f"the index {index} is outside a list of {len(bits) * 8} entries (3.2)")
    return bool(bits[index >> 3] & (0x80 >> (index & 7)))


def _from_base64url(encoded: str) -> bytes:
    """The bytes behind the text after `u`, of which there is one spelling (RFC 4648 3.5): no bit is left over."""
    left_over = (len(encoded) - 1) % 4
    if left_over == 1:
        raise StatusListError("encodedList is not base64url: its last character stands alone")
    spare = {0: 0, 2: 0b1111, 3: 0b11}[left_over]
    if _ALPHABET.index(encoded[-1]) & spare:
        raise StatusListError("encodedList has spare bits set: it is not canonical base64url (RFC 4648 3.5)")
    return a2b_base64(encoded[1:].encode("ascii").translate(_TO_STANDARD) + b"=" * (-left_over % 4))

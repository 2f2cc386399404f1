"""The bitstring of a status list and its text form (Bitstring Status List 1.0, 3.3 and 3.4).

Belongs here: encode, decode, read one bit. Does not belong here: the credential around it, and which index is whose.
"""

from __future__ import annotations

import base64
import gzip
import re
import zlib
from collections.abc import Iterable

LEAST_BITS = 131_072
"""Bitstring Status List 6.1: fewer entries would not hide a holder in a crowd."""

_BASE64URL = re.compile(r"u[A-Za-z0-9_-]+\Z")


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
    packed = gzip.compress(bytes(bits), compresslevel=9, mtime=0)
    # Byte 9 names the operating system and Python versions differ about it: 255 is "unknown" (RFC 1952 2.3.1).
    packed = packed[:9] + b"\xff" + packed[10:]
    return "u" + base64.urlsafe_b64encode(packed).decode("ascii").rstrip("=")


def decode(encoded: str, max_bytes: int = 1 << 20) -> bytes:
    """The bitstring behind `encodedList`; at most `max_bytes` are unpacked. Raises StatusListError."""
    if not _BASE64URL.match(encoded):
        raise StatusListError("encodedList is not multibase base64url: expected 'u' and no padding (3.4)")
    body = encoded[1:]
    try:
        packed = base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))
    except ValueError as cause:
        raise StatusListError("encodedList is not base64url") from cause
    if base64.urlsafe_b64encode(packed).decode("ascii").rstrip("=") != body:
        raise StatusListError("encodedList has spare bits set: it is not canonical base64url (RFC 4648 3.5)")
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


def is_set(bits: bytes, index: int) -> bool:
    """Whether the bit at `index` is set, counted from the left. Raises StatusListError outside the list."""
    if not 0 <= index < len(bits) * 8:
        raise StatusListError(f"the index {index} is outside a list of {len(bits) * 8} entries (3.2)")
    return bool(bits[index >> 3] & (0x80 >> (index & 7)))

"""A signature as the text of `proofValue` and back: multibase base58btc, eight digits at a time.

Belongs here: the texts that multikey.py makes and takes, in a fifth of its time. Does not belong here: other lengths.
"""

from __future__ import annotations

from credential_pipeline.credential.multikey import MultibaseError

_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_PAIRS = tuple((a + b).encode() for a in _ALPHABET for b in _ALPHABET)
_TWO, _FOUR, _EIGHT = 58**2, 58**4, 58**8
_DIGITS = bytes(_ALPHABET.find(chr(byte)) % 256 for byte in range(256))
"""Byte -> value of the digit, 255 if it is none."""


def encode_proof_value(data: bytes) -> bytes:
    """`multikey.encode_base58btc` eight digits at a time: 4 us for a signature, of which base58 takes 20 to make."""
    number = int.from_bytes(data)
    pairs: list[bytes] = []
    while number:
        number, eight = divmod(number, _EIGHT)
        high, low = eight // _FOUR, eight % _FOUR
        pairs += (_PAIRS[low % _TWO], _PAIRS[low // _TWO], _PAIRS[high % _TWO], _PAIRS[high // _TWO])
    pairs.reverse()
    zeros = len(data) - len(data.lstrip(b"\0"))
    return b"z" + b"1" * zeros + b"".join(pairs).lstrip(b"1")


def decode_proof_value(text: str) -> bytes:
    """`multikey.decode_base58btc` of a text of 64 bytes; raises MultibaseError for any other."""
    if not text.startswith("z") or not 65 <= len(text) <= 89 or not text.isascii():
        raise MultibaseError("not multibase base58btc of 64 bytes")
    digits = text[1:].encode().translate(_DIGITS)
    if max(digits) >= len(_ALPHABET):
        raise MultibaseError("a character that is not of the Bitcoin alphabet")
    number = 0
    for start in range(0, len(digits), 8):
        eight = 0
        chunk = digits[start : start + 8]
        for digit in chunk:
            eight = eight * 58 + digit
        number = number * 58 ** len(chunk) + eight
    zeros = len(digits) - len(text[1:].lstrip("1"))
    data = b"\0" * zeros + number.to_bytes((number.bit_length() + 7) // 8)
    if len(data) != 64:
        raise MultibaseError("not 64 bytes")
    return data

"""Every identifier of the product, computed from its exact inputs (docs/decisions/0001-identifiers-and-time.md).

Belongs here: pure functions from inputs to an identifier. Does not belong here: looking one up, storing one, or
deciding when a new one is due. Changing a line re-keys every credential ever issued.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from array import array
from functools import lru_cache
from uuid import NAMESPACE_OID, UUID, uuid5

import orjson

NAMESPACE = uuid5(NAMESPACE_OID, "credential-pipeline")
STATUS_LIST_LENGTH = 131_072
"""Entries of one status list: the least that Bitstring Status List 6.1 allows, for herd privacy."""


def _name(*parts: str) -> bytes:
    # The same bytes as json.dumps(parts, ensure_ascii=False, separators=(",", ":")), in a tenth of the time.
    return orjson.dumps(parts)


def _uuid5(*parts: str) -> UUID:
    """RFC 9562 5.5, as uuid.uuid5 makes it; a million credentials need two million of them."""
    digest = bytearray(hashlib.sha1(NAMESPACE.bytes + _name(*parts), usedforsecurity=False).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x50
    digest[8] = digest[8] & 0x3F | 0x80
    return UUID(bytes=bytes(digest))


def row_hash(dataset: str, cells: dict[str, str]) -> bytes:
    """SHA-256 (32 bytes) of a row's cells as landed; the order of the columns does not matter."""
    return hashlib.sha256(
        json.dumps([dataset, cells], ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()
    ).digest()


def source_key(source: str, key: str) -> str:
    """`SOURCE:KEY`, the name of a person as one system knows them."""
    return f"{source}:{key}"


def person_id(institution: str, smallest_source_key: str) -> UUID:
    """The person first seen as a cluster of source records, by the smallest of their keys."""
    return _uuid5("person", institution, smallest_source_key)


def award_id(institution: str, person: UUID, achievement: str, occurrence: str) -> UUID:
    """Person x achievement x occurrence; `occurrence` is `once` or the value of the catalogue's `per` column."""
    return _uuid5("award", institution, str(person), achievement, occurrence)


def credential_id(award: UUID, cause: str) -> UUID:
    """One version of an award: `cause` is issue, renewal:YYYY-MM, correction:ID or campaign:ID."""
    return _uuid5("credential", str(award), cause)


def plan_id(institution: str, plan_hash: bytes) -> UUID:
    """The plan with this hash: the same plan made twice is one plan."""
    return _uuid5("plan", institution, plan_hash.hex())


def message_id(credential: UUID, kind: str) -> UUID:
    """The one outbox message of this kind about this credential."""
    return _uuid5("message", str(credential), kind)


_DIGITS = "abcdefghijklmnopqrstuvwxyz234567"
_TWO_DIGITS = [a + b for a in _DIGITS for b in _DIGITS]
_TENS = range(120, -1, -10)


def public_id(id_secret: bytes, credential: UUID) -> str:
    """128 bits nobody can guess, as 26 characters of lower-case base32: safe where file names ignore case."""
    # RFC 4648 6 without padding: 128 bits and two zero bits are 26 digits of 5, here two at a time.
    number = int.from_bytes(hmac.digest(id_secret, credential.bytes, "sha256")[:16]) << 2
    return "".join([_TWO_DIGITS[number >> shift & 1023] for shift in _TENS])


def salt(salt_secret: bytes, credential: UUID, identity_type: str) -> str:
    """The salt of one hashed identifier in one credential: 32 hex digits (Open Badges 3.0 B.1.14 IdentityObject)."""
    return hmac.digest(salt_secret, credential.bytes + identity_type.encode(), "sha256")[:16].hex()


def status_place(status_secret: bytes, purpose: str, position: int) -> tuple[int, int]:
    """(ordinal of the list within its purpose, index in that list) of a reserved position.

    The index is the rank of the position's word in a keyed stream: no two positions of a list share one, and
    neighbours in a plan are not neighbours in the list (Bitstring Status List 5.1, random allocation).
    """
    ordinal, offset = divmod(position, STATUS_LIST_LENGTH)
    return ordinal, _permutation(status_secret, purpose, ordinal)[offset]


@lru_cache(maxsize=8)
def _permutation(status_secret: bytes, purpose: str, ordinal: int) -> array[int]:
    # 8 bytes a word: among 2^17 words a tie has odds of 2^-31, and then the smaller position goes first.
    stream = hashlib.shake_256(status_secret + _name("status", purpose, str(ordinal)))
    words = array("Q")
    words.frombytes(stream.digest(8 * STATUS_LIST_LENGTH))
    if words.itemsize != 8 or array("H", [1]).tobytes() != b"\x01\x00":
        words.byteswap()  # the stream is read as little-endian everywhere
    by_word = sorted(range(STATUS_LIST_LENGTH), key=words.__getitem__)
    ranks = array("I", bytes(4 * STATUS_LIST_LENGTH))
    for rank, offset in enumerate(by_word):
        ranks[offset] = rank
    return ranks

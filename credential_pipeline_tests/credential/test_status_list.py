"""The bitstring of a status list."""

from __future__ import annotations

import base64
import gzip
import random
import tracemalloc

import pytest
from openbadgeslib.ob3.status import decode_encoded_list

from credential_pipeline.credential.status_list import (
    LEAST_BITS,
    StatusListError,
    _from_base64url,
    decode,
    encode,
    is_set,
    set_bits,
)


def text_of(data: bytes) -> str:
    return "u" + base64.urlsafe_b64encode(data).decode().rstrip("=")


@pytest.mark.parametrize("length", [LEAST_BITS, LEAST_BITS * 2])
def test_round_trip(length: int) -> None:
    chosen = set(random.Random(7).sample(range(length), 500)) | {0, length - 1}
    text = encode(length, chosen)
    bits = decode(text)
    assert {i for i in range(length) if is_set(bits, i)} == chosen
    assert decode_encoded_list(text) == bits  # an independent reader sees the same bits


def test_bit_0_is_leftmost() -> None:
    assert decode(encode(LEAST_BITS, [0]))[0] == 0b1000_0000
    assert decode(encode(LEAST_BITS, [7, 8]))[:2] == bytes([0b0000_0001, 0b1000_0000])


def test_same_bits_same_text() -> None:
    assert encode(LEAST_BITS, [5, 3, 5]) == encode(LEAST_BITS, iter((3, 5)))
    header = base64.urlsafe_b64decode(encode(LEAST_BITS, [])[1:] + "==")[:10]
    assert header == b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff"


@pytest.mark.parametrize(
    ("length", "indices"), [(LEAST_BITS - 8, []), (LEAST_BITS + 1, []), (LEAST_BITS, [-1]), (LEAST_BITS, [LEAST_BITS])]
)
def test_what_cannot_be_encoded(length: int, indices: list[int]) -> None:
    with pytest.raises(StatusListError):
        encode(length, indices)


GOOD = encode(LEAST_BITS, [1])
PACKED = gzip.compress(bytes(LEAST_BITS // 8), mtime=0)


def spare_bits() -> str:
    """The same bytes, with a bit set that base64 does not use."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    padded = next(text for i in range(2000) if len(text := encode(LEAST_BITS, range(0, i, 7))) % 4 != 1)
    return padded[:-1] + alphabet[alphabet.index(padded[-1]) + 1]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "multibase"),
        ("u", "multibase"),
        (GOOD[1:], "multibase"),
        ("z" + GOOD[1:], "multibase"),
        (GOOD + "=", "multibase"),
        (GOOD + "\n", "multibase"),
        (GOOD.replace("-", "+").replace("_", "/") + "+", "multibase"),
        ("uA", "base64url"),
        (spare_bits(), "spare bits"),
        (text_of(b"not gzip at all"), "not gzip"),
        (text_of(PACKED[:-4]), "cut short"),
        (text_of(PACKED + b"more"), "followed by"),
        (text_of(gzip.compress(bytes(100), mtime=0)), "at least"),
        (text_of(gzip.compress(bytes(64 << 20), mtime=0)), "more than"),
    ],
)
def test_hostile_lists_are_refused(text: str, reason: str) -> None:
    with pytest.raises(StatusListError, match=reason):
        decode(text)


@pytest.mark.parametrize("index", [-1, LEAST_BITS])
def test_an_index_outside_is_refused(index: int) -> None:
    with pytest.raises(StatusListError, match="outside"):
        is_set(decode(GOOD), index)


def test_a_million_bits_cost_one_buffer_and_their_text() -> None:
    """125 kB of bits: neither side may hold more than a few of them at once."""
    million = 1 << 20
    chosen = random.Random(1).sample(range(million), million // 16)
    peaks = []
    tracemalloc.start()
    text = encode(million, chosen)
    peaks.append(tracemalloc.get_traced_memory()[1])
    tracemalloc.reset_peak()
    bits = decode(text)
    peaks.append(tracemalloc.get_traced_memory()[1])
    tracemalloc.stop()
    assert max(peaks) < 9 * million // 8
    assert all(is_set(bits, index) for index in chosen[:1000])


def test_the_set_bits_in_order() -> None:
    chosen = sorted(random.Random(2).sample(range(LEAST_BITS), 1000))
    assert list(set_bits(decode(encode(LEAST_BITS, chosen)))) == chosen
    assert list(set_bits(decode(encode(LEAST_BITS, [])))) == []


@pytest.mark.parametrize("length", [100, 101, 102])
def test_base64url_has_one_spelling(length: int) -> None:
    """Each change of the last character is refused, whatever is left over there."""
    data = random.Random(length).randbytes(length)
    body = base64.urlsafe_b64encode(data).decode().rstrip("=")
    assert _from_base64url("u" + body) == data
    for other in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_":
        changed = "u" + body[:-1] + other
        try:
            read = _from_base64url(changed)
        except StatusListError:
            continue
        assert base64.urlsafe_b64encode(read).decode().rstrip("=") == changed[1:]

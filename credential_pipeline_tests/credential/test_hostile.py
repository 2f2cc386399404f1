"""Everything that verify reads is hostile."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from credential_pipeline.credential.document import serialize
from credential_pipeline.credential.strict_json import NotStrictJson, parse
from credential_pipeline.credential.verify import Verifier
from credential_pipeline_tests.credential.forms import BASE, FORMS, NOW, Site, public_id, signed, site

SIGNED = serialize(signed(FORMS["honours"])).decode("utf-8")


def positions() -> list[int]:
    """Every position of the proofs, the first and last 40, and 400 of the rest."""
    start = SIGNED.index('"proof":')
    rest = random.Random(20250731).sample(range(40, start), 400)
    return sorted({*range(40), *rest, *range(start, len(SIGNED))})


def other_character(position: int) -> str:
    """A character of the same kind, so that many changes survive parsing, and now and then any at all."""
    chance = random.Random(position)
    kin = next(
        (
            kind
            for kind in ("0123456789", "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ")
            if SIGNED[position] in kind
        ),
        '{}[]":,.-/#$ \n',
    )
    pool = kin if chance.random() < 0.8 else ' \t\n\\"0Zé\x00\u200b🎓'
    return chance.choice([c for c in pool if c != SIGNED[position]])


def test_one_changed_character_anywhere_is_not_valid() -> None:
    verifier = Verifier(site(), NOW)
    assert verifier.verify(SIGNED.encode()).verdict == "valid"
    checked = positions()
    assert len(checked) > 1100
    for position in checked:
        changed = SIGNED[:position] + other_character(position) + SIGNED[position + 1 :]
        report = verifier.verify(changed.encode("utf-8"))
        assert report.verdict not in ("valid", "expired"), (position, changed[max(0, position - 30) : position + 30])
        assert report.reason, position


def test_one_dropped_or_doubled_character_is_not_valid() -> None:
    verifier = Verifier(site(), NOW)
    for position in random.Random(5).sample(range(len(SIGNED)), 200):
        dropped = SIGNED[:position] + SIGNED[position + 1 :]
        doubled = SIGNED[: position + 1] + SIGNED[position:]
        for changed in (dropped, doubled):
            assert verifier.verify(changed.encode("utf-8")).verdict != "valid", position


PIXEL = b"\x89PNG\r\n\x1a\n" + bytes(20)
HOSTILE: list[tuple[str, bytes, str]] = [
    ("nothing", b"", "an empty file"),
    ("half an image", PIXEL, "has no name"),
    ("SVG", b"<svg/>", "carries no credential"),
    ("an array", b"[]", "a JSON array"),
    ("a byte order mark", b"\xef\xbb\xbf" + SIGNED.encode(), "byte order mark"),
    ("UTF-16", SIGNED.encode("utf-16"), "UTF-16"),
    ("not UTF-8", b'{"a":"\xff"}', "not UTF-8"),
    ("a NUL after", SIGNED.encode() + b"\x00", "not JSON"),
    ("two documents", b"{}{}", "not JSON"),
    ("a comment", b"{/**/}", "not JSON"),
    ("a member twice", b'{"id":"a","id":"b"}', "twice"),
    ("a member twice below", b'{"a":[{"x":1,"\\u0078":2}]}', "twice"),
    ("NaN", b'{"a":NaN}', "NaN"),
    ("Infinity", b'{"a":-Infinity}', "Infinity"),
    ("a huge float", b'{"a":1e999}', "IEEE 754"),
    ("a huge integer", b'{"a":' + b"9" * 5000 + b"}", "not JSON"),
    ("half a pair", b'{"a":"\\ud83d"}', "surrogate"),
    ("deep arrays", b'{"a":' + b"[" * 60_000 + b"]" * 60_000 + b"}", "deep"),
    ("deep objects", b'{"a":' * 40_000 + b"1" + b"}" * 40_000, "deep"),
    ("unclosed", b"{" * 100_000, "deep"),
    ("brackets in a string", b'{"a":"' + b"[" * 200 + b'"}', "not an Open Badges"),
    ("too large", b'{"a":"' + b"x" * 300_000 + b'"}', "more than"),
    ("empty object", b"{}", "type does not name"),
]


@pytest.mark.parametrize(("data", "reason"), [h[1:] for h in HOSTILE], ids=[h[0] for h in HOSTILE])
def test_hostile_bytes_are_invalid_with_a_reason(data: bytes, reason: str) -> None:
    report = Verifier(Site(), NOW).verify(data)
    assert report.verdict == "invalid"
    assert reason in report.reason
    assert len(report.reason) < 400


HOSTILE_BODIES = [h[1] for h in HOSTILE] + [
    b'{"id":7}',
    b'{"id":"did:web:badges.example.org","verificationMethod":[[]],"assertionMethod":{}}',
    b'{"id":"did:web:badges.example.org","verificationMethod":[{"id":["a"],"type":"Multikey"}],"assertionMethod":[["a"]]}',
    b'{"id":"did:web:badges.example.org","verificationMethod":[{"id":"detail","type":"Multikey"}],"assertionMethod":["detail"]}',
    b'{"proof":{"cryptosuite":"eddsa-jcs-2022"}}',
    b'{"proof":[{},{}]}',
    b'{"proof":[{"cryptosuite":"eddsa-rdfc-2022"},{"cryptosuite":"eddsa-jcs-2022"}]}',
]
PATHS = ["/.well-known/did.json", "/keys.json", "/status/1.json", f"/state/{public_id(3)}.json"]


@pytest.mark.parametrize("path", PATHS)
def test_hostile_answers_never_raise_and_never_decide_for_the_holder(path: str) -> None:
    for body in HOSTILE_BODIES:
        built = site()
        built.objects[BASE + path] = body
        report = Verifier(built, NOW).verify(SIGNED.encode())
        wanted = {"valid"} if "/state/" in path else {"unknown", "invalid"}
        assert report.verdict in wanted, body[:60]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
MEMBERS = [
    "@context",
    "id",
    "type",
    "issuer",
    "validFrom",
    "credentialSubject",
    "credentialStatus",
    "refreshService",
    "proof",
]


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(member=st.sampled_from(MEMBERS), value=JSON, below=st.booleans())
def test_any_json_in_any_member_gets_a_report(member: str, value: object, below: bool) -> None:
    document = signed(FORMS["least"])
    if below and isinstance(document[member], dict):
        document[member][min(document[member])] = value
    elif below and isinstance(document[member], list):
        document[member][-1] = value
    else:
        document[member] = value
    report = Verifier(site(), NOW).verify(serialize_any(document))
    assert report.verdict == "invalid"
    assert report.reason


def serialize_any(document: dict[str, object]) -> bytes:
    return json.dumps(document).encode()


@pytest.mark.parametrize("text", ['{"a": 1}', ' {"a":\n1}\n', '{"a":"\\u00e9"}'])
def test_white_space_and_escapes_are_json(text: str) -> None:
    assert "a" in parse(text.encode(), 100)


def test_depth_counts_outside_strings_only() -> None:
    parse(b'{"a":"\\"[[[[","b":' + b"[" * 46 + b"]" * 46 + b"}", 1000)
    with pytest.raises(NotStrictJson, match="deep"):
        parse(b'{"b":' + b"[" * 48 + b"]" * 48 + b"}", 1000)

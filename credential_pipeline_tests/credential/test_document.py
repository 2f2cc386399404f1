"""Builders: what they write, and what they refuse with which section."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from credential_pipeline.credential.contexts import OB3, OB3_EXTENSIONS, VC2
from credential_pipeline.credential.document import (
    BuildError,
    HashedIdentifier,
    KeyPeriod,
    StatusEntry,
    achievement_document,
    did_document,
    identity_hash,
    issuer_profile,
    keys_document,
    open_badge_credential,
    published_achievement,
    published_issuer,
    serialize,
    state_document,
    status_list_credential,
)
from credential_pipeline.credential.status_list import LEAST_BITS, encode
from credential_pipeline_tests.credential.building import achieving, crediting, issuing
from credential_pipeline_tests.credential.forms import (
    AS_OF,
    BASE,
    DID,
    FORMS,
    ISSUER,
    NOW,
    RICH,
    SIGNER,
    facts,
)


def test_the_least_credential_in_full() -> None:
    assert open_badge_credential(FORMS["least"]) == {
        "@context": [VC2, OB3, OB3_EXTENSIONS],
        "id": f"{BASE}/credentials/00000000000000000000000000.json",
        "type": ["VerifiableCredential", "OpenBadgeCredential"],
        "name": "Data 101",
        "issuer": {
            "id": DID,
            "type": ["Profile"],
            "name": "Northfield Universität",
            "url": BASE,
            "description": "Teaches.\nExamines.",
            "email": "records@northfield.example.org",
            "image": {"id": f"{BASE}/logo.png", "type": "Image"},
        },
        "validFrom": "2025-07-31T22:00:00Z",
        "awardedDate": "2025-07-15T00:00:00Z",
        "credentialSubject": {
            "type": ["AchievementSubject"],
            "identifier": [
                {
                    "type": "IdentityObject",
                    "identityHash": "sha256$" + hashlib.sha256(b"S0" + b"5a17" * 8).hexdigest(),
                    "identityType": "sourcedId",
                    "hashed": True,
                    "salt": "5a17" * 8,
                }
            ],
            "achievement": {
                "id": f"{BASE}/achievements/data-101.json",
                "type": ["Achievement"],
                "achievementType": "Course",
                "name": "Data 101",
                "description": "The first course.",
                "criteria": {"narrative": "Pass the exam with 60 % or more."},
            },
        },
        "credentialStatus": {
            "id": f"{BASE}/status/1.json#0",
            "type": "BitstringStatusListEntry",
            "statusPurpose": "revocation",
            "statusListIndex": "0",
            "statusListCredential": f"{BASE}/status/1.json",
        },
        "credentialSchema": [
            {
                "id": "https://purl.imsglobal.org/spec/ob/v3p0/schema/json/ob_v3p0_achievementcredential_schema.json",
                "type": "1EdTechJsonSchemaValidator2019",
            }
        ],
        "refreshService": {
            "id": f"{BASE}/state/00000000000000000000000000.json",
            "type": "1EdTechCredentialRefresh",
        },
    }


def test_name_honours_credits_and_results() -> None:
    named = open_badge_credential(FORMS["honours"])["credentialSubject"]
    assert named["identifier"][-1] == {
        "type": "IdentityObject",
        "identityHash": "Grace Hopper",
        "identityType": "name",
        "hashed": False,
    }
    assert [(r["value"], r["resultDescription"]) for r in named["result"]] == [
        ("magna cum laude", f"{RICH.id}#honors"),
        ("Faculty prize", f"{RICH.id}#honors"),
    ]
    credited = open_badge_credential(FORMS["credits"])["credentialSubject"]
    assert (credited["creditsEarned"], credited["term"]) == (2.5, "2024FA")
    assert credited["achievement"]["creditsAvailable"] == 90.5


def test_what_was_done_by_whom_and_in_which_role() -> None:
    subject = open_badge_credential(FORMS["everything"])["credentialSubject"]
    assert subject["id"].startswith("did:key:z6Mk")
    assert (subject["role"], subject["licenseNumber"]) == ("Author", "L-1")
    assert subject["narrative"] == "Wrote a programme.\nPublished it."
    assert subject["activityStartDate"] == "2025-01-07T00:00:00Z"
    assert subject["activityEndDate"] == "2025-06-30T00:00:00Z"
    assert "identifier" not in open_badge_credential(FORMS["holder_only"])["credentialSubject"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (Decimal("3.000"), b"3"),
        (3.0, b"3"),
        (3, b"3"),
        (Decimal("2.5"), b"2.5"),
        (0.1, b"0.1"),
        (0.001, b"0.001"),
        (Decimal(0), b"0"),
        (999_999.999, b"999999.999"),
    ],
)
def test_credits_are_written_as_rfc_8785_writes_them(given: Any, expected: bytes) -> None:
    document = open_badge_credential(facts(credits_earned=given))
    assert b'"creditsEarned":' + expected + b"}" in serialize(document)


@pytest.mark.parametrize("form", FORMS)
def test_no_nulls_no_empty_arrays_and_serialize_is_compact(form: str) -> None:
    document = open_badge_credential(FORMS[form])
    data = serialize(document)
    assert json.loads(data) == document
    assert list(json.loads(data)) == list(document)
    for token in (b"null", b"[]", b"{}", b'": ', b'", "'):
        assert token not in data
    assert b"\\u" not in data


def test_an_instant_elsewhere_is_written_in_utc() -> None:
    local = AS_OF.astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert open_badge_credential(facts(as_of=local))["validFrom"] == "2025-07-31T22:00:00Z"


def test_what_is_published_stands_on_its_own() -> None:
    assert published_achievement(RICH, ISSUER) == {
        "@context": [VC2, OB3],
        **achievement_document(RICH, ISSUER),
        "creator": issuer_profile(ISSUER),
    }
    assert published_issuer(ISSUER) == {"@context": [VC2, OB3], **issuer_profile(ISSUER)}


def test_did_document() -> None:
    other = "z6MkrJVnaZkeFzdQyMZu1cgjg7k1pZZ6pvBQ7XJPt4swbTQ2"
    document = did_document(DID, [("key-1", SIGNER.public_key_multibase, False), ("key-2", other, True)])
    assert document["assertionMethod"] == [f"{DID}#key-2"]
    assert document["verificationMethod"][0] == {
        "id": f"{DID}#key-1",
        "type": "Multikey",
        "controller": DID,
        "publicKeyMultibase": SIGNER.public_key_multibase,
    }
    assert "assertionMethod" not in did_document(DID, [("key-1", SIGNER.public_key_multibase, False)])


def test_keys_and_state_documents() -> None:
    period = KeyPeriod(f"{DID}#key-1", SIGNER.public_key_multibase, AS_OF, NOW, NOW)
    assert keys_document(f"{BASE}/keys.json", DID, [period], AS_OF) == {
        "id": f"{BASE}/keys.json",
        "issuer": DID,
        "keys": [
            {
                "id": f"{DID}#key-1",
                "publicKeyMultibase": SIGNER.public_key_multibase,
                "validFrom": "2025-07-31T22:00:00Z",
                "validUntil": "2025-08-01T09:30:00Z",
                "compromisedAt": "2025-08-01T09:30:00Z",
            }
        ],
        "asOf": "2025-07-31T22:00:00Z",
    }
    assert state_document(
        f"{BASE}/state/1.json", f"{BASE}/credentials/1.json", DID, "superseded", 2, AS_OF, NOW, f"{BASE}/c/2.json", "x"
    ) == {
        "id": f"{BASE}/state/1.json",
        "issuer": DID,
        "credential": f"{BASE}/credentials/1.json",
        "state": "superseded",
        "version": 2,
        "asOf": "2025-07-31T22:00:00Z",
        "validUntil": "2025-08-01T09:30:00Z",
        "supersededBy": f"{BASE}/c/2.json",
        "reason": "x",
    }


def listing(**changes: Any) -> Callable[[], Any]:
    given: dict[str, Any] = {
        "list_url": f"{BASE}/status/1.json",
        "issuer": DID,
        "purpose": "revocation",
        "encoded_list": encode(LEAST_BITS, []),
        "valid_from": AS_OF,
        "valid_until": NOW,
        "ttl_ms": 1000,
    }
    return lambda: status_list_credential(**(given | changes))


def stating(**changes: Any) -> Callable[[], Any]:
    given: dict[str, Any] = {
        "state_url": f"{BASE}/state/1.json",
        "credential_url": f"{BASE}/credentials/1.json",
        "issuer_did": DID,
        "state": "current",
        "version": 1,
        "as_of": AS_OF,
        "valid_until": NOW,
    }
    return lambda: state_document(**(given | changes))


REFUSALS: list[tuple[str, Callable[[], Any], str]] = [
    ("empty name", achieving(name=""), "achievement.name is empty"),
    ("blank name", achieving(name=" \u2003"), "achievement.name is empty"),
    ("control", crediting(name="a\x07b"), r"U\+0007.*RFC 7493"),
    ("line feed in a name", crediting(name="a\nb"), r"U\+000A"),
    ("tab in a narrative", achieving(criteria_narrative="a\tb"), r"U\+0009"),
    ("delete", crediting(name="a\x7f"), r"U\+007F"),
    ("C1 control", crediting(name="a\x85"), r"U\+0085"),
    ("U+FFFE", crediting(name="a\ufffe"), r"U\+FFFE"),
    ("U+FFFF", crediting(term="a\uffff"), r"U\+FFFF"),
    ("noncharacter", crediting(term="a\U0010ffff"), r"U\+10FFFF"),
    ("lone surrogate", crediting(name="a\ud83d"), r"U\+D83D"),
    ("relative id", crediting(url="credentials/1.json"), "absolute IRI"),
    ("id with a space", crediting(url=f"{BASE}/a b"), "absolute IRI"),
    ("id with a quote", crediting(url=f'{BASE}/a"b'), "absolute IRI"),
    ("urn as URL", crediting(url="urn:uuid:1"), r"http\(s\) URL"),
    ("URL without host", crediting(refresh_url="https:///x"), "absolute IRI"),
    ("two fragments", crediting(url=f"{BASE}/a#b#c"), "absolute IRI"),
    ("half an escape", crediting(url=f"{BASE}/a%2"), "absolute IRI"),
    ("port that is none", crediting(url="https://x.example:y/a"), "absolute IRI"),
    ("brackets in a path", crediting(url=f"{BASE}/[a]"), "absolute IRI"),
    ("list with a fragment", crediting(status=StatusEntry(f"{BASE}/status/1.json#x", 1, "revocation")), "own URL"),
    ("issuer not a DID", issuing(id="https://badges.example.org"), "did:web"),
    ("issuer with fragment", issuing(id=f"{DID}#key-1"), "did:web"),
    ("issuer with dots", issuing(id="did:web:x.example:..:y"), "did:web"),
    ("email", issuing(email="nobody"), "issuer.email"),
    ("image", issuing(image="logo.png"), "issuer.image"),
    ("naive instant", crediting(as_of=datetime(2025, 7, 31)), "no time zone"),  # noqa: DTZ001 - what is refused
    ("fraction", crediting(as_of=AS_OF.replace(microsecond=1)), "fraction of a second"),
    ("naive end", crediting(valid_until=datetime(2099, 1, 1)), "no time zone"),  # noqa: DTZ001 - what is refused
    ("awarded later", crediting(awarded_on=date(2025, 8, 1)), "awardedDate.*after validFrom"),
    ("awarded at an instant", crediting(awarded_on=AS_OF), "a day is needed"),
    ("ends at its start", crediting(valid_until=AS_OF), "not after validFrom"),
    ("no identifier", crediting(identifiers=()), "B.1 AchievementSubject"),
    (
        "identifier type",
        crediting(identifiers=(HashedIdentifier("email", "a", "b"),)),
        "identityType is .email.: use ext:NAME",
    ),
    ("empty identifier", crediting(identifiers=(HashedIdentifier("sourcedId", "", "b"),)), "sourcedId is empty"),
    ("no salt", crediting(identifiers=(HashedIdentifier("sourcedId", "a", ""),)), "salt is empty"),
    ("four decimals", crediting(credits_earned=Decimal("2.0001")), "at most 3 decimals"),
    ("NaN", crediting(credits_earned=float("nan")), "finite"),
    ("infinite", crediting(credits_earned=Decimal("Infinity")), "finite"),
    ("negative", crediting(credits_earned=-1), "from 0"),
    ("too many", crediting(credits_earned=1_000_000), "from 0"),
    ("credits text", achieving(credits_available="three"), "a number is needed"),
    ("achievement type", achieving(achievement_type="Kurs"), "ext:NAME"),
    ("language", achieving(in_language="english"), "BCP 47"),
    ("no criteria", achieving(criteria_narrative=None), "criteria has neither"),
    ("relative achievement", achieving(id="achievements/1"), "achievement.id"),
    ("same tag", achieving(tags=("a", "a")), "twice"),
    ("ends before it begins", crediting(activity=(date(2025, 2, 1), date(2025, 1, 1))), "activityEndDate"),
    ("holder", crediting(holder="ada"), "credentialSubject.id"),
    ("tab in what was done", crediting(narrative="a\tb"), r"U\+0009"),
    ("purpose", crediting(status=StatusEntry(f"{BASE}/status/1.json", 1, "message")), "statusPurpose"),
    ("index", crediting(status=StatusEntry(f"{BASE}/status/1.json", -1, "revocation")), "counts from 0"),
    ("list purpose", listing(purpose="refresh"), "statusPurpose"),
    ("ttl in seconds", listing(ttl_ms=0.5), "milliseconds"),
    ("no ttl", listing(ttl_ms=0), "milliseconds"),
    ("raw list", listing(encoded_list="H4sI"), "encodedList"),
    ("list period", listing(valid_until=AS_OF), "not after"),
    ("list issuer", listing(issuer="northfield"), "did:web"),
    ("state", stating(state="valid"), "not one of"),
    ("state version", stating(version=0), "counts from 1"),
    ("superseded by nothing", stating(state="superseded"), "superseded_by"),
    ("current and superseded", stating(superseded_by=f"{BASE}/credentials/2.json"), "superseded_by"),
    ("did without keys", lambda: did_document(DID, []), "at least one"),
    ("private key in did", lambda: did_document(DID, [("key-1", "z3u2en7t5LR2", True)]), "Ed25519 Multikey"),
    ("no keys", lambda: keys_document(f"{BASE}/keys.json", DID, [], AS_OF), "at least one"),
    (
        "a stranger's key",
        lambda: keys_document(
            f"{BASE}/keys.json", DID, [KeyPeriod("did:web:x.example#1", SIGNER.public_key_multibase, AS_OF)], AS_OF
        ),
        "not one of",
    ),
]


@pytest.mark.parametrize(("build", "reason"), [(b, r) for _, b, r in REFUSALS], ids=[n for n, _, _ in REFUSALS])
def test_what_a_standard_refuses_is_refused(build: Callable[[], Any], reason: str) -> None:
    with pytest.raises(BuildError, match=reason):
        build()


@pytest.mark.parametrize("value", [{"a": float("nan")}, {"a": "\ud800"}, {"a": {1, 2}}])
def test_serialize_refuses_what_is_not_json(value: dict[str, Any]) -> None:
    with pytest.raises(BuildError):
        serialize(value)


def test_identity_hash_is_that_of_the_standard() -> None:
    """Open Badges 3.0: the salt is appended to the identifier before hashing."""
    assert identity_hash("a@example.com", "KosherSalt") == (
        "sha256$" + hashlib.sha256(b"a@example.comKosherSalt").hexdigest()
    )


def test_every_year_has_four_digits() -> None:
    early = facts(as_of=datetime(2025, 1, 1, tzinfo=UTC), awarded_on=date(987, 1, 1))
    assert open_badge_credential(early)["awardedDate"] == "0987-01-01T00:00:00Z"

"""The reader's side: every verdict, and what each document out of reach means."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from credential_pipeline.credential.document import (
    BuildError,
    KeyPeriod,
    did_document,
    keys_document,
    open_badge_credential,
    serialize,
)
from credential_pipeline.credential.keys import Ed25519FileSigner
from credential_pipeline.credential.proof import JCS, RDFC, sign
from credential_pipeline.credential.status_list import encode
from credential_pipeline.credential.verify import Report, Verifier, did_web_url, verify
from credential_pipeline_tests.credential.forms import (
    AS_OF,
    BASE,
    DID,
    FORMS,
    NOW,
    SIGNER,
    Site,
    facts,
    keys,
    public_id,
    signed,
    site,
    state,
    status_list,
)

OTHER = Ed25519FileSigner(Ed25519PrivateKey.from_private_bytes(bytes(31) + b"\x01"), f"{DID}#key-1")
STATE_0 = f"/state/{public_id(0)}.json"


def checks(report: Report) -> dict[str, str]:
    return {check.name: check.outcome for check in report.checks}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_valid(form: str) -> None:
    report = verify(serialize(signed(FORMS[form])), site(), NOW)
    assert (report.verdict, set(checks(report).values())) == ("valid", {"pass"}), report.reason
    assert list(checks(report)) == [
        "kind",
        "parse",
        "contexts",
        "schema",
        "issuer",
        f"proof {JCS}",
        f"proof {RDFC}",
        "key period",
        "dates",
        "status",
        "state",
    ]
    assert json.loads(json.dumps(report.as_dict()))["verdict"] == "valid"
    assert {len(sha256) for sha256 in report.checks[2].evidence.values()} == {64}
    assert len(report.checks[2].evidence) == 3


def world(path: str, document: dict[str, Any] | None) -> Site:
    built = site()
    if document is None:
        del built.objects[BASE + path]
    else:
        built.put(path, document)
    return built


def forged(document: dict[str, Any]) -> dict[str, Any]:
    suites = (JCS,) if "@context" not in document else (RDFC, JCS)
    return sign(document, OTHER, AS_OF, suites=suites)


PAST = NOW - timedelta(seconds=1)
OTHER_KEY_DID = did_document(DID, [("key-1", OTHER.public_key_multibase, True)])
SITES: list[tuple[str, str, dict[str, Any] | None, str, str, str, str]] = [
    # name, path, document, verdict, check, outcome, reason
    ("revoked", "/status/1.json", status_list(1, "revocation", (0,)), "revoked", "status", "fail", "revoked"),
    ("a neighbour is revoked", "/status/1.json", status_list(1, "revocation", (1,)), "valid", "status", "pass", "hold"),
    ("no list", "/status/1.json", None, "unknown", "status", "unknown", "out of reach"),
    ("stale list", "/status/1.json", status_list(1, "revocation", until=PAST), "unknown", "status", "unknown", "stale"),
    ("forged list", "/status/1.json", forged(status_list(1, "revocation")), "unknown", "status", "unknown", "believed"),
    ("another list", "/status/1.json", status_list(2, "revocation"), "unknown", "status", "unknown", "id is"),
    ("another purpose", "/status/1.json", status_list(1, "suspension"), "unknown", "status", "unknown", "suspension"),
    ("no state", STATE_0, None, "valid", "state", "warn", "hold"),
    ("stale state", STATE_0, state(0, until=PAST), "valid", "state", "warn", "hold"),
    ("forged state", STATE_0, forged(state(0, "revoked")), "valid", "state", "warn", "hold"),
    ("another's state", STATE_0, state(1), "valid", "state", "warn", "hold"),
    (
        "superseded",
        STATE_0,
        state(0, "superseded", by=f"{BASE}/credentials/9.json"),
        "superseded",
        "state",
        "fail",
        "9",
    ),
    ("state revoked", STATE_0, state(0, "revoked"), "revoked", "state", "fail", "revoked"),
    ("state suspended", STATE_0, state(0, "suspended"), "suspended", "state", "fail", "suspended"),
    ("withdrawn", STATE_0, state(0, "withdrawn"), "revoked", "state", "fail", "withdrawn"),
    ("no did.json", "/.well-known/did.json", None, "unknown", "issuer", "unknown", "out of reach"),
    ("did.json of another", "/.well-known/did.json", {"id": "did:web:x.example"}, "invalid", "issuer", "fail", "id is"),
    ("another key", "/.well-known/did.json", OTHER_KEY_DID, "invalid", f"proof {JCS}", "fail", "does not match"),
    (
        "key withdrawn",
        "/.well-known/did.json",
        did_document(DID, [("key-1", SIGNER.public_key_multibase, False)]),
        "invalid",
        f"proof {JCS}",
        "fail",
        "not in the assertionMethod",
    ),
    ("no keys.json", "/keys.json", None, "valid", "key period", "warn", "hold"),
    ("forged keys.json", "/keys.json", forged(keys()), "unknown", "key period", "unknown", "believed"),
    (
        "key ended",
        "/keys.json",
        keys(valid_until=AS_OF - timedelta(1)),
        "invalid",
        "key period",
        "fail",
        "after the key",
    ),
    ("key ended since", "/keys.json", keys(valid_until=AS_OF), "valid", "key period", "pass", "hold"),
    ("compromised", "/keys.json", keys(compromised_at=NOW), "invalid", "key period", "fail", "compromised"),
    (
        "key starts later",
        "/keys.json",
        sign(
            keys_document(
                f"{BASE}/keys.json", DID, [KeyPeriod(f"{DID}#key-1", SIGNER.public_key_multibase, NOW)], AS_OF
            ),
            SIGNER,
            AS_OF,
            suites=(JCS,),
        ),
        "invalid",
        "key period",
        "fail",
        "before the key",
    ),
]


@pytest.mark.parametrize(
    ("path", "document", "verdict", "check", "outcome", "reason"), [s[1:] for s in SITES], ids=[s[0] for s in SITES]
)
def test_what_the_site_says_decides(
    path: str, document: dict[str, Any] | None, verdict: str, check: str, outcome: str, reason: str
) -> None:
    report = verify(serialize(signed(FORMS["least"])), world(path, document), NOW)
    assert (report.verdict, checks(report)[check]) == (verdict, outcome), report
    assert reason in report.reason


def test_suspended() -> None:
    given = FORMS["suspendable"]
    built = world("/status/2.json", status_list(2, "suspension", (given.status.index,)))
    assert verify(serialize(signed(given)), built, NOW).verdict == "suspended"


def test_superseded_tells_more_than_revoked() -> None:
    built = world("/status/1.json", status_list(1, "revocation", (0,)))
    built.put(STATE_0, state(0, "superseded", by=f"{BASE}/credentials/9.json"))
    assert verify(serialize(signed(FORMS["least"])), built, NOW).verdict == "superseded"


@pytest.mark.parametrize(
    ("now", "verdict"),
    [
        (AS_OF - timedelta(seconds=1), "invalid"),
        (AS_OF, "valid"),
        (datetime(2025, 8, 1, tzinfo=UTC), "valid"),
        (datetime(2025, 8, 1, 0, 0, 1, tzinfo=UTC), "expired"),
    ],
)
def test_dates(now: datetime, verdict: str) -> None:
    given = facts(0, valid_until=datetime(2025, 8, 1, tzinfo=UTC))
    assert verify(serialize(signed(given)), site(), now).verdict == verdict


def test_expired_is_known_even_when_the_status_is_not() -> None:
    given = facts(0, valid_until=datetime(2025, 8, 1, tzinfo=UTC))
    assert verify(serialize(signed(given)), world("/status/1.json", None), NOW).verdict == "expired"


def resigned(change: Callable[[dict[str, Any]], Any]) -> bytes:
    document = open_badge_credential(FORMS["least"])
    change(document)
    return serialize(sign(document, SIGNER, AS_OF))


def edited(change: Callable[[dict[str, Any]], Any]) -> bytes:
    document = signed(FORMS["least"])
    change(document)
    return serialize(document)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (resigned(lambda d: d["@context"].reverse()), "in this order"),
        (edited(lambda d: d.update(type=["VerifiableCredential", "NameCredential"])), "type does not name"),
        (edited(lambda d: d["type"].append("ClrCredential")), "type does not name"),
        (edited(lambda d: d["@context"].append({"grade": "https://x.example/grade"})), "inline"),
        (edited(lambda d: d["@context"].insert(1, d["@context"][2])), "in this order"),
        (resigned(lambda d: d.update(issuer=DID)), "issuer is not an object"),
        (resigned(lambda d: d["issuer"].update(id="did:key:z6Mk")), "not a did:web"),
        (resigned(lambda d: d.update(credentialStatus=[d["credentialStatus"]])), "credentialStatus is not an object"),
        (resigned(lambda d: d["credentialStatus"].update(statusListIndex="-1")), "statusListIndex"),
        (resigned(lambda d: d["credentialStatus"].update(statusListIndex="01")), "statusListIndex"),
        (resigned(lambda d: d["credentialStatus"].update(statusSize=True)), "statusSize"),
        (resigned(lambda d: d.update(validUntil="2025-07-31T21:59:59Z")), "before validFrom"),
        (resigned(lambda d: d.update(validFrom="2025-07-31T22:00:00")), "dateTimeStamp"),
        (resigned(lambda d: d.update(validFrom="2025-02-30T22:00:00Z")), "dateTimeStamp"),
        (edited(lambda d: d.pop("proof")), "exactly two proofs"),
        (edited(lambda d: d.update(proof=d["proof"][0])), "exactly two proofs"),
        (edited(lambda d: d["proof"].pop()), "exactly two proofs"),
        (edited(lambda d: d["proof"].reverse()), "exactly two proofs"),
        (edited(lambda d: d["proof"].append(d["proof"][1])), "exactly two proofs"),
        (edited(lambda d: d["proof"][0].update(d["proof"][1])), "exactly two proofs"),
        (edited(lambda d: d["proof"][1].update(created="2025-07-31T21:00:00Z")), "differ in created"),
        (edited(lambda d: d["proof"][0].update(proofValue=d["proof"][1]["proofValue"])), "does not match"),
        (edited(lambda d: d.update(evil="x")), "does not match"),
    ],
)
def test_what_is_not_ours_is_invalid_with_the_reason(data: bytes, reason: str) -> None:
    report = verify(data, site(), NOW)
    assert report.verdict == "invalid"
    assert reason in report.reason


def test_a_member_that_rdf_drops_is_refused_even_when_jcs_signs_it() -> None:
    document = open_badge_credential(FORMS["least"])
    proofs = sign(document, SIGNER, AS_OF)["proof"]
    document["grade"] = "A"
    jcs_proof = sign(document, SIGNER, AS_OF, suites=(JCS,))["proof"][0]
    report = verify(serialize(document | {"proof": [proofs[0], jcs_proof]}), site(), NOW)
    assert report.verdict == "invalid"
    assert "grade" in report.reason


def test_the_site_of_another_issuer_does_not_vouch() -> None:
    """A stranger signs a credential in the name of DID with a key of the stranger's own did.json."""
    stranger = Ed25519FileSigner(OTHER._key, "did:web:evil.example#key-1")
    data = serialize(sign(open_badge_credential(FORMS["least"]), stranger, AS_OF))
    built = site()
    built.objects["https://evil.example/.well-known/did.json"] = serialize(
        did_document("did:web:evil.example", [("key-1", stranger.public_key_multibase, True)])
    )
    report = verify(data, built, NOW)
    assert report.verdict == "invalid"
    assert "assertionMethod" in report.reason


def _list_with(**changes: Any) -> dict[str, Any]:
    document = {k: v for k, v in status_list(1, "revocation", (0,)).items() if k != "proof"}
    document["credentialSubject"] |= changes
    return sign(document, SIGNER, AS_OF)


@pytest.mark.parametrize(
    ("purpose", "verdict"),
    [
        (["suspension", "revocation"], "revoked"),
        (["suspension"], "unknown"),
        ([], "unknown"),
        (7, "unknown"),
        ([7], "unknown"),
    ],
)
def test_a_list_may_be_for_several_purposes(purpose: Any, verdict: str) -> None:
    try:
        built = world("/status/1.json", _list_with(statusPurpose=purpose))
    except ValueError:  # what has no canonical form cannot be signed, so it is not believed either
        built = world(
            "/status/1.json", status_list(1, "revocation") | {"credentialSubject": {"statusPurpose": purpose}}
        )
    assert verify(serialize(signed(FORMS["least"])), built, NOW).verdict == verdict


def test_how_fresh_the_list_is_is_evidence() -> None:
    report = verify(serialize(signed(FORMS["least"])), site(), NOW)
    (check,) = [check for check in report.checks if check.name == "status"]
    assert check.evidence["ttl"] == "3600000"
    assert check.evidence["validUntil"] == "2025-08-01T10:30:00Z"


def test_a_credential_without_a_status_list_is_valid_and_says_so() -> None:
    report = verify(resigned(lambda d: d.pop("credentialStatus")), site(), NOW)
    assert (report.verdict, checks(report)["status"]) == ("valid", "warn")
    report = verify(resigned(lambda d: d.pop("refreshService")), site(), NOW)
    assert report.verdict == "valid"
    assert "state" not in checks(report)


def test_an_index_outside_the_list_is_unknown() -> None:
    data = resigned(lambda d: d["credentialStatus"].update(statusListIndex="131072"))
    assert verify(data, site(), NOW).verdict == "unknown"


def test_keys_and_lists_are_asked_for_once() -> None:
    built = site()
    verifier = Verifier(built, NOW)
    data = [serialize(signed(given)) for given in FORMS.values()]
    assert {verifier.verify(one).verdict for one in data * 2} == {"valid"}
    once = [url for url in built.asked if "/state/" not in url]
    assert sorted(once) == sorted(set(once))
    assert len(once) == 4


def test_what_is_out_of_reach_is_asked_for_once_too() -> None:
    built = world("/status/1.json", None)
    verifier = Verifier(built, NOW)
    for _ in range(3):
        assert verifier.verify(serialize(signed(FORMS["least"]))).verdict == "unknown"
    assert built.asked.count(f"{BASE}/status/1.json") == 1


def test_a_bomb_in_the_status_list_is_unknown() -> None:
    document = {k: v for k, v in status_list(1, "revocation").items() if k != "proof"}
    document["credentialSubject"]["encodedList"] = encode(64 << 20, [])
    report = verify(serialize(signed(FORMS["least"])), world("/status/1.json", sign(document, SIGNER, AS_OF)), NOW)
    assert report.verdict == "unknown"
    assert "more than" in report.reason


@pytest.mark.parametrize(
    ("did", "url"),
    [
        ("did:web:example.org", "https://example.org/.well-known/did.json"),
        ("did:web:localhost%3A8443", "https://localhost:8443/.well-known/did.json"),
        ("did:web:example.org:a:b", "https://example.org/a/b/did.json"),
        ("did:web:example.org%3A3000:user:alice", "https://example.org:3000/user/alice/did.json"),
    ],
)
def test_did_web_url(did: str, url: str) -> None:
    assert did_web_url(did) == url


@pytest.mark.parametrize(
    "did",
    [
        "did:key:z6Mk",
        "did:web:",
        "did:web:a.example:..",
        "did:web:a.example:%2e%2e:x",
        "did:web:a.example:x%2Fy",
        "did:web:a.example%2Fevil",
        "did:web:a.example:",
        "did:web:user@a.example",
        "did:web:a.example#key-1",
        "did:web:a.example?x=y",
        "did:web:a.example\n",
    ],
)
def test_did_web_url_refuses(did: str) -> None:
    with pytest.raises(BuildError):
        did_web_url(did)


def test_a_path_below_the_host_has_its_own_keys_json() -> None:
    did = f"{DID}:northfield"
    signer = Ed25519FileSigner(SIGNER._key, f"{did}#key-1")
    document = open_badge_credential(FORMS["least"])
    document["issuer"]["id"] = did
    built = Site()
    built.put("/northfield/did.json", did_document(did, [("key-1", signer.public_key_multibase, True)]))
    verify(serialize(sign(document, signer, AS_OF)), built, NOW)
    assert f"{BASE}/northfield/keys.json" in built.asked


def test_a_clock_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        Verifier(site(), datetime(2025, 8, 1))  # noqa: DTZ001 - what is refused

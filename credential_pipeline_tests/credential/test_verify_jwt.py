"""A credential as a JWT: the same checks and verdicts as for one with embedded proofs."""

from __future__ import annotations

import base64
import json
import random
from typing import Any, Literal

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, derive_private_key
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key

from credential_pipeline.credential.baked import bake
from credential_pipeline.credential.document import did_document, open_badge_credential
from credential_pipeline.credential.jwk import jwk_of
from credential_pipeline.credential.jwt import sign_jwt
from credential_pipeline.credential.keys import JwtFileSigner
from credential_pipeline.credential.proof import JCS, sign
from credential_pipeline.credential.report import Report
from credential_pipeline.credential.verify import Verifier
from credential_pipeline_tests.credential.forms import (
    AS_OF,
    BASE,
    DID,
    FORMS,
    NOW,
    SIGNER,
    Site,
    facts,
    public_id,
    signed,
    site,
    state,
    status_list,
)
from credential_pipeline_tests.credential.test_baked import PNG, SVGS
from credential_pipeline_tests.credential.test_embedded import record

Algorithm = Literal["ES256", "RS256"]
POINT = JwtFileSigner(derive_private_key(7**80, SECP256R1()), f"{DID}#jwt-1")
STRANGER = JwtFileSigner(derive_private_key(7**81, SECP256R1()), f"{DID}#jwt-1")


@pytest.fixture(scope="module")
def rsa() -> JwtFileSigner:
    key: RSAPrivateKey = generate_private_key(65537, 2048)
    return JwtFileSigner(key, f"{DID}#jwt-2")


def world(*signers: JwtFileSigner, **period: Any) -> Site:
    """The site of forms.py, whose issuer signs JWTs with `signers` too; `period` goes into keys.json."""
    built = site()
    did = did_document(DID, [("key-1", SIGNER.public_key_multibase, True)])
    keys = [
        {"id": f"{DID}#key-1", "publicKeyMultibase": SIGNER.public_key_multibase, "validFrom": "2025-01-01T00:00:00Z"}
    ]
    for signer in signers:
        jwk = jwk_of(signer.public_key_multibase)
        name = signer.verification_method
        did["verificationMethod"].append({"id": name, "type": "JsonWebKey", "controller": DID, "publicKeyJwk": jwk})
        did["assertionMethod"].append(name)
        keys.append({"id": name, "publicKeyJwk": jwk, "validFrom": "2025-01-01T00:00:00Z"} | period)
    built.put("/.well-known/did.json", did)
    listed = {"id": f"{BASE}/keys.json", "issuer": DID, "keys": keys, "asOf": "2025-07-31T22:00:00Z"}
    built.put("/keys.json", sign(listed, SIGNER, AS_OF, suites=(JCS,)))
    return built


def token(signer: JwtFileSigner = POINT, form: str = "least") -> bytes:
    return sign_jwt(open_badge_credential(FORMS[form]), signer).encode()


def verify(data: bytes, built: Site | None = None) -> Report:
    return Verifier(built or world(POINT), NOW).verify(data)


def checks(report: Report) -> dict[str, str]:
    return {check.name: check.outcome for check in report.checks}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_valid(form: str) -> None:
    report = verify(token(form=form))
    assert (report.verdict, set(checks(report).values())) == ("valid", {"pass"}), report.reason
    assert list(checks(report)) == [
        "kind",
        "parse",
        "contexts",
        "schema",
        "issuer",
        "proof jwt",
        "key period",
        "dates",
        "status",
        "state",
    ]


def test_rs256(rsa: JwtFileSigner) -> None:
    report = verify(token(rsa) + b"\n", world(POINT, rsa))
    assert report.verdict == "valid", report.reason
    (proof,) = [check for check in report.checks if check.name == "proof jwt"]
    assert proof.evidence == {"verificationMethod": f"{DID}#jwt-2", "algorithm": "RS256"}


def test_baked_into_an_image() -> None:
    data = token()
    for image in (PNG, SVGS["declaration"]):
        report = verify(bake(image, data))
        assert report.verdict == "valid", report.reason


def test_one_changed_byte_is_not_valid() -> None:
    data = token(form="honours")
    verifier = Verifier(world(POINT), NOW)
    places = {*random.Random(3).sample(range(len(data)), 200), *range(len(data) - 90, len(data))}
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    for at in places:
        other = alphabet[(alphabet.index(data[at : at + 1]) + 1) % 64] if data[at : at + 1] != b"." else ord("_")
        report = verifier.verify(data[:at] + bytes([other]) + data[at + 1 :])
        assert report.verdict not in ("valid", "expired"), data[at - 10 : at + 10]


def test_another_key_under_the_same_name() -> None:
    report = verify(token(STRANGER))
    assert (report.verdict, checks(report)["proof jwt"]) == ("invalid", "fail")


def test_a_key_that_is_not_listed() -> None:
    report = verify(token(POINT), world())
    assert report.verdict == "invalid"
    assert "assertionMethod" in report.reason


@pytest.mark.parametrize(
    "header", [{"alg": "none"}, {"alg": "HS256"}, {"alg": "EdDSA"}, {"alg": "RS256"}, {"crit": ["b64"]}]
)
def test_another_header_is_refused(header: dict[str, Any]) -> None:
    first, rest = token().decode().split(".", 1)
    changed = json.loads(base64.urlsafe_b64decode(first + "==")) | header
    text = base64.urlsafe_b64encode(json.dumps(changed, separators=(",", ":")).encode()).decode().rstrip("=")
    assert verify(f"{text}.{rest}".encode()).verdict == "invalid"


@pytest.mark.parametrize(
    ("period", "verdict", "reason"),
    [
        ({"validFrom": "2025-08-01T00:00:00Z"}, "invalid", "before the key's period"),
        ({"validUntil": "2025-07-31T21:00:00Z"}, "invalid", "after the key's period"),
        ({"compromisedAt": "2025-08-01T00:00:00Z"}, "invalid", "compromised"),
        ({"publicKeyJwk": jwk_of(STRANGER.public_key_multibase)}, "invalid", "different keys"),
        ({"validUntil": "2025-08-01T00:00:00Z"}, "valid", "hold"),
    ],
)
def test_the_period_of_its_key_decides(period: dict[str, Any], verdict: str, reason: str) -> None:
    report = verify(token(), world(POINT, **period))
    assert report.verdict == verdict
    assert reason in report.reason


def test_status_state_and_dates_decide_as_elsewhere() -> None:
    revoked = world(POINT)
    revoked.put("/status/1.json", status_list(1, "revocation", (0,)))
    assert verify(token(), revoked).verdict == "revoked"
    superseded = world(POINT)
    superseded.put(f"/state/{public_id(0)}.json", state(0, "superseded", by=f"{BASE}/credentials/9.json"))
    assert verify(token(), superseded).verdict == "superseded"
    expired = sign_jwt(open_badge_credential(facts(0, valid_until=AS_OF.replace(hour=23))), POINT)
    assert verify(expired.encode()).verdict == "expired"


def test_a_member_of_a_record() -> None:
    wrapped = {
        "@context": ["https://www.w3.org/ns/credentials/v2"],
        "id": f"data:application/vc+jwt,{token().decode()}",
        "type": "EnvelopedVerifiableCredential",
    }
    report = verify(json.dumps(record(signed(FORMS["name"]), wrapped)).encode())
    assert [member.report.verdict for member in report.members] == ["valid", "valid"], report.reason

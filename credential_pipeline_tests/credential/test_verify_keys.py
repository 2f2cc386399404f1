"""Which keys of the issuer count, and what the proofs were made for."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from credential_pipeline.credential.document import did_document, open_badge_credential, serialize
from credential_pipeline.credential.proof import RDFC, ProofTerms, sign
from credential_pipeline.credential.verify import Verifier, verify
from credential_pipeline_tests.credential.forms import AS_OF, DID, FORMS, NOW, SIGNER, signed, site
from credential_pipeline_tests.credential.test_verify import checks, world

OTHER_KINDS = [
    {"type": "Multikey", "publicKeyMultibase": "zDnaerDaTF5BXEavCrfRZEk316dpbLsfPDZ3WJ5hRTPFU2169"},
    {"type": "Ed25519VerificationKey2020", "publicKeyMultibase": "z6MkpP"},
    {"type": "JsonWebKey", "publicKeyJwk": {"kty": "EC"}},
]


@pytest.mark.parametrize("method", OTHER_KINDS, ids=["P-256", "an older type", "a JWK"])
def test_keys_of_other_kinds_beside_ours_are_nothing_to_us(method: dict[str, Any]) -> None:
    did = did_document(DID, [("key-1", SIGNER.public_key_multibase, True)])
    did["verificationMethod"].append({"id": f"{DID}#other", "controller": DID} | method)
    did["assertionMethod"].append(f"{DID}#other")
    assert verify(serialize(signed(FORMS["least"])), world("/.well-known/did.json", did), NOW).verdict == "valid"


def test_a_key_that_is_listed_twice_is_refused() -> None:
    did = did_document(DID, [("key-1", SIGNER.public_key_multibase, True)])
    did["verificationMethod"] *= 2
    report = verify(serialize(signed(FORMS["least"])), world("/.well-known/did.json", did), NOW)
    assert (report.verdict, checks(report)["issuer"]) == ("invalid", "fail")
    assert "listed twice" in report.reason


def made_for(**terms: Any) -> bytes:
    return serialize(sign(open_badge_credential(FORMS["least"]), SIGNER, AS_OF, terms=ProofTerms(**terms)))


@pytest.mark.parametrize(
    ("terms", "asked", "verdict"),
    [
        ({}, {}, "valid"),
        ({"domain": "https://shop.example"}, {}, "invalid"),
        ({"domain": "https://shop.example"}, {"domain": "https://shop.example"}, "valid"),
        ({"domain": "https://shop.example"}, {"domain": "https://other.example"}, "invalid"),
        ({"challenge": "7"}, {"challenge": "7"}, "valid"),
        ({"challenge": "7"}, {"challenge": "8"}, "invalid"),
        ({}, {"challenge": "8"}, "invalid"),
        ({"purpose": "authentication"}, {}, "invalid"),
        ({"expires": NOW}, {}, "invalid"),
        ({"expires": NOW + timedelta(seconds=1)}, {}, "valid"),
    ],
)
def test_what_the_proofs_were_made_for(terms: dict[str, Any], asked: dict[str, str], verdict: str) -> None:
    report = Verifier(site(), NOW, **asked).verify(made_for(**terms))
    assert report.verdict == verdict, report.reason
    if verdict == "valid":
        told = {check.name: check.evidence for check in report.checks}[f"proof {RDFC}"]
        assert (told["proofPurpose"], told["created"]) == ("assertionMethod", "2025-07-31T22:00:00Z")
        assert set(terms) <= set(told)


def test_a_proof_from_the_future_is_refused() -> None:
    document = open_badge_credential(FORMS["least"])
    report = verify(serialize(sign(document, SIGNER, NOW + timedelta(seconds=1))), site(), NOW)
    assert report.verdict == "invalid"
    assert "future" in report.reason

"""Proofs, by other people's implementations over every form that is emitted; the W3C's vectors: test_vectors.py."""

from __future__ import annotations

import copy
import hashlib
import json
from datetime import UTC, datetime
from typing import Any

import base58
import pytest
import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from openbadgeslib.ob3.ldp import OB3LdpVerifier, verify_data_integrity_proof

from credential_pipeline.credential.document import BuildError, did_document, open_badge_credential, serialize
from credential_pipeline.credential.proof import JCS, RDFC, ProofError, sign, verify_proof
from credential_pipeline_tests.credential.forms import (
    AS_OF,
    BASE,
    DID,
    FORMS,
    KEY,
    PUBLIC,
    SIGNER,
    keys,
    signed,
    state,
    status_list,
)


@pytest.mark.parametrize("form", FORMS)
def test_openbadgeslib_verifies_every_form(form: str) -> None:
    given = FORMS[form]
    did = json.dumps(did_document(DID, [("key-1", SIGNER.public_key_multibase, True)])).encode()
    lasting = datetime(2099, 1, 1, tzinfo=UTC)  # this verifier reads the real clock
    world = {
        f"{BASE}/.well-known/did.json": did,
        f"{BASE}/status/1.json": serialize(status_list(1, "revocation", until=lasting)),
        f"{BASE}/status/2.json": serialize(status_list(2, "suspension", until=lasting)),
    }
    # Its own check of a list's signature knows JWT lists only; test_openbadgeslib_verifies_status_lists does ours.
    verifier = OB3LdpVerifier.for_issuer_did(DID)
    read = verifier.verify(
        serialize(signed(given)), check_status=True, download=world.__getitem__, verify_status_list=False
    )
    assert read.id == given.url
    assert read.issuer.id == DID
    assert read.achievement.name == given.achievement.name
    changed = signed(given)
    changed["credentialSubject"]["achievement"]["name"] += "!"
    with pytest.raises(Exception, match="signature mismatch"):
        verifier.verify(serialize(changed), download=world.__getitem__)


@pytest.mark.parametrize("bits", [(), (0, 7, 8, 131_071)])
def test_openbadgeslib_verifies_status_lists(bits: tuple[int, ...]) -> None:
    pem = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    document = status_list(1, "revocation", bits)
    verify_data_integrity_proof(document, pem)
    document["credentialSubject"]["ttl"] += 1
    with pytest.raises(Exception, match="signature mismatch"):
        verify_data_integrity_proof(document, pem)


def independent_jcs_verify(document: dict[str, Any], proof: dict[str, Any], key: Ed25519PublicKey) -> None:
    """VC-DI-EDDSA 3.3 written again, from rfc8785, cryptography and base58 alone."""
    config = {k: v for k, v in proof.items() if k != "proofValue"}
    bare = {k: v for k, v in document.items() if k != "proof"}
    assert config.get("@context") == bare.get("@context")
    data = b"".join(hashlib.sha256(rfc8785.dumps(part)).digest() for part in (config, bare))
    key.verify(base58.b58decode(proof["proofValue"].removeprefix("z")), data)


@pytest.mark.parametrize("form", FORMS)
def test_jcs_proof_by_an_independent_implementation(form: str) -> None:
    document = json.loads(serialize(signed(FORMS[form])))
    assert [p["cryptosuite"] for p in document["proof"]] == [RDFC, JCS]
    assert "@context" not in document["proof"][0]
    independent_jcs_verify(document, document["proof"][1], KEY.public_key())


@pytest.mark.parametrize("document", [keys(), state(1)], ids=["keys.json", "state"])
def test_plain_documents_have_one_jcs_proof(document: dict[str, Any]) -> None:
    assert "@context" not in document
    assert document["proof"]["cryptosuite"] == JCS
    assert "@context" not in document["proof"]
    independent_jcs_verify(document, document["proof"], KEY.public_key())


def test_same_input_same_bytes() -> None:
    first, second = (serialize(signed(FORMS["results"])) for _ in range(2))
    assert first == second


def test_signing_leaves_the_document_alone_and_drops_an_old_proof() -> None:
    document = open_badge_credential(FORMS["least"])
    before = copy.deepcopy(document)
    once = sign(document, SIGNER, AS_OF)
    assert document == before
    assert sign(once, SIGNER, AS_OF) == once


def test_a_single_suite_of_a_credential_is_an_array_too() -> None:
    proofs = sign(open_badge_credential(FORMS["least"]), SIGNER, AS_OF, suites=(JCS,))["proof"]
    assert [p["cryptosuite"] for p in proofs] == [JCS]


@pytest.mark.parametrize("suites", [(RDFC, JCS), (RDFC,), ()])
def test_plain_json_takes_jcs_alone(suites: tuple[str, ...]) -> None:
    with pytest.raises(BuildError):
        sign({"id": "https://x.example/keys.json"}, SIGNER, AS_OF, suites=suites)


def test_unknown_suite() -> None:
    with pytest.raises(ProofError, match="cryptosuite"):
        sign(open_badge_credential(FORMS["least"]), SIGNER, AS_OF, suites=("ecdsa-rdfc-2019",))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"type": "Ed25519Signature2020"}, "not DataIntegrityProof"),
        ({"proofPurpose": "authentication"}, "not assertionMethod"),
        ({"nonce": "1"}, "signature does not match"),
        ({"previousProof": "urn:uuid:1"}, "unknown members: previousProof"),
        ({"created": 7}, "not a string"),
        ({"proofValue": "u2222"}, "not multibase base58btc"),
        ({"proofValue": "z2222"}, "64"),
        ({"created": "2025-07-31T22:00:01Z"}, "signature does not match"),
        ({"@context": ["https://www.w3.org/ns/credentials/v2"]}, "differs from the document's"),
    ],
)
def test_a_changed_proof_is_refused_with_the_reason(change: dict[str, Any], reason: str) -> None:
    document = signed(FORMS["least"])
    with pytest.raises(ProofError, match=reason):
        verify_proof(document, document["proof"][1] | change, PUBLIC)


def test_trailing_space_in_a_proof_value_is_not_the_same_signature() -> None:
    document = signed(FORMS["least"])
    proof = document["proof"][1]
    with pytest.raises(ProofError, match="base58btc"):
        verify_proof(document, proof | {"proofValue": proof["proofValue"] + " "}, PUBLIC)


def test_another_key_does_not_verify() -> None:
    document = signed(FORMS["least"])
    other = Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key().public_bytes_raw()
    for proof in document["proof"]:
        verify_proof(document, proof, PUBLIC)
        with pytest.raises(ProofError, match="does not match"):
            verify_proof(document, proof, other)

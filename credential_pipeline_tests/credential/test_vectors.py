"""The W3C's own vectors for both cryptosuites, step by step and byte for byte."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from credential_pipeline.credential.contexts import document_loader
from credential_pipeline.credential.keys import Ed25519FileSigner
from credential_pipeline.credential.multikey import decode_base58btc, decode_ed25519_public
from credential_pipeline.credential.proof import (
    JCS,
    RDFC,
    ProofError,
    canonicalize,
    hash_canonical,
    hash_data,
    proof_config,
    sign_hash,
    verify_proof,
)
from credential_pipeline.credential.text import parse_instant

VECTORS: dict[str, Any] = json.loads((Path(__file__).parent.parent / "vectors" / "vc-di-eddsa.json").read_text("utf-8"))
DOCUMENT: dict[str, Any] = VECTORS["document"]
ENHANCED: dict[str, Any] = VECTORS["enhanced"]
CONTEXTS = {
    "https://www.w3.org/ns/credentials/examples/v2": VECTORS["examplesContext"],
    "https://w3id.org/citizenship/v4rc1": {"@context": ENHANCED["termsOfItsContext"]},
}


def loader(url: str, options: Any = None) -> dict[str, Any]:
    if url in CONTEXTS:
        return {"contentType": "application/ld+json", "contextUrl": None, "documentUrl": url, "document": CONTEXTS[url]}
    return document_loader(url, options)


def signer(multibase: str) -> Ed25519FileSigner:
    secret = decode_base58btc(multibase)
    assert secret[:2] == b"\x80\x26"  # multicodec ed25519-priv
    return Ed25519FileSigner(Ed25519PrivateKey.from_private_bytes(secret[2:]), VECTORS["verificationMethod"])


def config_of(document: dict[str, Any], suite: str) -> dict[str, Any]:
    created = parse_instant(VECTORS["created"], "created")
    return proof_config(document, suite, VECTORS["verificationMethod"], created)


def in_context(config: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    return config | {"@context": document["@context"]}


def canonical(lines: list[str], suite: str) -> bytes:
    """The vectors hold N-Quads as lines, JSON as one."""
    return "".join(f"{line}\n" for line in lines).encode() if suite == RDFC else lines[0].encode()


def test_the_key_pair() -> None:
    assert signer(VECTORS["secretKeyMultibase"]).public_key_multibase == VECTORS["publicKeyMultibase"]


@pytest.mark.parametrize("suite", [RDFC, JCS])
def test_each_step_gives_the_bytes_of_the_recommendation(suite: str) -> None:
    expected = VECTORS["suites"][suite]
    config = config_of(DOCUMENT, suite)
    document = canonicalize(DOCUMENT, suite, loader=loader)
    assert document == canonical(expected["canonicalDocument"], suite)
    proof = canonicalize(in_context(config, DOCUMENT), suite, loader=loader)
    assert proof == canonical(expected["canonicalConfig"], suite)
    data = hash_canonical(document, proof)
    assert data.hex() == expected["hashData"]
    assert hash_data(DOCUMENT, config, loader=loader) == data
    assert sign_hash(data, signer(VECTORS["secretKeyMultibase"])) == expected["proofValue"]


@pytest.mark.parametrize("suite", [RDFC, JCS])
def test_the_published_proof_verifies_and_a_changed_document_does_not(suite: str) -> None:
    proof = config_of(DOCUMENT, suite) | {"proofValue": VECTORS["suites"][suite]["proofValue"]}
    public = decode_ed25519_public(VECTORS["publicKeyMultibase"])
    verify_proof(DOCUMENT, proof, public, loader=loader)
    changed = DOCUMENT | {"name": "Alumni Credentia1"}
    with pytest.raises(ProofError, match="signature does not match"):
        verify_proof(changed, proof, public, loader=loader)


@pytest.mark.parametrize("vector", VECTORS["moreProofs"], ids=lambda v: v["proof"]["proofValue"][:8])
def test_proof_sets_and_other_verification_methods(vector: dict[str, Any]) -> None:
    proof = vector["proof"]
    verify_proof(DOCUMENT, proof, decode_ed25519_public(vector["publicKeyMultibase"]), loader=loader)
    config = {member: value for member, value in proof.items() if member != "proofValue"}
    key = signer(vector.get("secretKeyMultibase", VECTORS["secretKeyMultibase"]))
    assert key.public_key_multibase == vector["publicKeyMultibase"]
    assert sign_hash(hash_data(DOCUMENT, config, loader=loader), key) == proof["proofValue"]


def test_the_enhanced_example() -> None:
    """Its third-party context is stood for by the terms that its canonical document shows."""
    document = ENHANCED["document"]
    config = config_of(document, RDFC)
    data = hash_data(document, config, loader=loader)
    assert sign_hash(data, signer(VECTORS["secretKeyMultibase"])) == ENHANCED["proofValue"]
    proof = config | {"proofValue": ENHANCED["proofValue"]}
    verify_proof(document, proof, decode_ed25519_public(VECTORS["publicKeyMultibase"]), loader=loader)

"""Data Integrity proofs with Ed25519: eddsa-rdfc-2022 and eddsa-jcs-2022 (VC-DI-EDDSA 3.2 and 3.3).

Belongs here: making and checking one proof over a document. Does not belong here: whose key it is, what the document
means, key periods and the demand for two proofs: verify.py.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from credential_pipeline.credential.canonical import CanonicalizationError, Loader, jcs, rdfc
from credential_pipeline.credential.contexts import document_loader
from credential_pipeline.credential.keys import Signer
from credential_pipeline.credential.multikey import MultibaseError, decode_base58btc, encode_base58btc
from credential_pipeline.credential.text import BuildError, instant

RDFC = "eddsa-rdfc-2022"
JCS = "eddsa-jcs-2022"
BOTH = (RDFC, JCS)
"""The order of the proofs: 1EdTech validators and wallets read the first, browsers pick the second by name."""

_MEMBERS = {"type", "cryptosuite", "created", "verificationMethod", "proofPurpose", "proofValue"}


class ProofError(ValueError):
    """The proof does not hold; the text says which part."""


def sign(document: dict[str, Any], signer: Signer, created: datetime, suites: Sequence[str] = BOTH) -> dict[str, Any]:
    """A copy of `document` (any proof dropped) with its proofs, each over the document without any proof.

    A document with `@context` gets an array of proofs in the order of `suites`. One without (keys.json, a state
    object) is plain JSON: it takes `eddsa-jcs-2022` alone and gets one object. `created`: an aware instant in whole
    seconds. Raises BuildError, CanonicalizationError.
    """
    unsecured = {key: value for key, value in document.items() if key != "proof"}
    if not suites or len(set(suites)) != len(suites):
        raise BuildError(f"the suites of a proof set are one or more different ones, not {list(suites)!r}")
    if "@context" not in unsecured and tuple(suites) != (JCS,):
        raise BuildError("a document without @context has no RDF form: sign it with suites=('eddsa-jcs-2022',)")
    proofs = []
    for suite in suites:
        config = proof_config(unsecured, suite, signer.verification_method, created)
        value = signer.sign(hash_data(unsecured, config))
        proofs.append(config | {"proofValue": encode_base58btc(value)})
    return unsecured | {"proof": proofs if "@context" in unsecured else proofs[0]}


def proof_config(document: dict[str, Any], suite: str, verification_method: str, created: datetime) -> dict[str, Any]:
    """The proof without its value. The jcs one carries the document's `@context` (VC-DI-EDDSA 3.3.1 step 2)."""
    config: dict[str, Any] = {
        "type": "DataIntegrityProof",
        "cryptosuite": suite,
        "created": instant(created, "proof.created"),
        "verificationMethod": verification_method,
        "proofPurpose": "assertionMethod",
    }
    if suite == JCS and "@context" in document:
        config = {"@context": document["@context"]} | config
    return config


def hash_data(document: dict[str, Any], config: dict[str, Any], *, loader: Loader = document_loader) -> bytes:
    """The 64 bytes that are signed: SHA-256 of the canonical proof config, then of the canonical document.

    `document`: without `proof`; `config`: without `proofValue` (VC-DI-EDDSA 3.2.3 to 3.2.5, 3.3.3 to 3.3.5).
    Raises CanonicalizationError, and ProofError for an unknown suite.
    """
    suite = config.get("cryptosuite")
    if suite == JCS:
        parts = (jcs(config), jcs(document))
    elif suite == RDFC:
        # VC-DI-EDDSA 3.2.5: the config is read in the context of the document.
        in_context = config | {"@context": document.get("@context")}
        parts = (rdfc(in_context, loader=loader).encode("utf-8"), rdfc(document, loader=loader).encode("utf-8"))
    else:
        raise ProofError(f"the cryptosuite {suite!r} is not one of {', '.join(BOTH)}")
    return b"".join(hashlib.sha256(part).digest() for part in parts)


def verify_proof(document: dict[str, Any], proof: Any, public_key: bytes, *, loader: Loader = document_loader) -> None:
    """Checks one proof of `document` (its `proof` member is ignored) with a raw Ed25519 key; raises ProofError.

    Nothing may hide in a proof: exactly the members that `sign` writes are accepted (VC-DI-EDDSA 3.2.2, 3.3.2).
    """
    config = _checked_config(document, proof)
    try:
        signature = decode_base58btc(proof["proofValue"])
    except MultibaseError as cause:
        raise ProofError(f"proofValue is {cause}") from cause
    if len(signature) != 64:
        raise ProofError(f"proofValue holds {len(signature)} bytes; an Ed25519 signature has 64 (RFC 8032 5.1.6)")
    unsecured = {key: value for key, value in document.items() if key != "proof"}
    try:
        data = hash_data(unsecured, config, loader=loader)
    except CanonicalizationError as cause:
        raise ProofError(f"{config['cryptosuite']}: the document has no canonical form: {cause}") from cause
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, data)
    except InvalidSignature:
        raise ProofError(
            f"{config['cryptosuite']}: the signature does not match: the document, the proof or the key was changed"
        ) from None
    except ValueError as cause:
        raise ProofError(f"not an Ed25519 public key: {cause}") from cause


def _checked_config(document: dict[str, Any], proof: Any) -> dict[str, Any]:
    if not isinstance(proof, dict):
        raise ProofError("the proof is not an object")
    suite = proof.get("cryptosuite")
    members = _MEMBERS | ({"@context"} if suite == JCS and "@context" in document else set())
    if set(proof) != members:
        odd = ", ".join(sorted(set(proof) ^ members))
        raise ProofError(f"the proof has missing or unknown members: {odd}")
    if not all(isinstance(proof[key], str) for key in _MEMBERS):
        raise ProofError("a member of the proof is not a string")
    if proof["type"] != "DataIntegrityProof":
        raise ProofError(f"the proof type {proof['type']!r} is not DataIntegrityProof (VC-DATA-INTEGRITY 2.1)")
    if proof["proofPurpose"] != "assertionMethod":
        raise ProofError(f"the proof purpose {proof['proofPurpose']!r} is not assertionMethod")
    # VC-DI-EDDSA 3.3.2 step 4 asks for a common start; equality leaves nothing to argue about.
    if "@context" in members and proof["@context"] != document["@context"]:
        raise ProofError("the proof's @context differs from the document's")
    return {key: value for key, value in proof.items() if key != "proofValue"}

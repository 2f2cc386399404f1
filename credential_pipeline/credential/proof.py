"""Data Integrity proofs with Ed25519: eddsa-rdfc-2022 and eddsa-jcs-2022 (VC-DI-EDDSA 3.2 and 3.3).

Belongs here: making and checking one proof over a document. Does not belong here: whose key it is, what the document
means, key periods and the demand for two proofs: verify.py.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from credential_pipeline.credential.canonical import CanonicalizationError, Loader, jcs, rdfc
from credential_pipeline.credential.contexts import document_loader
from credential_pipeline.credential.keys import Signer
from credential_pipeline.credential.multikey import MultibaseError, decode_base58btc, encode_base58btc
from credential_pipeline.credential.text import BuildError, FormError, instant, iri, parse_instant, text

RDFC = "eddsa-rdfc-2022"
JCS = "eddsa-jcs-2022"
BOTH = (RDFC, JCS)
"""The order of the proofs: 1EdTech validators and wallets read the first, browsers pick the second by name."""

ASSERTION = "assertionMethod"
AUTHENTICATION = "authentication"
PURPOSES = (ASSERTION, AUTHENTICATION)
"""What a proof can be made for here (VC-DATA-INTEGRITY 2.3): to state, and to show that one holds the key."""

_MEMBERS = {"type", "cryptosuite", "created", "verificationMethod", "proofPurpose", "proofValue"}
_MORE_MEMBERS = {"id", "nonce", "expires", "domain", "challenge"}
"""Of other people's proofs (VC-DATA-INTEGRITY 2.1). Not `previousProof`: a chain holds as a whole or not at all."""


class ProofError(ValueError):
    """The proof does not hold; the text says which part."""


@dataclass(frozen=True, slots=True)
class ProofTerms:
    """What a proof says beside who made it and when (VC-DATA-INTEGRITY 2.1); the defaults are those of credentials."""

    purpose: str = ASSERTION
    expires: datetime | None = None
    domain: str | None = None
    challenge: str | None = None


@dataclass(frozen=True, slots=True)
class ProofOptions:
    """What a verifier asks of a proof (VC-DATA-INTEGRITY 4.4): `now` is an aware instant.

    A proof that was made for a `domain` or a `challenge`, or that `expires`, is refused where nothing is given to
    compare with: who does not look would take a proof that was meant for somebody else.
    """

    purpose: str = ASSERTION
    now: datetime | None = None
    domain: str | None = None
    challenge: str | None = None


AS_ISSUED = ProofTerms()
ANY_TIME = ProofOptions()


def sign(
    document: dict[str, Any],
    signer: Signer,
    created: datetime,
    suites: Sequence[str] = BOTH,
    *,
    terms: ProofTerms = AS_ISSUED,
) -> dict[str, Any]:
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
        config = proof_config(unsecured, suite, signer.verification_method, created, terms)
        proofs.append(config | {"proofValue": sign_hash(hash_data(unsecured, config), signer)})
    return unsecured | {"proof": proofs if "@context" in unsecured else proofs[0]}


def proof_config(
    document: dict[str, Any],
    suite: str,
    verification_method: str,
    created: datetime,
    terms: ProofTerms = AS_ISSUED,
) -> dict[str, Any]:
    """The proof without its value (VC-DI-EDDSA 3.2.5, 3.3.5); raises BuildError.

    The jcs one carries the document's `@context` (VC-DI-EDDSA 3.3.1 step 2).
    """
    if terms.purpose not in PURPOSES:
        raise BuildError(f"proofPurpose is {terms.purpose!r}: use one of {', '.join(PURPOSES)} (VC-DATA-INTEGRITY 2.3)")
    config: dict[str, Any] = {
        "type": "DataIntegrityProof",
        "cryptosuite": suite,
        "created": instant(created, "proof.created"),
        "verificationMethod": verification_method,
        "proofPurpose": terms.purpose,
    }
    if terms.expires is not None:
        config["expires"] = instant(terms.expires, "proof.expires")
        if terms.expires <= created:
            raise BuildError(f"proof.expires {config['expires']} is not after created (VC-DATA-INTEGRITY 2.1)")
    if terms.domain is not None:
        config["domain"] = text(terms.domain, "proof.domain")
    if terms.challenge is not None:
        config["challenge"] = text(terms.challenge, "proof.challenge")
    if suite == JCS and "@context" in document:
        config = {"@context": document["@context"]} | config
    return config


def canonicalize(document: dict[str, Any], suite: str, *, loader: Loader = document_loader) -> bytes:
    """The canonical form of a document without `proof`, or of a proof without `proofValue` that has its `@context`.

    Canonical N-Quads or RFC 8785 JSON, as UTF-8 (Transformation, VC-DI-EDDSA 3.2.3 and 3.3.3; Proof Configuration,
    3.2.5 and 3.3.5). Raises CanonicalizationError, and ProofError for an unknown suite.
    """
    if suite == JCS:
        return jcs(document)
    if suite == RDFC:
        return rdfc(document, loader=loader).encode("utf-8")
    raise ProofError(f"the cryptosuite {suite!r} is not one of {', '.join(BOTH)}")


def hash_canonical(document: bytes, config: bytes) -> bytes:
    """The 64 bytes that are signed, of two canonical forms: SHA-256 of the config, then of the document.

    Hashing, VC-DI-EDDSA 3.2.4 and 3.3.4.
    """
    return hashlib.sha256(config).digest() + hashlib.sha256(document).digest()


def sign_hash(data: bytes, signer: Signer) -> str:
    """The proofValue: the Ed25519 signature of `hash_data` in base58btc (VC-DI-EDDSA 3.2.6 and 3.3.6)."""
    return encode_base58btc(signer.sign(data))


def hash_data(document: dict[str, Any], config: dict[str, Any], *, loader: Loader = document_loader) -> bytes:
    """The 64 bytes that are signed: SHA-256 of the canonical proof config, then of the canonical document.

    `document`: without `proof`; `config`: without `proofValue` (VC-DI-EDDSA 3.2.3 to 3.2.5, 3.3.3 to 3.3.5).
    Raises CanonicalizationError, and ProofError for an unknown suite.
    """
    suite = str(config.get("cryptosuite"))
    # VC-DI-EDDSA 3.2.5: the config is read in the context of the document.
    in_context = config | {"@context": document.get("@context")} if suite == RDFC else config
    parts = [canonicalize(part, suite, loader=loader) for part in (in_context, document)]
    return hash_canonical(config=parts[0], document=parts[1])


def verify_proof(
    document: dict[str, Any],
    proof: Any,
    public_key: bytes,
    *,
    options: ProofOptions = ANY_TIME,
    loader: Loader = document_loader,
) -> None:
    """Checks one proof of `document` (its `proof` member is ignored) with a raw Ed25519 key; raises ProofError.

    Nothing may hide in a proof: only members with a meaning here are accepted (VC-DI-EDDSA 3.2.2, 3.3.2). Whether
    the key may be used for the purpose is for the caller, who knows whose key it is (VC-DATA-INTEGRITY 4.4).
    """
    config = _checked_config(document, proof)
    check_options(config, options)
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


def check_options(proof: dict[str, Any], options: ProofOptions = ANY_TIME) -> None:
    """Checks what a proof of the right form says against what is asked for (VC-DATA-INTEGRITY 4.4); raises ProofError.

    The instants are compared as the verifier of an old proof would: nothing else here depends on a clock.
    """
    if proof["proofPurpose"] != options.purpose:
        raise ProofError(f"the proof purpose {proof['proofPurpose']!r} is not {options.purpose}")
    domains = proof.get("domain", [])
    domains = domains if isinstance(domains, list) else [domains]
    if domains or options.domain is not None:
        if options.domain is None:
            raise ProofError("the proof was made for a domain, and none was asked for")
        if options.domain not in domains:
            raise ProofError(f"the proof was made for {', '.join(domains) or 'no domain'} and not {options.domain}")
    if "challenge" in proof and options.challenge is None:
        raise ProofError("the proof answers a challenge, and none was asked for")
    if options.challenge is not None and proof.get("challenge") != options.challenge:
        raise ProofError("the proof does not answer the challenge: it was made for another exchange")
    _check_instants(proof, options.now)


def _check_instants(proof: dict[str, Any], now: datetime | None) -> None:
    if now is None:
        if "expires" in proof:
            raise ProofError("the proof expires, and the instant it has to hold at is not given")
        return
    try:
        created = parse_instant(proof["created"], "proof.created")
        expires = parse_instant(proof["expires"], "proof.expires") if "expires" in proof else None
    except FormError as cause:
        raise ProofError(str(cause)) from cause
    if created > now:
        raise ProofError(f"the proof was created in the future, at {proof['created']}")
    if expires is not None and expires <= now:
        raise ProofError(f"the proof expired at {proof['expires']}")


def _checked_config(document: dict[str, Any], proof: Any) -> dict[str, Any]:
    if not isinstance(proof, dict):
        raise ProofError("the proof is not an object")
    suite = proof.get("cryptosuite")
    members = _MEMBERS | ({"@context"} if suite == JCS and "@context" in document else set())
    if odd := sorted((members - set(proof)) | (set(proof) - members - _MORE_MEMBERS)):
        raise ProofError(f"the proof has missing or unknown members: {', '.join(odd)}")
    for member in (_MEMBERS | _MORE_MEMBERS) & set(proof):
        value = proof[member]
        # VC-DATA-INTEGRITY 2.1: a domain is a text or a set of them.
        several = value if member == "domain" and isinstance(value, list) and value else [value]
        if not all(isinstance(x, str) for x in several):
            raise ProofError("a member of the proof is not a string")
    if proof["type"] != "DataIntegrityProof":
        raise ProofError(f"the proof type {proof['type']!r} is not DataIntegrityProof (VC-DATA-INTEGRITY 2.1)")
    if "id" in proof:
        try:
            iri(proof["id"], "proof.id")
        except BuildError as cause:
            raise ProofError(str(cause)) from cause
    # VC-DI-EDDSA 3.3.2 step 4 asks for a common start; equality leaves nothing to argue about.
    if "@context" in members and proof["@context"] != document["@context"]:
        raise ProofError("the proof's @context differs from the document's")
    return {key: value for key, value in proof.items() if key != "proofValue"}

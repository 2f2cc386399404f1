"""Other people's verifiers take every form, by both suites, and refuse each that was tampered with.

openvc (rdfc and jcs, proof purposes, challenges) and openbadgeslib (rdfc) share pyld with us and none of our code.
"""

from __future__ import annotations

import base64
import copy
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from openbadgeslib.ob3.clr import bundled_clr_contexts
from openbadgeslib.ob3.ldp import verify_data_integrity_proof
from openvc.errors import OpenvcError
from openvc.proof.data_integrity import DataIntegrityProofSuite
from openvc.proof.di_jcs import EddsaJcsProofSuite

from credential_pipeline.credential.contexts import CLR2, OB3, OB3_EXTENSIONS, document_loader
from credential_pipeline.credential.document import open_badge_credential
from credential_pipeline.credential.proof import AUTHENTICATION, JCS, RDFC, ProofTerms, sign
from credential_pipeline_tests.credential.forms import FORMS, KEY, NOW, PUBLIC, SIGNER, signed
from credential_pipeline_tests.credential.record_forms import record_forms

JWK = {"kty": "OKP", "crv": "Ed25519", "x": base64.urlsafe_b64encode(PUBLIC).decode().rstrip("=")}
PEM = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
CONTEXTS = {url: document_loader(url)["document"] for url in (OB3, OB3_EXTENSIONS, CLR2)}
SUITES: dict[str, Any] = {RDFC: DataIntegrityProofSuite(), JCS: EddsaJcsProofSuite()}
RECORDS = record_forms()
EVERY_FORM = (*FORMS, *RECORDS)


def made(form: str) -> dict[str, Any]:
    return signed(FORMS[form]) if form in FORMS else sign(RECORDS[form], SIGNER, NOW)


def openvc(document: dict[str, Any], suite: str, now: datetime = NOW, **asked: Any) -> None:
    """It reads one proof at a time."""
    one = document | {"proof": next(p for p in document["proof"] if p["cryptosuite"] == suite)}
    contexts = {"extra_contexts": CONTEXTS} if suite == RDFC else {}
    SUITES[suite].verify(one, public_key_jwk=JWK, now=now, **contexts, **asked)


def openbadges(document: dict[str, Any]) -> None:
    verify_data_integrity_proof(document, PEM, extra_contexts=bundled_clr_contexts())


def texts(document: dict[str, Any]) -> Iterator[tuple[Any, Any]]:
    """Containers and keys of all texts that are signed, but contexts, which are refused before any signature."""
    stack: list[Any] = [
        document[k] for k in document if k not in ("proof", "@context") and isinstance(document[k], dict | list)
    ]
    yield from ((document, k) for k in ("id", "name", "validFrom"))
    while stack:
        value = stack.pop()
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            if isinstance(inner, str) and key != "@context":
                yield value, key
            elif isinstance(inner, dict | list) and key not in ("@context", "proof"):
                stack.append(inner)


def tampered(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """One text longer by a character, at places spread over the document; and one member less."""
    count = sum(1 for _ in texts(document))
    for position in range(0, count, max(1, count // 6)):
        changed = copy.deepcopy(document)
        container, key = [*texts(changed)][position]
        container[key] += "x"
        yield changed
    less = copy.deepcopy(document)
    del less["name"]
    yield less


@pytest.mark.parametrize("form", EVERY_FORM)
def test_every_form_is_taken_and_what_was_tampered_with_refused(form: str) -> None:
    document = made(form)
    # CLR 2.0's context says types of `identifier` and `achievement` that no node has, so that compaction does not give
    # their names back, which is what openvc compares before it takes an rdfc proof.
    suites = (JCS,) if "ClrCredential" in document["type"] else (RDFC, JCS)
    openbadges(document)
    for suite in suites:
        openvc(document, suite)
    for changed in tampered(document):
        with pytest.raises(Exception, match=r".") as refused:
            openbadges(changed)
        assert "openbadgeslib" in type(refused.value).__module__
        for suite in suites:
            with pytest.raises(OpenvcError):
                openvc(changed, suite)


@pytest.mark.parametrize("suite", SUITES)
def test_challenges_mean_the_same_to_others(suite: str) -> None:
    terms = ProofTerms(AUTHENTICATION, domain="https://verifier.example", challenge="c-1")
    document = sign(open_badge_credential(FORMS["name"]), SIGNER, NOW, terms=terms)
    asked = {"expected_challenge": "c-1", "expected_domain": "https://verifier.example"}
    openvc(document, suite, expected_proof_purpose=AUTHENTICATION, **asked)
    for wrong in ({"expected_challenge": "c-2"}, {"expected_domain": "https://other.example"}):
        with pytest.raises(OpenvcError):
            openvc(document, suite, expected_proof_purpose=AUTHENTICATION, **(asked | wrong))
    with pytest.raises(OpenvcError):
        openvc(document, suite, **asked)

"""What a proof was made for, and until when (VC Data Integrity 1.0, 2.1 and 4.4): both implementations say the same."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from credential_pipeline.credential.document import BuildError, open_badge_credential
from credential_pipeline.credential.many import verifier_of_many
from credential_pipeline.credential.multikey import encode_base58btc
from credential_pipeline.credential.proof import (
    AUTHENTICATION,
    JCS,
    RDFC,
    ProofError,
    ProofOptions,
    ProofTerms,
    hash_data,
    proof_config,
    sign,
)
from credential_pipeline_tests.credential.forms import AS_OF, FORMS, NOW, PUBLIC, SIGNER

LATER = NOW + timedelta(days=1)
SHOWN = ProofTerms(AUTHENTICATION, domain="https://verifier.example", challenge="c-1")
ASKED = ProofOptions(AUTHENTICATION, domain="https://verifier.example", challenge="c-1")


@pytest.fixture(params=["reference", "compiled"])
def by(request: pytest.FixtureRequest) -> Any:
    return request.param


def made(terms: ProofTerms = ProofTerms()) -> dict[str, Any]:  # noqa: B008 - frozen
    return sign(open_badge_credential(FORMS["results"]), SIGNER, AS_OF, terms=terms)


def verify(by: Any, document: dict[str, Any], options: ProofOptions) -> None:
    verifier = verifier_of_many(by=by)
    for proof in document["proof"]:
        verifier.verify_proof(document, proof, PUBLIC, options)


@pytest.mark.parametrize(
    ("terms", "options"),
    [
        (ProofTerms(), ProofOptions()),
        (ProofTerms(), ProofOptions(now=AS_OF)),
        (ProofTerms(), ProofOptions(now=datetime(2099, 1, 1, tzinfo=UTC))),
        (ProofTerms(expires=LATER), ProofOptions(now=NOW)),
        (ProofTerms(expires=LATER), ProofOptions(now=NOW.astimezone(timezone(timedelta(hours=9))))),
        (ProofTerms(domain="a"), ProofOptions(domain="a")),
        (SHOWN, ASKED),
    ],
    ids=str,
)
def test_what_was_asked_for_is_taken(by: Any, terms: ProofTerms, options: ProofOptions) -> None:
    verify(by, made(terms), options)


@pytest.mark.parametrize(
    ("terms", "options", "reason"),
    [
        (ProofTerms(), ProofOptions(AUTHENTICATION), "'assertionMethod' is not authentication"),
        (ProofTerms(AUTHENTICATION), ProofOptions(), "'authentication' is not assertionMethod"),
        (ProofTerms(), ProofOptions(now=AS_OF - timedelta(seconds=1)), "created in the future"),
        (ProofTerms(expires=LATER), ProofOptions(now=LATER), "expired at 2025-08-02T09:30:00Z"),
        (ProofTerms(expires=LATER), ProofOptions(), "the instant it has to hold at is not given"),
        (ProofTerms(domain="a"), ProofOptions(), "for a domain, and none was asked for"),
        (ProofTerms(domain="a"), ProofOptions(domain="b"), "made for a and not b"),
        (ProofTerms(), ProofOptions(domain="b"), "made for no domain and not b"),
        (ProofTerms(challenge="a"), ProofOptions(), "answers a challenge, and none"),
        (ProofTerms(challenge="a"), ProofOptions(challenge="b"), "does not answer the challenge"),
        (ProofTerms(), ProofOptions(challenge="b"), "does not answer the challenge"),
        (SHOWN, ProofOptions(AUTHENTICATION, challenge="c-1"), "for a domain"),
    ],
    ids=str,
)
def test_what_was_not_asked_for_is_refused(by: Any, terms: ProofTerms, options: ProofOptions, reason: str) -> None:
    with pytest.raises(ProofError, match=reason):
        verify(by, made(terms), options)


@pytest.mark.parametrize(
    "change",
    [
        {"domain": "https://other.example"},
        {"challenge": "c-2"},
        {"expires": "2099-01-01T00:00:00Z"},
        {"nonce": "2"},
        {"id": "urn:uuid:2"},
    ],
    ids=str,
)
def test_every_member_of_a_proof_is_signed(by: Any, change: dict[str, str]) -> None:
    """A proof that was stolen cannot be made one for somebody else, nor hold longer."""
    document = made(SHOWN)
    options = ProofOptions(AUTHENTICATION, NOW, change.get("domain", SHOWN.domain), change.get("challenge", "c-1"))
    verifier = verifier_of_many(by=by)
    for proof in document["proof"]:
        with pytest.raises(ProofError, match="does not match"):
            verifier.verify_proof(document, proof | change, PUBLIC, options)


@pytest.mark.parametrize("suite", [RDFC, JCS])
@pytest.mark.parametrize(
    ("more", "asked", "refused"),
    [
        ({"nonce": "1", "id": "urn:uuid:1"}, ProofOptions(), None),
        ({"domain": ["a", "b"]}, ProofOptions(domain="b"), None),
        ({"domain": ["a", "b"]}, ProofOptions(domain="c"), "a, b and not c"),
        ({"domain": []}, ProofOptions(), "not a string"),
        ({"domain": ["a", 1]}, ProofOptions(domain="a"), "not a string"),
        ({"challenge": 1}, ProofOptions(challenge="1"), "not a string"),
        ({"expires": "soon"}, ProofOptions(now=NOW), "not a dateTimeStamp"),
        ({"created": "2025-07-31"}, ProofOptions(now=NOW), "not a dateTimeStamp"),
        ({"id": "one"}, ProofOptions(), "absolute IRI"),
        ({"previousProof": "urn:uuid:1"}, ProofOptions(), "unknown members: previousProof"),
    ],
    ids=str,
)
def test_members_of_other_peoples_proofs(
    by: Any, suite: str, more: dict[str, Any], asked: ProofOptions, refused: str | None
) -> None:
    """Signed as they are: only what the members say decides."""
    document = open_badge_credential(FORMS["results"])
    config = proof_config(document, suite, SIGNER.verification_method, AS_OF) | more
    try:
        data = hash_data(document, config)
    except ValueError:
        data = bytes(64)  # an id that is no IRI has no canonical form to sign either
    proof = config | {"proofValue": encode_base58btc(SIGNER.sign(data))}
    verifier = verifier_of_many(by=by)
    if refused is None:
        verifier.verify_proof(document, proof, PUBLIC, asked)
        return
    with pytest.raises(ProofError, match=refused):
        verifier.verify_proof(document, proof, PUBLIC, asked)


@pytest.mark.parametrize(
    ("terms", "reason"),
    [
        (ProofTerms("keyAgreement"), "proofPurpose"),
        (ProofTerms(expires=AS_OF), "not after created"),
        (ProofTerms(expires=datetime(2099, 1, 1)), "no time zone"),  # noqa: DTZ001 - what is refused
        (ProofTerms(domain=""), "proof.domain is empty"),
        (ProofTerms(challenge=" "), "proof.challenge is empty"),
    ],
    ids=str,
)
def test_terms_that_no_verifier_could_take_are_not_signed(terms: ProofTerms, reason: str) -> None:
    with pytest.raises(BuildError, match=reason):
        made(terms)

"""The contract of signing and verifying many: what one implementation does, each of them does."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import credential_pipeline
from credential_pipeline.credential.canonical import CanonicalizationError, UndefinedTerm
from credential_pipeline.credential.document import (
    BuildError,
    Evidence,
    HashedIdentifier,
    Result,
    StatusEntry,
    open_badge_credential,
    serialize,
)
from credential_pipeline.credential.many import (
    COMPILED_MODULES,
    implementation,
    sign_many,
    signer_of_many,
    verifier_of_many,
)
from credential_pipeline.credential.multikey import encode_base58btc
from credential_pipeline.credential.proof import BOTH, JCS, RDFC, ProofError, hash_data, proof_config, sign
from credential_pipeline_tests.credential.forms import (
    AS_OF,
    FORMS,
    PUBLIC,
    SIGNER,
    facts,
    keys,
    signed,
    state,
    status_list,
)

IMPLEMENTATIONS = sorted({"reference", implementation()})
DOCUMENTS = [open_badge_credential(given) for given in FORMS.values()]


@pytest.fixture(params=IMPLEMENTATIONS)
def by(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("suites", [BOTH, (RDFC,), (JCS,), (JCS, RDFC)], ids=str)
def test_the_bytes_are_those_of_the_reference(by: str, suites: tuple[str, ...]) -> None:
    documents = DOCUMENTS + DOCUMENTS[::-1]
    expected = [serialize(sign(document, SIGNER, AS_OF, suites)) for document in documents]
    assert [*sign_many(documents, SIGNER, AS_OF, suites, by=by)] == expected
    signer = signer_of_many(SIGNER, AS_OF, suites, by=by)
    assert [signer.sign(document) for document in documents] == [json.loads(data) for data in expected]


def test_facts_make_the_same_bytes_as_their_document(by: str) -> None:
    signer = signer_of_many(SIGNER, AS_OF, by=by)
    for given in [*FORMS.values()] * 3:
        assert signer.credential(given) == serialize(sign(open_badge_credential(given), SIGNER, AS_OF))


def test_a_chunk_comes_in_the_order_it_was_given_in(by: str) -> None:
    signer = signer_of_many(SIGNER, AS_OF, by=by)
    chunk = [*FORMS.values(), *reversed(FORMS.values())]
    assert signer.credentials(chunk) == [signer.credential(given) for given in chunk]
    assert signer.credentials([]) == []


def test_an_old_proof_is_dropped_and_the_document_left_alone(by: str) -> None:
    document = signed(FORMS["results"])
    before = serialize(document)
    signer = signer_of_many(SIGNER, AS_OF, by=by)
    for _ in range(2):
        assert signer.serialized(document) == before
    assert serialize(document) == before


@pytest.mark.parametrize("document", [keys(), state(1)], ids=["keys.json", "state"])
def test_plain_documents_take_jcs_alone(by: str, document: dict[str, object]) -> None:
    signer = signer_of_many(SIGNER, AS_OF, (JCS,), by=by)
    assert [signer.serialized(document) for _ in range(2)] == [serialize(document)] * 2
    assert signer.sign(document) == document
    with pytest.raises(BuildError, match="no RDF form"):
        signer_of_many(SIGNER, AS_OF, by=by).serialized(document)


def test_status_lists_are_signed_the_same(by: str) -> None:
    signer = signer_of_many(SIGNER, AS_OF, by=by)
    for bits in ((), (1,), (0, 131_071)):
        document = status_list(1, "revocation", bits)
        assert signer.serialized(document) == serialize(document)


@pytest.mark.parametrize("suites", [(), (JCS, JCS), ("ecdsa-rdfc-2019",)], ids=str)
def test_suites_that_the_reference_refuses(by: str, suites: tuple[str, ...]) -> None:
    with pytest.raises((BuildError, ProofError)):
        signer_of_many(SIGNER, AS_OF, suites, by=by).serialized(DOCUMENTS[0])


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        ({"grade": "A"}, UndefinedTerm),
        ({"id": "credentials/1"}, UndefinedTerm),
        ({"id": "https://x.example/a b"}, UndefinedTerm),
        ({"name": None}, UndefinedTerm),
        ({"name": "\ufffe"}, CanonicalizationError),
        ({"name": "\ud800"}, (CanonicalizationError, UnicodeEncodeError)),
    ],
    ids=str,
)
def test_what_the_reference_refuses_is_refused(by: str, change: dict[str, object], refusal: type[Exception]) -> None:
    signer = signer_of_many(SIGNER, AS_OF, by=by)
    for _ in range(2):
        signer.serialized(DOCUMENTS[0])
        with pytest.raises(refusal):
            signer.serialized(DOCUMENTS[0] | change)


@pytest.mark.parametrize("suites", [BOTH, (JCS,)], ids=str)
def test_facts_that_the_builder_refuses(by: str, suites: tuple[str, ...]) -> None:
    signer = signer_of_many(SIGNER, AS_OF, suites, by=by)
    known = facts(1, name="Ada")
    shown = [
        facts(1, name="Ada", evidence=x) for x in ((Evidence(name="B"),), (Evidence(name="B"), Evidence(name="C")))
    ]
    seen = facts(1, name="Ada", evidence=(Evidence("https://x.example/1"),))
    graded = [facts(1, results=x) for x in ((Result("A"), Result("B")), (Result("A"),))]
    for given in (known, *graded, *shown, seen, known):
        signer.credential(given)
    for wrong in (
        {"name": " "},
        {"name": "a\x7f"},
        {"name": "a\x85"},
        {"name": "a\ufdd0"},
        {"url": "https:///no-host"},
        {"url": "urn:x"},
        {"refresh_url": "https://x.example/a b"},
        {"identifiers": ()},
        {"identifiers": (HashedIdentifier("sourcedId", "S1\x07", "5a17" * 8),)},
        {"identifiers": (HashedIdentifier("sourcedId", "S1", "5a\x85"),)},
        {"identifiers": (HashedIdentifier("passport", "S1", "5a17" * 8),)},
        {"results": (Result("A\ufffe"),)},
        {"results": (Result("A"), Result("A"))},
        {"results": (Result("A", result_description="https://x.example/none"),)},
        {"results": (Result("A", status="Done"),)},
        {"results": (Result("A", achieved_level="level"),)},
        {"status": StatusEntry("https://x.example/a b", 1, "revocation")},
        {"status": StatusEntry("https://x.example/1", -1, "revocation")},
        {"status": StatusEntry("https://x.example/1", 1, "refresh")},
        {"identifiers": facts(1).identifiers * 2},
        {"evidence": (Evidence(),)},
        {"evidence": (Evidence("work/1"),)},
        {"evidence": (Evidence(name="a\x07"),)},
        {"evidence": (Evidence(name=" "),)},
        {"evidence": (Evidence(name="A"), Evidence(name="A"))},
        {"awarded_on": AS_OF},
        {"awarded_on": AS_OF.date().replace(year=2031)},
        {"valid_until": AS_OF},
        {"as_of": AS_OF.replace(tzinfo=None)},
        {"as_of": AS_OF.replace(microsecond=1)},
        {"credits_earned": 0.0001},
        {"credits_earned": float("nan")},
    ):
        with pytest.raises(BuildError):
            signer.credential(facts(1, **(wrong if "results" in wrong else {"name": "Ada"} | wrong)))


def test_both_proofs_of_every_form_verify(by: str) -> None:
    verifier = verifier_of_many(by=by)
    for given in FORMS.values():
        document = signed(given)
        for proof in reversed(document["proof"]):
            verifier.verify_proof(document, proof, PUBLIC)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"type": "Ed25519Signature2020"}, "not DataIntegrityProof"),
        ({"proofPurpose": "authentication"}, "not assertionMethod"),
        ({"previousProof": "urn:uuid:1"}, "unknown members: previousProof"),
        ({"created": 7}, "not a string"),
        ({"proofValue": "u2222"}, "not multibase base58btc"),
        ({"proofValue": "z2222"}, "64"),
        ({"created": "2025-07-31T22:00:01Z"}, "signature does not match"),
        ({"verificationMethod": "did:web:badges.example.org#key-2"}, "signature does not match"),
    ],
    ids=str,
)
@pytest.mark.parametrize("number", [0, 1])
def test_a_changed_proof_is_refused_in_the_words_of_the_reference(
    by: str, number: int, change: dict[str, object], reason: str
) -> None:
    verifier = verifier_of_many(by=by)
    document = signed(FORMS["results"])
    verifier.verify_proof(document, document["proof"][number], PUBLIC)
    with pytest.raises(ProofError, match=reason):
        verifier.verify_proof(document, document["proof"][number] | change, PUBLIC)


@pytest.mark.parametrize(
    ("suite", "change"),
    [
        (JCS, {"type": "Ed25519Signature2020"}),
        (JCS, {"proofPurpose": "authentication"}),
        (RDFC, {"proofPurpose": "authentication"}),
        (JCS, {"previousProof": "urn:uuid:1"}),
        (JCS, {"created": 7}),
    ],
    ids=str,
)
def test_a_proof_that_is_signed_and_not_what_we_sign_is_refused(by: str, suite: str, change: dict[str, object]) -> None:
    """The signature holds: only the members tell."""
    verifier = verifier_of_many(by=by)
    whole = signed(FORMS["results"])
    document = {member: value for member, value in whole.items() if member != "proof"}
    for proof in whole["proof"]:
        verifier.verify_proof(document, proof, PUBLIC)
    config = proof_config(document, suite, SIGNER.verification_method, AS_OF) | change
    value = encode_base58btc(SIGNER.sign(hash_data(document, config)))
    with pytest.raises(ProofError):
        verifier.verify_proof(document, config | {"proofValue": value}, PUBLIC)


def test_what_was_signed_verifies(by: str) -> None:
    signer = signer_of_many(SIGNER, AS_OF, by=by)
    signed_bytes = [signer.credential(given) for given in FORMS.values()]
    verifier = signer.verifier()
    for data in signed_bytes:
        document = json.loads(data)
        for proof in document["proof"]:
            verifier.verify_proof(document, proof, PUBLIC)
        with pytest.raises(ProofError, match="does not match"):
            verifier.verify_proof(document, document["proof"][1] | {"created": "2020-01-01T00:00:00Z"}, PUBLIC)


@pytest.mark.parametrize("number", [0, 1])
def test_a_changed_document_is_refused(by: str, number: int) -> None:
    verifier = verifier_of_many(by=by)
    document = signed(FORMS["results"])
    verifier.verify_proof(document, document["proof"][number], PUBLIC)
    changes = (
        {"id": document["id"] + "x"},
        {"validFrom": "2025-07-31T22:00:01Z"},
        {"issuer": document["issuer"] | {"name": "Northfield"}},
        {"credentialStatus": document["credentialStatus"] | {"statusListIndex": "3"}},
    )
    for change in changes:
        with pytest.raises(ProofError, match="does not match"):
            verifier.verify_proof(document | change, document["proof"][number], PUBLIC)


def test_without_the_compiled_modules_the_bytes_are_the_same(tmp_path: Path) -> None:
    package = Path(credential_pipeline.__file__).parent
    copied = tmp_path / "credential_pipeline"
    copied.mkdir()
    shutil.copy(package / "__init__.py", copied)
    ignored = shutil.ignore_patterns(*(f"{name}.py" for name in COMPILED_MODULES), "__pycache__")
    shutil.copytree(package / "credential", copied / "credential", ignore=ignored)
    script = (
        "import sys, json\n"
        "from datetime import datetime, UTC\n"
        "from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey as Key\n"
        "from credential_pipeline.credential.keys import Ed25519FileSigner\n"
        "from credential_pipeline.credential.many import COMPILED_MODULES, implementation, sign_many\n"
        "assert implementation() == 'reference', implementation()\n"
        "signer = Ed25519FileSigner(Key.from_private_bytes(bytes(range(32))), sys.argv[1])\n"
        "created = datetime.fromisoformat(sys.argv[2])\n"
        "for data in sign_many(json.load(sys.stdin), signer, created): sys.stdout.buffer.write(data + b'\\n')\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", script, SIGNER.verification_method, AS_OF.isoformat()],
        input=json.dumps(DOCUMENTS[:3]).encode(),
        capture_output=True,
        cwd=tmp_path,
        check=True,
    )
    assert told.stdout.split(b"\n")[:-1] == [*sign_many(DOCUMENTS[:3], SIGNER, AS_OF)]

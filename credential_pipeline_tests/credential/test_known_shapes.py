"""The compiled path: equal to the reference whatever the values, and each reason for not taking it."""

from __future__ import annotations

import copy
import json
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from credential_pipeline.credential.canonical import CanonicalizationError, rdfc
from credential_pipeline.credential.contexts import document_loader
from credential_pipeline.credential.document import Achievement, Result, ResultDescription, open_badge_credential
from credential_pipeline.credential.known_shapes import CompiledSigner, CompiledVerifier, Shapes
from credential_pipeline.credential.lexical import TakesReference
from credential_pipeline.credential.proof import JCS, sign, verify_proof
from credential_pipeline.credential.shape import compile_shape
from credential_pipeline.credential.slots import NotCompilable
from credential_pipeline.credential.text import BuildError, serialize
from credential_pipeline_tests.credential.compare import Tally, compare_batch, compare_forms
from credential_pipeline_tests.credential.forms import AS_OF, BASE, FORMS, PUBLIC, SIGNER, facts, signed
from credential_pipeline_tests.credential.test_canonical import TEXTS

Document = dict[str, Any]
LAYOUTS = 20


def test_every_form_is_compiled() -> None:
    signer = CompiledSigner(SIGNER, AS_OF)
    for form in FORMS.values():
        signer.serialized(open_badge_credential(form))
    assert not signer.reasons


@settings(max_examples=LAYOUTS, deadline=None, derandomize=True, database=None)
@given(seed=st.integers(0, 2**48))
def test_random_credentials_of_random_achievements(seed: int) -> None:
    """800 whole credentials with up to two dozen blank nodes; 20,000 lighter ones: test_compiled_is_reference.py."""
    tally = Tally()
    compare_batch(seed, tally)
    # A quarter has had rough values put in its slots; all others follow from facts.
    assert tally.compiled >= tally.documents * 0.7, tally.reasons


TEXT_SHAPES = Shapes()


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(texts=st.lists(TEXTS, min_size=6, max_size=6), number=st.integers(0, 2**53 - 1))
def test_texts_of_every_plane(texts: list[str], number: int) -> None:
    document = graded(*texts[:3])
    document["credentialSubject"] |= {"term": texts[3], "creditsEarned": number}
    document["credentialSubject"]["identifier"][0]["identityHash"] = texts[4]
    document["credentialStatus"]["statusListIndex"] = texts[5]
    compare_or_reference(document)


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(value=st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**60), 2**60))
def test_numbers(value: float) -> None:
    document = open_badge_credential(FORMS["credits"])
    document["credentialSubject"]["creditsEarned"] = value
    compare_or_reference(document)


def compare_or_reference(document: Document) -> None:
    try:
        compare_forms(TEXT_SHAPES, document, document)
    except TakesReference:
        signer = CompiledSigner(SIGNER, AS_OF, (JCS,), shapes=TEXT_SHAPES)
        assert outcome(signer.serialized, document) == outcome(reference_jcs, document)


def reference_jcs(document: Document) -> bytes:
    return serialize(sign(document, SIGNER, AS_OF, (JCS,)))


def outcome(act: Callable[[Document], Any], document: Document) -> Any:
    try:
        return act(document)
    except (CanonicalizationError, BuildError, UnicodeEncodeError) as cause:
        return type(cause), str(cause)


def graded(*values: str, **more: Any) -> Document:
    document = open_badge_credential(facts(1, name="Ada"))
    document["credentialSubject"]["result"] = [{"type": ["Result"], "value": value} for value in values]
    return document | more


# --- orders that values decide ---


def test_iris_in_another_order_than_in_the_first_document() -> None:
    signer = CompiledSigner(SIGNER, AS_OF)
    for host in ("badges", "aaa", "zzz", "badgesx", "badge"):
        document = graded("A", id=f"https://{host}.example.org/1", refreshService={
            "id": f"http://{host[::-1]}.example/", "type": "1EdTechCredentialRefresh",
        })  # fmt: skip
        assert signer.serialized(document) == serialize(sign(document, SIGNER, AS_OF))
    assert not signer.reasons


def test_a_dozen_blank_nodes_and_more_change_places() -> None:
    """c14n10 sorts before c14n2."""
    shapes = Shapes()
    for n in range(12):
        compare_forms(shapes, graded(*(f"{(k * 5 + n) % 13}" for k in range(13))), n)


def scales(*names: str) -> Achievement:
    described = tuple(
        ResultDescription(f"{BASE}/a#{name}", name, "LetterGrade", allowedValue=("A", "B", "C", "F")) for name in names
    )
    return Achievement(
        id=f"{BASE}/a",
        name="A",
        description="D",
        achievement_type="Course",
        criteria_narrative="N",
        result_descriptions=described,
    )


@pytest.mark.parametrize("names", [("x", "y"), ("x", "y", "z"), ("p", "q", "r", "s", "t")], ids=len)
def test_equal_grading_scales_are_told_apart_as_the_reference_does(names: tuple[str, ...]) -> None:
    achievement = scales(*names)
    shapes = Shapes()
    for n in range(15):
        results = tuple(Result("ABCF"[(n + k) % 4], x.id) for k, x in enumerate(achievement.result_descriptions))
        compare_forms(shapes, open_badge_credential(facts(n, achievement=achievement, results=results)), n)


# --- guards: the document takes the reference path, and why ---


class Place(StrEnum):
    HERE = f"{BASE}/status/1.json"


class Name(str):
    __slots__ = ()


def replaced(path: tuple[Any, ...], value: Any) -> Document:
    document = copy.deepcopy(graded("A", "B"))
    target: Any = document
    for step in path[:-1]:
        target = target[step]
    target[path[-1]] = value
    return document


SUBJECT = "credentialSubject"
VALUE = (SUBJECT, "result", 0, "value")
GUARDS: list[tuple[str, Document, str]] = [
    # Hash N-Degree Quads would be needed, with values: that is the reference's.
    ("ties", replaced(VALUE, "B"), "one first-degree hash"),
    ("triple twice", graded("A", evidence=[{"id": f"{BASE}/e", "type": ["Evidence"]}] * 2), "a triple stands twice"),
    # The node map merges them, and their triples may be the same.
    ("one IRI for two", graded("A", "B", id=f"{BASE}/state/{1:026d}.json"), "two members have one IRI"),
    ("empty", replaced(VALUE, ""), "an empty string"),
    ("noncharacter", replaced(VALUE, "a\ufdd0"), "a noncharacter"),
    ("surrogate", replaced(VALUE, "\ud800"), "not JSON"),
    # JSON-LD resolves, expands or drops these; libraries disagree on white space beyond ASCII.
    ("relative IRI", replaced(("id",), "credentials/1"), "not an absolute IRI"),
    ("protocol-relative IRI", replaced(("id",), "//x.example/1"), "not an absolute IRI"),
    ("compact IRI", replaced(("id",), "schema:x"), "not an absolute IRI"),
    ("blank node", replaced(("id",), "_:b0"), "not an absolute IRI"),
    ("keyword", replaced(("id",), "@type"), "not an absolute IRI"),
    ("space in an IRI", replaced(("id",), "https://x.example/a b"), "not an absolute IRI"),
    ("no-break space in an IRI", replaced(("id",), "https://x.example/a\u00a0b"), "not an absolute IRI"),
    ("control in an IRI", replaced(("id",), "https://x.example/a\x7f"), "not an absolute IRI"),
    ("bracket in an IRI", replaced(("id",), "https://x.example/<a>"), "not an absolute IRI"),
    # orjson, json and RFC 8785 write these differently, or not at all.
    ("large integer", replaced((SUBJECT, "creditsEarned"), 2**53), "a number that JSON libraries write differently"),
    ("huge integer", replaced((SUBJECT, "creditsEarned"), 2**70), "not JSON"),
    ("whole float", replaced((SUBJECT, "creditsEarned"), 3.0), "a number that JSON libraries write differently"),
    ("small float", replaced((SUBJECT, "creditsEarned"), 1e-7), "differently"),
    ("large float", replaced((SUBJECT, "creditsEarned"), 1e22), "differently"),
    ("not a number", replaced((SUBJECT, "creditsEarned"), float("nan")), "differently"),
    # What no JSON reader returns.
    ("tuple", replaced((SUBJECT, "result"), ({"type": ["Result"], "value": "A"},)), "tuple"),
    ("tuple of types", replaced(("type",), ("VerifiableCredential", "OpenBadgeCredential")), "not compilable"),
    ("subclass", replaced(VALUE, Name("A")), "value is a Name"),
    ("enumeration", replaced(("credentialStatus", "statusListCredential"), Place.HERE), "is a Place"),
    ("UUID", replaced(VALUE, uuid.UUID(int=1)), "UUID"),
    ("instant", replaced(("validFrom",), datetime(2025, 1, 1, tzinfo=UTC)), "datetime is not JSON"),
    ("decimal", replaced((SUBJECT, "creditsEarned"), Decimal(1)), "Decimal"),
    # Refused at compile time, with the member at fault; the reference says why.
    ("undefined term", graded("A", "B", grade="A"), "the term 'grade'"),
    ("undefined type", replaced((SUBJECT, "result", 0, "type"), ["Resultt"]), "no context defines the term"),
    ("null", graded("A", "B", name=None), "name is null"),
    ("keyword member", replaced((SUBJECT, "@id"), "https://x.example/"), "the JSON-LD keyword '@id'"),
    ("inline context", graded("A", "B", **{"@context": [{"x": "https://x.example/"}]}), "inline contexts"),
    ("unknown context", graded("A", "B", **{"@context": ["https://x.example/"]}), "no canonical form"),
]


@pytest.mark.parametrize(("document", "reason"), [x[1:] for x in GUARDS], ids=[x[0] for x in GUARDS])
def test_a_guard_sends_the_document_to_the_reference(document: Document, reason: str) -> None:
    signer = CompiledSigner(SIGNER, AS_OF)
    signer.serialized(graded("A", "B"))
    for number in (1, 1.5) if "creditsEarned" in document[SUBJECT] else ():
        signer.serialized(replaced((SUBJECT, "creditsEarned"), number))
    assert not signer.reasons
    found = any_outcome(signer.serialized, document)
    assert found == any_outcome(lambda x: serialize(sign(x, SIGNER, AS_OF)), document)
    assert [why for why in signer.reasons if reason in why], signer.reasons


def any_outcome(act: Callable[[Document], Any], document: Document) -> Any:
    try:
        return act(document)
    except Exception as cause:
        return type(cause), str(cause)


@pytest.mark.parametrize("name", ["Ada", 'Ada "A" L'])
@pytest.mark.parametrize(
    ("member", "value"),
    [("hashed", 1), ("hashed", 0.0), ("hashed", "true"), ("salt", 7), ("more", "x"), ("salt", ["x"])],
)
def test_what_only_looks_like_the_shape_is_another_one(name: str, member: str, value: Any) -> None:
    """1 equals True for Python; members and types are told apart by the bytes."""
    signer = CompiledSigner(SIGNER, AS_OF)
    document = graded(name)
    for identifier in (None, document[SUBJECT]["identifier"][0] | {member: value}):
        if identifier:
            document[SUBJECT]["identifier"][0] = identifier
        assert any_outcome(signer.serialized, document) == any_outcome(
            lambda x: serialize(sign(x, SIGNER, AS_OF)), document
        )


def test_a_document_that_its_owner_goes_on_to_change() -> None:
    signer = CompiledSigner(SIGNER, AS_OF)
    document = graded("A")
    signer.serialized(document)
    document["issuer"]["name"] = "Another"
    document[SUBJECT]["achievement"]["criteria"]["narrative"] = "Other criteria."
    for changed in (document, graded("A"), document):
        assert signer.serialized(changed) == serialize(sign(changed, SIGNER, AS_OF))
    assert len(signer.reasons) == 0


def test_another_scheme_than_the_shape_has() -> None:
    shapes = Shapes()
    for known in ("did:key:z6MkA", "did:web:a.example"):
        document = graded("A")
        document[SUBJECT] = {"id": known, **document[SUBJECT]}
        compare_forms(shapes, document, known)
    for other in ("did://x", "did:a b", "did:a\u3000b", "did:"):
        document = graded("A")
        document[SUBJECT] = {"id": other, **document[SUBJECT]}
        shape, values = shapes.read(document)
        if other == "did:":
            assert shape.nquads(values) == rdfc(document).encode()
        else:
            with pytest.raises(TakesReference, match="of the scheme did:"):
                shape.nquads(values)


def test_more_shapes_alike_than_are_kept() -> None:
    shapes = Shapes()
    signer = CompiledSigner(SIGNER, AS_OF, shapes=shapes)
    for n in range(10):
        document = graded("A") | {"name": f"{n}"}
        assert signer.serialized(document) == serialize(sign(document, SIGNER, AS_OF))
    assert signer.reasons == {"more than 8 shapes look alike": 2}


def test_shapes_are_bounded_and_forgotten_ones_learned_again() -> None:
    shapes = Shapes(limit=2)
    for _ in range(2):
        for form in ("least", "name", "validity"):
            compare_forms(shapes, open_badge_credential(FORMS[form]), form)
    with pytest.raises(TakesReference, match="not known yet"):
        shapes.read(open_badge_credential(FORMS["least"]), learn=False)


@pytest.mark.parametrize(
    ("term", "definition", "reason"),
    [
        (
            "weight",
            {"@id": "https://x.example/w", "@type": "http://www.w3.org/2001/XMLSchema#double"},
            "weight is rewritten by its datatype",
        ),
        ("kind", {"@id": "https://x.example/k", "@type": "@vocab"}, "kind takes some values only"),
        ("data", {"@id": "https://x.example/d", "@type": "@json"}, "'@json' is no absolute IRI"),
        ("by", {"@id": "https://x.example/b", "@container": "@language"}, None),
        ("gone", None, "no context defines the term"),
    ],
)
def test_a_term_that_changes_its_value_is_refused_at_compile_time(
    term: str, definition: Any, reason: str | None
) -> None:
    context = "https://x.example/context"

    def loader(url: str, options: Any = None) -> dict[str, Any]:
        if url != context:
            return document_loader(url, options)
        document = {"@context": {"id": "@id", "seen": "https://x.example/s", term: definition}}
        return {"contentType": "application/ld+json", "contextUrl": None, "documentUrl": url, "document": document}

    value = {"en": "one"} if term == "by" else "one"
    document = {"@context": [context], "id": "https://x.example/1", "seen": "yes", term: value}
    if reason is None:
        shape = compile_shape(document, loader)
        other = document | {term: {"en": 'tw"o'}}
        assert shape.nquads(shape.read(other)) == rdfc(other, loader=loader).encode()
        return
    with pytest.raises(NotCompilable, match=reason):
        compile_shape(document, loader)


def test_too_many_slots_and_blank_nodes() -> None:
    with pytest.raises(NotCompilable, match="slots"):
        compile_shape(graded(*(f"{n}" for n in range(400))))
    with pytest.raises(NotCompilable, match="blank nodes"):
        compile_shape(graded(*(f"{n}" for n in range(250))))
    with pytest.raises(NotCompilable, match="bytes"):
        compile_shape(graded("A") | {"name": "x" * 40_000})


# --- the rest ---


def test_an_embedded_credential_keeps_its_graph() -> None:
    """A learner record embeds signed credentials: proofs are named graphs of blank nodes."""
    shapes = Shapes()
    for n in range(4):
        member = signed(facts(n, name=f"Ada {n}"))
        record = {
            "@context": [
                "https://www.w3.org/ns/credentials/v2",
                "https://purl.imsglobal.org/spec/clr/v2p0/context-2.0.1.json",
                "https://purl.imsglobal.org/spec/ob/v3p0/context-3.0.3.json",
                "https://purl.imsglobal.org/spec/ob/v3p0/extensions.json",
            ],
            "id": f"{BASE}/records/{n}.json",
            "type": ["VerifiableCredential", "ClrCredential"],
            "issuer": member["issuer"],
            "validFrom": member["validFrom"],
            "name": "Record",
            "credentialSubject": {
                "type": ["ClrSubject"],
                "verifiableCredential": [
                    {k: v for k, v in member.items() if k != "@context"} | {"proof": member["proof"][:1]}
                ],
            },
        }
        compare_forms(shapes, record, n)


def test_threads_share_shapes() -> None:
    shapes = Shapes()
    documents = [open_badge_credential(form) for form in FORMS.values()] * 4
    expected = [serialize(sign(document, SIGNER, AS_OF)) for document in documents]
    with ThreadPoolExecutor(4) as pool:
        signer = CompiledSigner(SIGNER, AS_OF, shapes=shapes)
        assert list(pool.map(signer.serialized, documents)) == expected


def test_a_stranger_s_document_is_not_compiled_before_its_jcs_proof_holds() -> None:
    verifier = CompiledVerifier()
    document = json.loads(serialize(signed(FORMS["name"])))
    forged = document | {"name": "Forged"}
    with pytest.raises(ValueError, match="does not match"):
        verifier.verify_proof(forged, forged["proof"][1], PUBLIC)
    assert verifier.reasons == {"a shape that is not known yet": 1}
    verify_proof(document, document["proof"][1], PUBLIC)

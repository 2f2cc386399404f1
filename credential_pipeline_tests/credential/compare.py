"""The compiled implementation beside the reference, byte for byte, on credentials that follow from a seed."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from credential_pipeline.credential.canonical import CanonicalizationError, jcs, rdfc
from credential_pipeline.credential.document import open_badge_credential
from credential_pipeline.credential.known_shapes import CompiledSigner, CompiledVerifier, Shapes
from credential_pipeline.credential.lexical import TakesReference
from credential_pipeline.credential.proof import sign
from credential_pipeline.credential.text import serialize
from credential_pipeline_tests.credential.forms import AS_OF, PUBLIC, SIGNER
from credential_pipeline_tests.credential.random_credentials import Source

BATCH = 40
SHARES = 10
SHARE = 2000
"""Documents that the suite compares in each of SHARES tests; they are in two files, for two workers."""


@dataclass
class Tally:
    """What was compared so far."""

    documents: int = 0
    compiled: int = 0
    reasons: Counter[str] = field(default_factory=Counter)


def compare_batch(seed: int, tally: Tally, count: int = BATCH) -> None:
    """A batch of one random layout; AssertionError names the seed that repeats it."""
    source = Source(seed)
    layout = source.layout()
    shapes = Shapes()
    signer = CompiledSigner(SIGNER, AS_OF, shapes=shapes)
    for number in range(count):
        facts = source.facts(layout)
        document = source.document(layout, facts)
        assert signer.credential(facts) == signer.serialized(open_badge_credential(facts)), (seed, number)
        if number % 4 == 3:
            document = source.rough(document)
        tally.documents += 1
        try:
            compare_forms(shapes, document, (seed, number))
            tally.compiled += 1
        except TakesReference as why:
            tally.reasons[str(why)] += 1
        if number in (1, 7):
            compare_proofs(signer, shapes, document, (seed, number))


def compare_share(number: int) -> Tally:
    """SHARE light documents of 20 random layouts; the same ones each time, and others for each number.

    The largest ones are for `compare_batch`.
    """
    tally = Tally()
    for batch in range(20):
        source = Source(f"share {number}, batch {batch}")
        layout = source.layout()
        layout = replace(layout, results=min(layout.results, 3), evidence=min(layout.evidence, 1))
        parts = {part for part in PARTS if source.random.random() < 0.6}
        shapes = Shapes()
        for n in range(SHARE // 20):
            document = light(source.document(layout, source.facts(layout)), parts)
            if n % 8 == 7:
                document = source.rough(document)
            tally.documents += 1
            try:
                compare_forms(shapes, document, (number, batch, n))
                tally.compiled += 1
            except TakesReference as why:
                tally.reasons[str(why)] += 1
    return tally


PARTS = ("identifier", "result", "evidence", "credentialStatus", "refreshService", "achievement")


def light(document: dict[str, Any], parts: set[str]) -> dict[str, Any]:
    """With these of PARTS only, and next to nothing of issuer and achievement, which are constants of a shape.

    The reference takes 0.1 ms an object: 0.7 for this, 2 or 3 for a whole credential.
    """
    dropped = {*PARTS, "credentialSchema", "name"} - parts
    subject = {name: value for name, value in document["credentialSubject"].items() if name not in dropped}
    if "achievement" in subject:
        subject["achievement"] = {name: subject["achievement"][name] for name in ("id", "type", "name")}
    kept = {name: value for name, value in document.items() if name not in dropped}
    return kept | {"issuer": document["issuer"]["id"], "credentialSubject": subject}


def compare_forms(shapes: Shapes, document: dict[str, Any], where: Any) -> None:
    """Serialization, JCS, canonical N-Quads and their hash; raises TakesReference."""
    shape, values = shapes.read(document)
    nquads = shape.nquads(values)
    assert values.serialized == serialize(document), where
    assert shape.jcs(values) == jcs(document), where
    expected = rdfc(document).encode()
    assert nquads == expected, where
    assert shape.nquads_sha256(values.nquads) == hashlib.sha256(expected).digest(), where


def compare_proofs(signer: CompiledSigner, shapes: Shapes, document: dict[str, Any], where: Any) -> None:
    """The signed document, and its verification; what one refuses the other refuses in the same words."""
    try:
        expected = sign(document, SIGNER, AS_OF)
    except CanonicalizationError as cause:
        with pytest.raises(CanonicalizationError) as refused:
            signer.serialized(document)
        if str(refused.value) != str(cause):
            raise
        return
    assert signer.serialized(document) == serialize(expected), where
    assert signer.sign(document) == expected, where
    verifier = CompiledVerifier(shapes=shapes)
    read = json.loads(serialize(expected))
    for proof in reversed(read["proof"]):
        verifier.verify_proof(read, proof, PUBLIC)

"""Signing and verifying by known shapes: the compiled implementation of the contract in many.py.

Belongs here: which shape a document may have, and proofs over what a shape fills. Does not belong here: canonical
forms. Without this file and those it imports for it everything does the same, only slower: many.py lists them.
"""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from credential_pipeline.credential import proof as reference
from credential_pipeline.credential.canonical import CanonicalizationError, Loader, jcs, rdfc
from credential_pipeline.credential.compiled import OtherShape, Shape, Template, Values
from credential_pipeline.credential.contexts import document_loader
from credential_pipeline.credential.document import CONTEXTS, CredentialFacts, open_badge_credential
from credential_pipeline.credential.ed25519_check import matches
from credential_pipeline.credential.keys import Signer
from credential_pipeline.credential.known_facts import KnownFacts, UnknownFacts, Variant
from credential_pipeline.credential.lexical import TakesReference
from credential_pipeline.credential.proof import (
    ANY_TIME,
    BOTH,
    JCS,
    RDFC,
    ProofOptions,
    check_options,
    proof_config,
)
from credential_pipeline.credential.proof_value import decode_proof_value, encode_proof_value
from credential_pipeline.credential.shape import compile_shape
from credential_pipeline.credential.slots import NotCompilable
from credential_pipeline.credential.text import serialize

Document = dict[str, Any]

_OPEN_BADGE: Document = {"@context": list(CONTEXTS)}

_ALIKE = 8
"""Shapes, and refusals, of documents that look alike: beyond it compiling (10 ms) never pays."""


@dataclass(slots=True)
class _Known:
    """What became of documents that look alike; replaced as a whole, so that readers need no lock."""

    shapes: tuple[Shape, ...] = ()
    refusals: tuple[str, ...] = ()


class Shapes:
    """Shapes that were met, at most `limit` of them (about 60 kB each); for any number of threads."""

    def __init__(self, limit: int = 1000, loader: Loader = document_loader) -> None:
        self._limit = limit
        self._loader = loader
        self._known: dict[Any, _Known] = {}
        self._count = 0
        self._lock = threading.Lock()

    def read(self, document: Document, *, learn: bool = True) -> tuple[Shape, Values]:
        """The shape of `document` and its values; compiles an unknown one if `learn`. Raises TakesReference."""
        look = _look(document)
        try:
            known = self._known.get(look)
        except TypeError:
            raise TakesReference("an achievement whose id is no text") from None
        if known is not None:
            for number, shape in enumerate(known.shapes):
                try:
                    values = shape.read(document)
                except OtherShape:
                    continue
                if number:
                    self._first(look, shape)
                return shape, values
        if not learn:
            raise TakesReference("a shape that is not known yet")
        return self._learn(look, document)

    def _first(self, look: Any, shape: Shape) -> None:
        with self._lock:
            known = self._known.get(look)
            if known is not None and shape in known.shapes:
                known.shapes = (shape, *(x for x in known.shapes if x is not shape))

    def _learn(self, look: Any, document: Document) -> tuple[Shape, Values]:
        known = self._known.get(look) or _Known()
        if len(known.shapes) >= _ALIKE:
            raise TakesReference(f"more than {_ALIKE} shapes look alike")
        if len(known.refusals) >= _ALIKE:
            raise TakesReference(f"not compilable: {known.refusals[0]}")
        try:
            shape = compile_shape(document, self._loader)
        except NotCompilable as cause:
            self._note(look, refusal=str(cause))
            raise TakesReference(f"not compilable: {cause}") from cause
        try:
            values = shape.read(document)
        except OtherShape as cause:
            self._note(look, refusal=str(cause))
            raise TakesReference(f"not compilable: {cause}") from cause
        # 4 ms once a shape, against an error in every document of it.
        if problem := self._differs(shape, values, document):
            self._note(look, refusal=problem)
            raise TakesReference(f"not compilable: {problem}")
        self._note(look, shape=shape)
        return shape, values

    def _differs(self, shape: Shape, values: Values, document: Document) -> str | None:
        try:
            if values.serialized != serialize(document) or shape.jcs(values) != jcs(document):
                return "the JSON of the first document differs from the reference"
            if "@context" in document and shape.nquads(values) != rdfc(document, loader=self._loader).encode():
                return "the N-Quads of the first document differ from the reference"
        except CanonicalizationError as cause:
            raise TakesReference(str(cause)) from cause
        return None

    def _note(self, look: Any, *, shape: Shape | None = None, refusal: str | None = None) -> None:
        with self._lock:
            while self._known and self._count >= self._limit:
                oldest = self._known.pop(next(iter(self._known)))
                self._count -= len(oldest.shapes) + len(oldest.refusals)
            self._count += 1
            known = self._known.setdefault(look, _Known())
            if shape:
                known.shapes = (shape, *known.shapes)
            if refusal:
                known.refusals = (*known.refusals, refusal)


def _look(document: Document) -> Any:
    """What tells most shapes apart in 1 us: members, achievement, and the sizes of identifiers and results."""
    subject: Any = document.get("credentialSubject")
    try:
        return (
            subject["achievement"]["id"],
            len(document),
            *subject,
            *map(len, subject["identifier"]),
            *map(len, subject.get("result", ())),
        )
    except (TypeError, KeyError, AttributeError):
        return tuple(document)


class CompiledSigner:
    """Signs documents as `proof.sign` does, byte for byte, by their shapes where it can."""

    def __init__(
        self, signer: Signer, created: datetime, suites: Sequence[str] = BOTH, *, shapes: Shapes | None = None
    ) -> None:
        self._signer = signer
        self._created = created
        self._suites = tuple(suites)
        self._shapes = shapes or Shapes()
        self._facts = KnownFacts()
        self._configs: dict[Any, list[_Config]] = {}
        self._open_badge: list[_Config] = []
        self.reasons: Counter[str] = Counter()
        """Why documents took the reference path."""

    def verifier(self) -> CompiledVerifier:
        """A verifier that knows the shapes of what was signed."""
        return CompiledVerifier(shapes=self._shapes)

    def sign(self, document: Document) -> Document:
        """`proof.sign(document, signer, created, suites)`."""
        unsecured = _unsecured(document)
        try:
            configs, proof_values, _ = self._proofs(unsecured)
        except TakesReference as cause:
            why = str(cause)
        else:
            proofs = [c.config | {"proofValue": v.decode()} for c, v in zip(configs, proof_values, strict=True)]
            return unsecured | {"proof": proofs if "@context" in unsecured else proofs[0]}
        return self._by_reference(document, why)

    def serialized(self, document: Document) -> bytes:
        """`serialize(sign(document))`, without the detour."""
        try:
            return _with_proofs(*self._proofs(_unsecured(document)))
        except TakesReference as cause:
            why = str(cause)
        return serialize(self._by_reference(document, why))

    def credential(self, facts: CredentialFacts) -> bytes:
        """`serialized(open_badge_credential(facts))`, for known facts without the document."""
        try:
            variant, json, nquads = self._facts.values(facts)
            whole: Template = variant.whole or self._whole(variant)
            shape, sign = variant.shape, self._signer.sign
            # All hashes before the first signature: a signature may be a paid call to a KMS.
            data = [
                c.sha256 + (shape.nquads_sha256(nquads, refuse_iris=False) if c.rdf else shape.jcs_sha256(json))
                for c in self._open_badge
            ]
            return whole.fill(json + [encode_proof_value(sign(x)) for x in data])
        except TakesReference as cause:
            unknown = isinstance(cause, UnknownFacts)
        document = open_badge_credential(facts)
        if unknown:
            with suppress(TakesReference):
                self._facts.learn(facts, document, self._shapes.read(document)[0])
        return self.serialized(document)

    def credentials(self, facts: Sequence[CredentialFacts]) -> list[bytes]:
        """`credential` of each, achievement by achievement.

        What a shape has of its own is some 20 kB. With 500 of them in turns each credential fetches that from memory
        anew, and takes half as long again.
        """
        signed = [b""] * len(facts)
        for place in sorted(range(len(facts)), key=lambda n: facts[n].achievement.id):
            signed[place] = self.credential(facts[place])
        return signed

    def _whole(self, variant: Variant) -> Template:
        configs = self._open_badge = self._configs_of(_OPEN_BADGE)
        slots = variant.slots
        pieces = [x for n, c in enumerate(configs) for x in (c.before, slots + n)]
        variant.whole = variant.shape.reopened([*pieces, b'"}]}'])
        return variant.whole

    def _by_reference(self, document: Document, why: str) -> Document:
        self.reasons[why] += 1
        return reference.sign(document, self._signer, self._created, self._suites)

    def _proofs(self, unsecured: Document) -> tuple[list[_Config], list[bytes], Values]:
        configs = self._configs_of(unsecured)
        shape, values = self._shapes.read(unsecured)
        return configs, self._proof_values(configs, shape, values), values

    def _proof_values(self, configs: Sequence[_Config], shape: Shape, values: Values) -> list[bytes]:
        # All hashes before the first signature: a signature may be a paid call to a KMS.
        data = [
            c.sha256 + (shape.nquads_sha256(values.nquads) if c.rdf else shape.jcs_sha256(values.json)) for c in configs
        ]
        sign = self._signer.sign
        return [encode_proof_value(sign(x)) for x in data]

    def _configs_of(self, unsecured: Document) -> list[_Config]:
        contexts = unsecured.get("@context")
        key = tuple(contexts) if type(contexts) is list else contexts
        try:
            found = self._configs.get(key)
        except TypeError:
            raise TakesReference("inline contexts") from None
        if found is None:
            suites = self._suites
            if not suites or len({*suites}) < len(suites) or {*suites} - {*BOTH}:
                raise TakesReference("suites that the reference refuses")
            if contexts is None and suites != (JCS,):
                raise TakesReference("a document without @context has no RDF form")
            method = self._signer.verification_method
            opening = b',"proof":' if contexts is None else b',"proof":['
            found = [
                _Config.of(
                    proof_config(unsecured, suite, method, self._created),
                    contexts,
                    b'"},' if number else opening,
                    document_loader,
                )
                for number, suite in enumerate(suites)
            ]
            if len(self._configs) >= 64:
                self._configs.clear()
            self._configs[key] = found
        return found


@dataclass(frozen=True, slots=True)
class _Config:
    """A proof without its value: constant for a batch (VC-DI-EDDSA 3.2.5, 3.3.5)."""

    config: Document
    sha256: bytes
    rdf: bool
    before: bytes
    """What stands before the value of this proof in the serialized document."""

    @classmethod
    def of(cls, config: Document, contexts: Any, before: bytes, loader: Loader) -> _Config:
        rdf = config["cryptosuite"] == RDFC
        try:
            form = rdfc(config | {"@context": contexts}, loader=loader).encode() if rdf else jcs(config)
        except CanonicalizationError as cause:
            raise TakesReference(f"the proof has no canonical form: {cause}") from cause
        start = before + serialize(config)[:-1] + b',"proofValue":"'
        return cls(config, hashlib.sha256(form).digest(), rdf, start)


def _with_proofs(configs: Sequence[_Config], proof_values: Sequence[bytes], values: Values) -> bytes:
    parts = [values.serialized[:-1]]
    for config, value in zip(configs, proof_values, strict=True):
        parts += (config.before, value)
    parts.append(b'"}]}' if "@context" in configs[-1].config or configs[-1].rdf else b'"}}')
    return b"".join(parts)


def _unsecured(document: Document) -> Document:
    return {k: v for k, v in document.items() if k != "proof"} if "proof" in document else document


class CompiledVerifier:
    """Checks proofs as `proof.verify_proof` does, by the shapes of documents where it can."""

    def __init__(self, *, shapes: Shapes | None = None) -> None:
        self._shapes = shapes or Shapes(limit=200)
        self._configs: dict[tuple[str, ...], bytes] = {}
        self.reasons: Counter[str] = Counter()

    def hash_data(self, document: Document, config: Document) -> bytes:
        """`proof.hash_data(document, config)`."""
        try:
            return self._hash_data(document, config)
        except TakesReference as cause:
            self.reasons[str(cause)] += 1
        return reference.hash_data(document, config)

    def verify_proof(self, document: Document, proof: Any, public_key: bytes, options: ProofOptions = ANY_TIME) -> None:
        """`proof.verify_proof(...)`: what does not hold here is refused there, in its words."""
        if self._holds(document, proof, public_key):
            check_options(proof, options)
        else:
            reference.verify_proof(document, proof, public_key, options=options)

    def _holds(self, document: Document, proof: Any, public_key: bytes) -> bool:
        try:
            # VC-DI-EDDSA 3.2.2, 3.3.2: exactly the members that `sign` writes.
            config: Document = {member: proof[member] for member in _STRINGS}
            if {*map(type, config.values())} != {str} or config["type"] != "DataIntegrityProof":
                return False
            signature = decode_proof_value(config.pop("proofValue"))
            if config["cryptosuite"] == JCS and "@context" in document:
                config["@context"] = document["@context"]
            if proof != config | {"proofValue": proof["proofValue"]} or config["proofPurpose"] != "assertionMethod":
                return False
            return matches(signature, self.hash_data(_unsecured(document), config), public_key)
        except (KeyError, TypeError, ValueError):
            return False

    def _hash_data(self, document: Document, config: Document) -> bytes:
        suite = config.get("cryptosuite")
        if suite not in BOTH:
            raise TakesReference("a cryptosuite that the reference refuses")
        # Strangers' documents arrive at jcs first: only what the issuer has signed is worth compiling.
        shape, values = self._shapes.read(document, learn=suite == RDFC)
        form = shape.nquads_sha256(values.nquads) if suite == RDFC else shape.jcs_sha256(values.json)
        return self._config_sha256(document, config, suite) + form

    def _config_sha256(self, document: Document, config: Document, suite: str) -> bytes:
        contexts = document.get("@context")
        if config.get("@context", contexts) != contexts or (suite == JCS and "@context" not in config):
            raise TakesReference("a proof in another context than its document")
        members = [*config.items()]
        key = (suite, *(x for k, v in members if k != "@context" for x in (k, v)), *(contexts or ()))
        if {*map(type, key)} != {str}:
            raise TakesReference("a proof of other members than strings")
        found = self._configs.get(key)
        if found is None:
            found = self._new_config_sha256(config | {"@context": contexts}, suite)
            if len(self._configs) >= 1024:
                self._configs.clear()
            self._configs[key] = found
        return found

    def _new_config_sha256(self, config: Document, suite: str) -> bytes:
        try:
            if suite == JCS:
                return hashlib.sha256(jcs(config)).digest()
            shape, values = self._shapes.read(config)
            return shape.nquads_sha256(values.nquads)
        except (TakesReference, CanonicalizationError) as cause:
            raise TakesReference(f"the proof: {cause}") from cause


_STRINGS = ("type", "cryptosuite", "created", "verificationMethod", "proofPurpose", "proofValue")

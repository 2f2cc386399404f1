"""The canonical forms that are signed: JCS (RFC 8785) and RDFC-1.0 (RDF Dataset Canonicalization), in safe mode.

Belongs here: one reference implementation of each, and a second opinion on RDFC-1.0 by another library. Does not
belong here: hashing, proofs, and faster implementations of the same contract.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Callable
from math import factorial
from typing import Any, NoReturn

import pyoxigraph
import rfc8785
from frozendict import frozendict
from pyld import jsonld
from pyld.canon import URDNA2015
from pyld.context_resolver import ContextResolver

from credential_pipeline.credential.contexts import document_loader

Loader = Callable[[str, Any], dict[str, Any]]


class CanonicalizationError(ValueError):
    """The document has no canonical form that every verifier would agree on."""


class UndefinedTerm(CanonicalizationError):
    """A term or an IRI that JSON-LD processing would drop in silence, leaving it unsigned."""


# I-JSON (RFC 7493 2.1) refuses surrogates and noncharacters; RFC 8785 3.1 builds on it.
_NOT_INTERCHANGEABLE = re.compile(
    "[\ud800-\udfff\ufdd0-\ufdef"
    + "".join(chr(plane << 16 | low) for plane in range(17) for low in (0xFFFE, 0xFFFF))
    + "]"
)


def jcs(document: Any) -> bytes:
    """The RFC 8785 canonical form. Raises CanonicalizationError for what RFC 8785 or I-JSON refuses."""
    try:
        data = rfc8785.dumps(document)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError, RecursionError) as cause:
        raise CanonicalizationError(f"no RFC 8785 canonical form: {cause or type(cause).__name__}") from cause
    if bad := _NOT_INTERCHANGEABLE.search(data.decode("utf-8")):
        raise CanonicalizationError(f"RFC 7493 2.1 refuses the noncharacter U+{ord(bad.group()):04X}")
    return data


def rdfc(document: dict[str, Any], *, loader: Loader = document_loader) -> str:
    """The RDFC-1.0 canonical N-Quads of a JSON-LD document, by pyld with the escaping that RDFC-1.0 5.1 asks for.

    Safe mode: raises UndefinedTerm where a member would be dropped (a term no context defines, a relative or
    malformed IRI, null, an `@` keyword), CanonicalizationError for anything else without a canonical form.
    """
    _refuse_unsafe(document)
    return _canonical_nquads(_dataset(document, loader))


def rdfc_second_opinion(document: dict[str, Any], *, loader: Loader = document_loader) -> str:
    """The same by pyoxigraph: its own JSON-LD parser, RDFC-1.0 and N-Quads writer; only the contexts are shared.

    For checks, not for signing: it does not tell dropped terms.
    """
    inlined = _inlined(document, loader)
    inlined["@context"] = _lifted(inlined)
    text = json.dumps(inlined, ensure_ascii=False, allow_nan=False).encode("utf-8")
    dataset = pyoxigraph.Dataset(pyoxigraph.parse(text, format=pyoxigraph.RdfFormat.JSON_LD))
    dataset.canonicalize(pyoxigraph.CanonicalizationAlgorithm.RDFC_1_0)
    written = pyoxigraph.serialize(dataset, format=pyoxigraph.RdfFormat.N_QUADS)
    # Split at LF alone: splitlines() would also cut at U+0085 and U+2028, which literals hold unescaped.
    written = written or b""
    return "".join(sorted(line + "\n" for line in written.decode("utf-8").split("\n") if line))


# --- safe mode: what JSON-LD would drop is refused (VC-DATA-INTEGRITY 2.4.1, JSON-LD API 5.1.2) ---

# White space beyond ASCII too: pyld's to_rdf skips an IRI with U+00A0 and with it all that is said of that node.
_IRI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^\s\x00-\x20<>\"{}|^`\\]*\Z")


# Without a base pyld resolves a relative IRI against http://example.org/base/ and that is signed; with this it shows.
_RELATIVE = "x-relative-iri://refused/"


def _refuse_unsafe(document: Any) -> None:
    """Only credentials and their proofs have `@context`, nothing has another keyword, nothing is null."""
    if not isinstance(document, dict):
        raise CanonicalizationError("a JSON-LD document to be signed is an object")
    stack: list[tuple[Any, str]] = [(value, key) for key, value in document.items() if key != "@context"]
    _refuse_inline(document)
    if any(key.startswith("@") and key != "@context" for key in document):
        raise UndefinedTerm("a JSON-LD keyword at the top level of the document: use the terms of the contexts")
    while stack:
        value, where = stack.pop()
        if value is None:
            raise UndefinedTerm(f"{where} is null: JSON-LD drops it and it would stay unsigned")
        if isinstance(value, dict):
            for key, member in value.items():
                if key == "@context" and where.rpartition(".")[2] in _WITH_CONTEXT:
                    _refuse_inline(value)
                    continue
                if key.startswith("@"):
                    raise UndefinedTerm(f"{where} holds the JSON-LD keyword {key!r}: use the terms of the contexts")
                stack.append((member, f"{where}.{key}"))
        elif isinstance(value, list):
            stack.extend((member, where) for member in value)


_WITH_CONTEXT = frozenset(["verifiableCredential", "endorsement", "proof"])
"""Members whose values were documents of their own before they were embedded (CLR 2.0, Open Badges 3.0), and proofs."""


def _refuse_inline(document: dict[str, Any]) -> None:
    if not all(isinstance(context, str) for context in _as_list(document.get("@context", []))):
        raise CanonicalizationError("@context holds something else than URLs: inline contexts are not processed")


def _refuse_dropped(value: Any) -> None:
    """In expanded form every `@id`, `@type` and datatype is an absolute IRI; to_rdf skips the others in silence."""
    if isinstance(value, list):
        for member in value:
            _refuse_dropped(member)
    elif isinstance(value, dict):
        types = value.get("@type", [])
        for iri in (value.get("@id", "urn:"), *(types if isinstance(types, list) else [types])):
            if not isinstance(iri, str) or not _IRI.match(iri) or iri.startswith("x-relative-iri:"):
                name = str(iri).removeprefix(_RELATIVE)
                raise UndefinedTerm(f"{name!r} is no absolute IRI and no context defines it: it would stay unsigned")
        for key, member in value.items():
            if key not in ("@id", "@type", "@value"):
                _refuse_dropped(member)


# --- JSON-LD to quads by pyld ---


class _Processor(jsonld.JsonLdProcessor):  # type: ignore[misc]  # pyld has no types
    """A pyld processor with contexts of its own: pyld's default cache is shared by every loader in the process."""

    def __init__(self, loader: Loader) -> None:
        super().__init__(on_property_dropped=_undefined)
        self.options = {
            "base": _RELATIVE,
            "documentLoader": loader,
            "contextResolver": ContextResolver({}, loader),
            "processingMode": "json-ld-1.1",
        }

        self._scoped: dict[tuple[str, int, bool, bool], tuple[Any, Any]] = {}

    def expand(self, input_: Any, options: dict[str, Any]) -> Any:
        expanded = super().expand(input_, options)
        _refuse_dropped(expanded)
        return expanded

    def _process_context(
        self,
        active_ctx: Any,
        local_ctx: Any,
        options: dict[str, Any],
        override_protected: bool = False,
        propagate: bool = True,
        validate_scoped: bool = True,
        cycles: Any = None,
    ) -> Any:
        """Remembers type-scoped contexts, which pyld processes anew for every node: 5.6 ms a document become 2.2."""
        # A frozen active context is complete and never changes; the local one is held so that its id stays its own.
        if not (isinstance(active_ctx, frozendict) and isinstance(local_ctx, dict) and "_uuid" in active_ctx):
            return super()._process_context(
                active_ctx, local_ctx, options, override_protected, propagate, validate_scoped, cycles
            )
        key = (active_ctx["_uuid"], id(local_ctx), override_protected, propagate)
        if key not in self._scoped:
            if len(self._scoped) >= 2000:
                self._scoped.clear()
            processed = super()._process_context(
                active_ctx, local_ctx, options, override_protected, propagate, validate_scoped, cycles
            )
            self._scoped[key] = (local_ctx, processed)
        return self._scoped[key][1]


def _undefined(term: str | None) -> NoReturn:
    raise UndefinedTerm(f"no context defines the term {term!r}: it would stay unsigned")


# pyld's caches are not safe across threads, and a processed context costs 20 ms: one processor a thread and loader.
_local = threading.local()


def _dataset(document: dict[str, Any], loader: Loader) -> dict[str, list[dict[str, Any]]]:
    processors: dict[Loader, _Processor] = _local.__dict__.setdefault("processors", {})
    processor = processors.get(loader)
    if processor is None:
        if len(processors) >= 8:
            processors.clear()
        processor = processors[loader] = _Processor(loader)
    try:
        dataset: dict[str, list[dict[str, Any]]] = processor.to_rdf(document, processor.options)
    except (jsonld.JsonLdError, RecursionError) as cause:
        raise _explained(cause) from cause
    return dataset


def _explained(cause: BaseException) -> CanonicalizationError:
    """The innermost reason: pyld wraps ours, and a loader's, in two layers of its own."""
    inner: BaseException = cause
    while inner.__cause__ is not None:
        inner = inner.__cause__
    if isinstance(inner, CanonicalizationError):
        return inner
    return CanonicalizationError(f"not processable as JSON-LD: {str(inner)[:300] or type(inner).__name__}")


# --- quads to canonical N-Quads: RDFC-1.0 over pyld's implementation of the algorithm ---

_XSD_STRING = "http://www.w3.org/2001/XMLSchema#string"
_RDF_LANG_STRING = "http://www.w3.org/1999/02/22-rdf-syntax-ns#langString"

# RDFC-1.0 5.1, canonical N-Quads: seven ECHARs; other controls, DEL and what XML 1.1 Char excludes as \\uXXXX.
_ESCAPES = {code: f"\\u{code:04X}" for code in (*range(0x20), 0x7F, 0xFFFE, 0xFFFF)} | {
    0x08: "\\b",
    0x09: "\\t",
    0x0A: "\\n",
    0x0C: "\\f",
    0x0D: "\\r",
    0x22: '\\"',
    0x5C: "\\\\",
}

# A few kB of blank nodes that look alike cost RDFC-1.0 minutes (7.1 of its Security Considerations). Our credentials
# need at most a few dozen paths: alignments or results that are equal in every member. A transcript needs 37 for each
# of its members, which show the same name and the same scale of grades.
_MAX_PATHS = 4000
_MAX_PATHS_A_NODE = 4


class _Rdfc10(URDNA2015):  # type: ignore[misc]  # pyld has no types
    """pyld's URDNA2015 with the escaping of RDFC-1.0 in every hash, a bound on work, and no deep copies."""

    def __init__(self) -> None:
        super().__init__()
        self._paths = 0

    def hash_first_degree_quads(self, id_: str) -> str:
        info = self.blank_node_info[id_]
        if "hash" not in info:
            lines = sorted(_nquad(quad, lambda label: "_:a" if label == id_ else "_:z") for quad in info["quads"])
            info["hash"] = hashlib.sha256("".join(lines).encode("utf-8")).hexdigest()
        digest: str = info["hash"]
        return digest

    def create_hash_to_related(self, id_: str, issuer: Any) -> dict[str, list[str]]:
        related: dict[str, list[str]] = super().create_hash_to_related(id_, issuer)
        self._paths += 1 + sum(factorial(min(len(nodes), 10)) for nodes in related.values())
        most = max(_MAX_PATHS, _MAX_PATHS_A_NODE * len(self.blank_node_info))
        if self._paths > most:
            raise CanonicalizationError(f"too many indistinguishable blank nodes (over {most} paths to compare)")
        return related


def _canonical_nquads(dataset: dict[str, list[dict[str, Any]]]) -> str:
    # Graph names are added by main(); a quad twice would be hashed twice, and RDF datasets are sets.
    unique = {
        graph: list({_nquad(triple, str): triple for triple in triples}.values()) for graph, triples in dataset.items()
    }
    algorithm = _Rdfc10()
    # main() returns pyld's own escaping; the quads it leaves behind carry the canonical labels.
    algorithm.main(unique, {"format": "application/n-quads"})
    return "".join(sorted(_nquad(quad, str) for quad in algorithm.quads))


def _nquad(quad: dict[str, Any], label: Callable[[str], str]) -> str:
    parts = [_term(quad["subject"], label), _term(quad["predicate"], label), _term(quad["object"], label)]
    if "name" in quad:
        parts.append(_term(quad["name"], label))
    return " ".join(parts) + " .\n"


def _term(term: dict[str, Any], label: Callable[[str], str]) -> str:
    value: str = term["value"]
    if term["type"] == "IRI":
        return f"<{value}>"
    if term["type"] == "blank node":
        return label(value)
    literal = f'"{value.translate(_ESCAPES)}"'
    if term["datatype"] == _RDF_LANG_STRING:
        return f"{literal}@{term['language']}"
    return literal if term["datatype"] == _XSD_STRING else f"{literal}^^<{term['datatype']}>"


# --- the second opinion ---


def _inlined(value: Any, loader: Loader) -> Any:
    """With each context in the place of its URL: pyoxigraph asks no loader."""
    if isinstance(value, list):
        return [_inlined(member, loader) for member in value]
    if not isinstance(value, dict):
        return value
    return {
        key: [_inline(c, loader) for c in _as_list(member)] if key == "@context" else _inlined(member, loader)
        for key, member in value.items()
    }


def _lifted(document: dict[str, Any]) -> list[Any]:
    """The contexts, and those that its types bring along, but the last one's.

    pyoxigraph 0.5 keeps that one only, where JSON-LD API 5.1.2 step 11 applies each: `partial`, which ClrCredential
    defines, would be lost behind VerifiableCredential. Where a lifted term means something else below, rdfc refuses it.
    """
    contexts = _as_list(document.get("@context", []))
    types = sorted(x for x in _as_list(document.get("type", [])) if isinstance(x, str))
    definitions = [c[t] for t in types for c in contexts if isinstance(c, dict) and isinstance(c.get(t), dict)]
    return contexts + [d["@context"] for d in definitions if "@context" in d][:-1]


def _inline(context: Any, loader: Loader) -> Any:
    return loader(context, None)["document"]["@context"] if isinstance(context, str) else context


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]

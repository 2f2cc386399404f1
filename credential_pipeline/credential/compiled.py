"""One shape, filled: canonical N-Quads, JCS and JSON of a document, from constant pieces and the values of its slots.

Belongs here: what runs once a document, and the guards that send a document back to the reference path. Does not
belong here: how a shape is found (shape.py), proofs (many.py), and a guess: whatever is not proven equal to the
reference at compile time is an exception here.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from operator import itemgetter, methodcaller
from typing import Any

import orjson

from credential_pipeline.credential.lexical import (
    DELETE,
    NONCHARACTER,
    RARE,
    TakesReference,
    json_number,
    nquads_number,
    nquads_text,
)
from credential_pipeline.credential.ties import NoOrder, Ties

Pool = Sequence[bytes]
"""Values by number: first the slots of the shape, then the labels of its blank nodes, then its sorted groups."""


class OtherShape(Exception):
    """The document does not have this shape: another one may fit."""


class Template:
    """Constant bytes with places for values of a pool; one C call each to pick and to fill: 0.3 us for 10 places."""

    __slots__ = ("numbers", "pick", "text")

    def __init__(self, pieces: Sequence[bytes | int]) -> None:
        self.text = b"".join(b"%b" if isinstance(x, int) else x.replace(b"%", b"%%") for x in pieces)
        self.numbers = tuple(x for x in pieces if isinstance(x, int))
        self.pick = picker(self.numbers)

    def fill(self, pool: Pool) -> bytes:
        """The bytes with the values of `pool`."""
        return self.text % self.pick(pool)

    def pieces(self) -> list[bytes | int]:
        """What it was made of; never two constants side by side."""
        numbers = iter(self.numbers)
        made: list[bytes | int] = []
        for n, part in enumerate(self.text.replace(b"%%", b"%\0").split(b"%b")):
            if n:
                made.append(next(numbers))
            if part:
                made.append(part.replace(b"%\0", b"%"))
        return made

    def reopened(self, pieces: Sequence[bytes | int]) -> Template:
        """The same without its last byte, a bracket, and with `pieces` instead."""
        more = Template(pieces)
        made = Template(())
        made.text = self.text[:-1] + more.text
        made.numbers = self.numbers + more.numbers
        made.pick = picker(made.numbers)
        return made


def picker(numbers: Sequence[Any]) -> Callable[[Any], tuple[Any, ...]]:
    """The members under these keys or numbers, always as a tuple."""
    if len(numbers) > 1:
        return itemgetter(*numbers)
    if numbers:
        only = numbers[0]
        return lambda container: (container[only],)
    return lambda _container: ()


@dataclass(frozen=True, slots=True)
class Step:
    """How to reach members of a container: `parent` counts the containers met so far, the document is 0."""

    parent: int
    pick: Callable[[Any], tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Reading:
    """Where the slots of a shape are in a document, and what the rest of it is."""

    containers: tuple[Step, ...]
    types: list[type]
    strings: tuple[Step, ...]
    numbers: tuple[Step, ...]
    number_types: list[type]
    constants: tuple[tuple[Step, tuple[Any, ...]], ...]


@dataclass(frozen=True, slots=True)
class Group:
    """Lines of one subject and predicate whose order depends on values: sorted when filled."""

    head: Template
    tails: tuple[Template, ...]

    def fill(self, pool: Pool) -> bytes:
        """The lines in code point order."""
        return sorted_lines(self.head.fill(pool), [tail.fill(pool) for tail in self.tails])

    @property
    def numbers(self) -> tuple[int, ...]:
        """All that it is filled with."""
        return tuple(n for template in (self.head, *self.tails) for n in template.numbers)


def sorted_lines(head: bytes, tails: Sequence[bytes]) -> bytes:
    """Lines of one subject and predicate; raises TakesReference. Objects sort as their lines do: what follows a term
    is a space, less than any character that a longer term could have there."""
    if len({*tails}) < len(tails):
        raise TakesReference("a triple stands twice: an RDF dataset is a set")
    return head + (b" .\n" + head).join(sorted(tails)) + b" .\n"


Block = tuple[Template, tuple[bytes, ...] | None]
"""The lines of one blank node, and the same filled for each rank of its label where nothing but that varies."""


@dataclass(frozen=True, slots=True)
class Quads:
    """The canonical N-Quads of a shape."""

    absolute: Callable[[Pool], tuple[bytes, ...]]
    """Slots that are IRIs `scheme://...`."""
    prefixed: tuple[tuple[int, bytes], ...]
    """Slots that are IRIs of one other scheme, such as `did:`; the prefix is part of the shape."""
    constant_hashes: dict[bytes, int]
    hashed: tuple[tuple[int, Template], ...]
    """The first-degree quads of each blank node that holds slots (RDFC-1.0 4.6), in their order."""
    unsorted: tuple[tuple[int, tuple[Template, ...]], ...]
    """The same, a line each, where the order depends on values."""
    ties: Ties | None
    groups: tuple[Group, ...]
    head: Template
    """The lines before the first slot and the first label that varies with slots."""
    middle: Template
    """The other lines of IRI subjects, in the order of the document that was compiled."""
    order: tuple[bytes | int, ...]
    """The subjects around which that order may break: numbers of slots, and constants up to `>`."""
    subjects: tuple[tuple[Template, Template], ...]
    """Key and lines of each IRI subject, for documents whose order is another."""
    blocks: tuple[Block, ...]
    nodes: int


LABELS = tuple(b"_:c14n%d" % n for n in range(200))
"""RDFC-1.0 4.3: canonical labels count from 0."""
BY_LABEL = {n: tuple(sorted(range(n), key=str)) for n in range(len(LABELS) + 1)}
"""Ranks in the order of their labels as text: c14n10 comes before c14n2."""

# RFC 3987 2.2, and Unicode white space, on which libraries differ: what does not match is for the reference to judge.
_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s\x00-\x20<>\"{}|^`\\]*\Z")
_AFTER_PREFIX = re.compile(r"(?!//)[^\s\x00-\x20<>\"{}|^`\\]*\Z")
_NOT_IN_IRI = bytes([*range(0x21), *b'<>"{}|^`\\', 0x7F])
_IS_HTTP = methodcaller("startswith", (b"https://", b"http://"))

_sha256 = hashlib.sha256
_OPTIONS = orjson.OPT_PASSTHROUGH_SUBCLASS | orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME
_STR = {str}


@dataclass(slots=True)
class Values:
    """The slots of one document as they stand in JSON and in N-Quads (often the same list), and its JSON."""

    json: list[bytes]
    nquads: list[bytes]
    serialized: bytes


class Shape:
    """What many documents have in common, ready to be filled with what one of them has of its own."""

    __slots__ = ("_jcs", "_json", "_quads", "_reading", "_straight")

    def __init__(
        self,
        reading: Reading,
        json: Template,
        jcs: Template,
        quads: Quads | None,
        straight: Callable[[list[bytes]], bytes | None] | None,
    ) -> None:
        self._reading = reading
        self._json = json
        self._jcs = jcs
        self._quads = quads
        self._straight = straight

    def read(self, document: dict[str, Any]) -> Values:
        """The slots of `document`; raises OtherShape, or TakesReference for values that no shape takes."""
        strings, numbers = self._members(document)
        if {*map(type, strings)} != _STR:
            raise OtherShape("a member that is a string in this shape is none")
        text = "\0".join(strings)
        try:
            values = text.encode().split(b"\0")
            serialized = orjson.dumps(document, option=_OPTIONS)
        except (TypeError, UnicodeEncodeError) as cause:
            raise TakesReference("not JSON: surrogates, large integers or Python's own types") from cause
        rare = DELETE in text if text.isascii() else RARE.search(text)
        if not rare and len(values) == len(strings):
            json = [*values, *map(json_number, numbers)] if numbers else values
            # Equal bytes prove both: all but the slots is the shape's, and no slot needs an escape.
            if self._json.fill(json) == serialized:
                if b"" in values:
                    raise TakesReference("an empty string")
                return Values(json, [*values, *map(nquads_number, numbers)] if numbers else values, serialized)
        return self._escaped(strings, numbers, serialized)

    def _members(self, document: dict[str, Any]) -> tuple[list[Any], list[Any]]:
        reading = self._reading
        containers: list[Any] = [document]
        strings: list[Any] = []
        numbers: list[Any] = []
        try:
            for step in reading.containers:
                containers += step.pick(containers[step.parent])
            for step in reading.strings:
                strings += step.pick(containers[step.parent])
            for step in reading.numbers:
                numbers += step.pick(containers[step.parent])
            for step, expected in reading.constants:
                # JSON alone would not tell a tuple from a list, nor a UUID from its text.
                if step.pick(containers[step.parent]) != expected:
                    raise OtherShape("a constant member differs")
        except (KeyError, IndexError, TypeError) as cause:
            raise OtherShape("a member is missing") from cause
        if [*map(type, containers)] != reading.types or [*map(type, numbers)] != reading.number_types:
            raise OtherShape("a member has another type")
        return strings, numbers

    def _escaped(self, strings: list[str], numbers: list[Any], serialized: bytes) -> Values:
        if "" in strings:
            raise TakesReference("an empty string")
        texts = [orjson.dumps(x)[1:-1] for x in strings]
        json = [*texts, *map(json_number, numbers)]
        if self._json.fill(json) != serialized:
            raise OtherShape("the JSON differs")
        if any(map(NONCHARACTER.search, strings)):
            raise TakesReference("a noncharacter (RFC 7493 2.1)")
        nquads = [*map(nquads_text, texts), *map(nquads_number, numbers)]
        return Values(json, nquads, serialized)

    def strings(self, document: dict[str, Any]) -> list[str]:
        """The slots of `document` that are strings, in the order of `filled`."""
        return self._members(document)[0]

    def reopened(self, pieces: Sequence[bytes | int]) -> Template:
        """The JSON with `pieces` instead of its last bracket."""
        return self._json.reopened(pieces)

    def jcs(self, values: Values) -> bytes:
        """The RFC 8785 canonical form: ASCII keys in a known order, strings escaped as in JSON, safe numbers."""
        return self._jcs.fill(values.json)

    def jcs_sha256(self, json: list[bytes]) -> bytes:
        """Its SHA-256 from slots as JSON has them."""
        return _sha256(self._jcs.fill(json)).digest()

    def nquads(self, values: Values) -> bytes:
        """The RDFC-1.0 canonical N-Quads; raises TakesReference."""
        return b"".join(self._parts(values.nquads))

    def nquads_sha256(self, nquads: list[bytes], *, refuse_iris: bool = True) -> bytes:
        """SHA-256 of `nquads`, on the straight line where it can be; raises TakesReference.

        `refuse_iris`: not where all slots that are IRIs are known to be plain URLs.
        """
        if self._quads is not None and self._straight is not None:
            if refuse_iris:
                _refuse_iris(self._quads, nquads)
            with suppress(NoOrder):
                if digest := self._straight(nquads):
                    return digest
        return _sha256(b"".join(self._parts(nquads))).digest()

    def _parts(self, values: list[bytes]) -> list[bytes]:
        """The lines in order."""
        quads = self._quads
        if quads is None:
            raise TakesReference("a document without @context has no RDF form")
        _refuse_iris(quads, values)
        ranked = _ranked(quads, values)
        labels = [b""] * quads.nodes
        for label, node in zip(LABELS, ranked, strict=False):
            labels[node] = label
        pool = values + labels
        if quads.groups:
            pool += [group.fill(pool) for group in quads.groups]
        parts = _iri_subjects(quads, values, pool)
        blocks = quads.blocks
        for rank in BY_LABEL[quads.nodes]:
            template, variants = blocks[ranked[rank]]
            parts.append(variants[rank] if variants else template.fill(pool))
        return parts


def _refuse_iris(quads: Quads, values: list[bytes]) -> None:
    absolute = quads.absolute(values)
    joined = b"".join(absolute)
    if not joined.isascii() or len(joined.translate(None, _NOT_IN_IRI)) != len(joined):
        plain = False
    else:
        plain = all(map(_IS_HTTP, absolute))
    if not plain and not all(_ABSOLUTE.match(iri.decode()) for iri in absolute):
        raise TakesReference("not an absolute IRI with //: JSON-LD may resolve or drop it (JSON-LD API 5.2)")
    for slot, prefix in quads.prefixed:
        iri = values[slot]
        if not iri.startswith(prefix) or not _AFTER_PREFIX.match(iri[len(prefix) :].decode()):
            raise TakesReference(f"not an IRI of the scheme {prefix.decode()} that this shape has there")


def _ranked(quads: Quads, values: list[bytes]) -> list[int]:
    """The blank nodes in the order of their labels (RDFC-1.0 4.4.3, steps 3 and 4).

    Digests compare as their hexadecimal digits do.
    """
    by_hash = quads.constant_hashes.copy()
    for node, first_degree in quads.hashed:
        by_hash[_sha256(first_degree.fill(values)).digest()] = node
    for node, lines in quads.unsorted:
        by_hash[_sha256(b"".join(sorted([line.fill(values) for line in lines]))).digest()] = node
    ties = quads.ties
    if len(by_hash) != quads.nodes - (ties.count if ties else 0) or (
        ties and not by_hash.keys().isdisjoint(ties.hashes)
    ):
        raise TakesReference("two blank nodes have one first-degree hash (RDFC-1.0 4.4.3, step 5)")
    ranked = [by_hash[digest] for digest in sorted(by_hash)]
    if ties:
        try:
            ranked += ties.order(ranked, lambda: {node: digest for digest, node in by_hash.items()})
        except NoOrder as cause:
            raise TakesReference(str(cause)) from cause
    return ranked


def _iri_subjects(quads: Quads, values: list[bytes], pool: list[bytes]) -> list[bytes]:
    before = b""
    for subject in quads.order:
        key = subject if isinstance(subject, bytes) else values[subject] + b">"
        if key <= before:
            break
        before = key
    else:
        return [quads.head.fill(pool), quads.middle.fill(pool)]
    blocks = {key.fill(values): lines for key, lines in quads.subjects}
    if len(blocks) != len(quads.subjects):
        raise TakesReference("two members have one IRI: their lines are one node's")
    return [blocks[key].fill(pool) for key in sorted(blocks)]

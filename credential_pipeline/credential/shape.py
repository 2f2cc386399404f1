"""A document -> its shape: compiled once by the reference on sentinel values, for compiled.py to fill.

Belongs here: what the reference makes of the slots, and which orders are known before the values are. Does not belong
here: which members are slots (slots.py), and anything that runs once a document.

RDFC-1.0 costs 2 to 5 ms a document; credentials of one achievement differ in a few members only. Each of these gets a
sentinel, the reference canonicalizes that document, and where a sentinel turns up whole there is a slot. One that does
not turn up whole, or that changes more than itself, makes the shape NotCompilable: its documents take the reference
path.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cmp_to_key
from typing import Any

from credential_pipeline.credential.canonical import CanonicalizationError, Loader, jcs, rdfc
from credential_pipeline.credential.compiled import (
    LABELS,
    Block,
    Group,
    Quads,
    Shape,
    Template,
    picker,
)
from credential_pipeline.credential.contexts import document_loader
from credential_pipeline.credential.slots import NotCompilable, Slot, Walk, split
from credential_pipeline.credential.straight import straight
from credential_pipeline.credential.text import serialize
from credential_pipeline.credential.ties import Ties, Triple

# A shape takes some 20 times the memory of its document, and a stranger's may be large.
_MAX_SLOTS = 400
_MAX_BYTES = 32 << 10
_MAX_VARIANTS = 16
"""Blank nodes up to which a constant one is kept under each of its labels: 16 x 16 x 0.4 kB."""

_XSD_DOUBLE = b"^^<http://www.w3.org/2001/XMLSchema#double>"
_RDF_JSON = b"^^<http://www.w3.org/1999/02/22-rdf-syntax-ns#JSON>"
_LINE = re.compile(
    rb'(<[^>]*>|_:c14n[0-9]+) (<[^>]*>) (<[^>]*>|_:c14n[0-9]+|"(?:[^"\\]|\\.)*"(?:\^\^<[^>]*>|@[A-Za-z0-9-]+)?)'
    rb"(?: (<[^>]*>|_:c14n[0-9]+))? \.\n"
)

Pieces = tuple[bytes | int, ...]
"""Constant bytes, and numbers of a pool (see compiled.Pool); never two constants side by side."""


def compile_shape(document: dict[str, Any], loader: Loader = document_loader) -> Shape:
    """The shape of `document` (without proof). Raises NotCompilable, also for what the reference refuses."""
    walk = Walk(document)
    slots = walk.slots
    text = serialize(walk.document)
    if len(slots) > _MAX_SLOTS or len(text) > _MAX_BYTES:
        raise NotCompilable(f"{len(slots)} slots in {len(text)} bytes: larger than what shapes are made for")
    json = split(text, slots, "JSON")
    try:
        canonical = split(jcs(walk.document), slots, "RFC 8785")
    except CanonicalizationError as cause:
        raise NotCompilable(str(cause)) from cause
    quads = _quads(walk.document, slots, loader) if "@context" in document else None
    return Shape(walk.reading(), json, canonical, quads, straight(quads, len(slots)) if quads else None)


# --- canonical N-Quads ---


@dataclass(frozen=True, slots=True)
class _Line:
    subject: Pieces
    predicate: bytes
    target: Pieces
    graph: Pieces
    rest: Pieces
    """Object and graph."""
    pieces: Pieces

    @classmethod
    def of(cls, subject: Pieces, predicate: bytes, target: Pieces, graph: Pieces) -> _Line:
        rest = _joined((*target, b" ", *graph)) if graph else target
        return cls(subject, predicate, target, graph, rest, _joined((*subject, b" ", predicate, b" ", *rest, b" .\n")))


def _quads(document: dict[str, Any], slots: Sequence[Slot], loader: Loader) -> Quads:
    terms = _Terms(slots)
    try:
        lines = [*terms.lines(rdfc(document, loader=loader).encode())]
    except CanonicalizationError as cause:
        member = terms.named(str(cause))
        raise NotCompilable(f"{member} takes some values only" if member else str(cause)) from cause
    if missing := [slot.path for number, slot in enumerate(slots) if number not in terms.used]:
        raise NotCompilable(f"the member {missing[0]} is not in the dataset")
    first_degree = _FirstDegree(lines, len(slots), terms.nodes)
    varying = {node for node, _ in (*first_degree.hashed, *first_degree.unsorted)}
    plan = _Plan(lines, slots, terms.nodes, frozenset({*range(terms.nodes)} - varying))
    return Quads(
        absolute=picker([n for n in terms.iris if not slots[n].prefix]),
        prefixed=tuple((n, slots[n].prefix) for n in terms.iris if slots[n].prefix),
        constant_hashes=first_degree.constant,
        hashed=tuple(first_degree.hashed),
        unsorted=tuple(first_degree.unsorted),
        ties=first_degree.ties(),
        groups=tuple(plan.groups),
        head=plan.head,
        middle=plan.middle,
        order=plan.order,
        subjects=plan.subjects,
        blocks=plan.blocks,
        nodes=terms.nodes,
    )


class _Terms:
    """The lines of canonical N-Quads with sentinels and blank nodes as numbers of a pool."""

    def __init__(self, slots: Sequence[Slot]) -> None:
        self._slots = slots
        self._by_lexical = {slot.nquads: number for number, slot in enumerate(slots)}
        self._any = re.compile(b"|".join(map(re.escape, self._by_lexical)) or b"(?!)")
        self.used: set[int] = set()
        self.iris: list[int] = []
        self.nodes = 0

    def lines(self, text: bytes) -> Iterator[_Line]:
        at = 0
        while at < len(text):
            found = _LINE.match(text, at)
            if found is None:
                raise NotCompilable(f"not a canonical N-Quad: {text[at : at + 80]!r}")
            subject, predicate, target, graph = found.groups()
            if self._any.search(predicate):
                raise NotCompilable(f"{self.named(predicate.decode())} becomes a predicate")
            yield _Line.of(self._term(subject), predicate, self._term(target), self._term(graph) if graph else ())
            at = found.end()

    def _term(self, term: bytes) -> Pieces:
        if term.startswith(b"_:"):
            node = int(term.removeprefix(b"_:c14n"))
            if node >= len(LABELS):
                raise NotCompilable(f"more than the {len(LABELS)} blank nodes that shapes are made for")
            self.nodes = max(self.nodes, node + 1)
            return (len(self._slots) + node,)
        iri = term.startswith(b"<")
        closing = term.rindex(b">" if iri else b'"')
        number = self._by_lexical.get(term[1:closing])
        if number is None:
            if self._any.search(term):
                raise NotCompilable(f"{self.named(term.decode())} does not stay what it is")
            return (term,)
        suffix = term[closing:]
        if not iri and suffix[1:] in (_XSD_DOUBLE, _RDF_JSON) and type(self._slots[number].value) is not float:
            raise NotCompilable(f"{self._slots[number].path} is rewritten by its datatype (JSON-LD API 8.6)")
        if iri and number not in self.iris:
            self.iris.append(number)
        self.used.add(number)
        return (term[:1], number, suffix)

    def named(self, text: str) -> str | None:
        """The member whose sentinel stands in `text`."""
        found = self._any.search(text.encode())
        return self._slots[self._by_lexical[found[0]]].path if found else None


def _joined(pieces: Sequence[bytes | int]) -> Pieces:
    joined: list[bytes | int] = []
    for piece in pieces:
        last = joined[-1] if joined else None
        if isinstance(piece, bytes) and isinstance(last, bytes):
            joined[-1] = last + piece
        else:
            joined.append(piece)
    return tuple(joined)


class _Unknown(Exception):
    """Which of two lines comes first depends on values."""


def _compared(a: Pieces, b: Pieces) -> int:
    """As bytes compare once filled; raises _Unknown."""
    for left, right in zip(a, b, strict=False):
        if left == right:
            continue
        if isinstance(left, int) or isinstance(right, int) or left.startswith(right) or right.startswith(left):
            raise _Unknown
        return -1 if left < right else 1
    if len(a) == len(b):
        return 0
    raise _Unknown


def _sorted(lines: Sequence[Pieces]) -> list[Pieces] | None:
    """The lines in order, or None where that depends on values."""
    try:
        return sorted(lines, key=cmp_to_key(_compared))
    except _Unknown:
        return None


class _FirstDegree:
    """First-degree quads of each blank node (RDFC-1.0 4.6): the hash where they hold no slot, else what to fill."""

    def __init__(self, lines: Sequence[_Line], slots: int, nodes: int) -> None:
        self._lines = lines
        self._slots = slots
        self.hashed: list[tuple[int, Template]] = []
        self.unsorted: list[tuple[int, tuple[Template, ...]]] = []
        by_hash: dict[bytes, list[int]] = {}
        mentions: dict[int, list[_Line]] = {}
        for line in lines:
            for piece in {*line.pieces}:
                if isinstance(piece, int):
                    mentions.setdefault(piece, []).append(line)
        for node in range(nodes):
            own = self._own(slots + node, mentions.get(slots + node, []))
            ordered = _sorted(own)
            pieces = _joined([x for line in ordered or own for x in line])
            if ordered is None:
                self.unsorted.append((node, tuple(Template(x) for x in own)))
            elif any(isinstance(x, int) for x in pieces):
                self.hashed.append((node, Template(pieces)))
            else:
                by_hash.setdefault(hashlib.sha256(Template(pieces).fill(())).digest(), []).append(node)
        self.constant = {digest: found[0] for digest, found in by_hash.items() if len(found) == 1}
        self._tied = {digest: tuple(found) for digest, found in by_hash.items() if len(found) > 1}

    def _own(self, label: int, lines: Sequence[_Line]) -> list[Pieces]:
        def named(piece: bytes | int) -> bytes | int:
            if isinstance(piece, bytes) or piece < self._slots:
                return piece
            return b"_:a" if piece == label else b"_:z"

        return [_joined([named(piece) for piece in line.pieces]) for line in lines]

    def ties(self) -> Ties | None:
        """Constant nodes that first-degree hashes do not tell apart."""
        if not self._tied:
            return None
        tied = {node for nodes in self._tied.values() for node in nodes}
        quads: list[Triple] = []
        beside: set[int] = set()
        for line in self._lines:
            terms = (line.subject, line.target, line.graph)
            nodes = {x - self._slots for term in terms for x in term if isinstance(x, int) and x >= self._slots}
            if nodes:
                subject, target, graph = map(self._named, terms)
                quads.append((subject, line.predicate[1:-1].decode(), target, graph))
            if nodes & tied:
                beside |= nodes - tied
        return Ties(self._tied, len(tied), tuple(quads), tuple(sorted(beside)), {})

    def _named(self, term: Pieces) -> str:
        if len(term) == 1 and isinstance(term[0], int):
            return f"_:n{term[0] - self._slots}"
        # A graph keeps its name, of which there may be several; any other term is only not a blank node.
        return "".join(x.decode() if isinstance(x, bytes) else f"urn:slot:{x}" for x in term).strip("<>")


class _Plan:
    """Lines in their final order, as far as it is known: by subject, predicate, then object."""

    def __init__(self, lines: Sequence[_Line], slots: Sequence[Slot], nodes: int, constant: frozenset[int]) -> None:
        self._slots = len(slots)
        self._nodes = nodes
        self.groups: list[Group] = []
        values = [str(slot.value).encode() for slot in slots]
        by_subject: dict[Pieces, list[_Line]] = {}
        for line in lines:
            by_subject.setdefault(line.subject, []).append(line)
        iris = {subject: found for subject, found in by_subject.items() if not self._is_node(subject)}
        # The order of the document that is compiled, hence that of most documents of its shape.
        ordered = sorted(iris, key=lambda subject: Template(subject).fill(values))
        pieces = {subject: self._block(iris[subject]) for subject in ordered}
        self.subjects = tuple((Template(subject), Template(pieces[subject])) for subject in ordered)
        everything = _joined([x for subject in ordered for x in pieces[subject]])
        end = next((n for n, piece in enumerate(everything) if self._varies(piece, constant)), len(everything))
        self.head, self.middle = Template(everything[:end]), Template(everything[end:])
        self.order = self._beside_slots(ordered)
        self.blocks = tuple(self._node_block(node, by_subject.get((self._slots + node,), ())) for node in range(nodes))

    def _varies(self, piece: bytes | int, constant: frozenset[int]) -> bool:
        """Whether it depends on slots, otherwise than by the labels of constant nodes."""
        if isinstance(piece, bytes):
            return False
        group = piece - self._slots - self._nodes
        numbers = self.groups[group].numbers if group >= 0 else (piece,)
        return any(n - self._slots not in constant for n in numbers)

    def _is_node(self, subject: Pieces) -> bool:
        return isinstance(subject[0], int)

    def _beside_slots(self, ordered: Sequence[Pieces]) -> Pieces:
        varies = [len(subject) > 1 for subject in ordered]
        kept = [s for n, s in enumerate(ordered) if any(varies[max(n - 1, 0) : n + 2])]
        # `<` starts each of them and decides nothing.
        names = [subject[1] if len(subject) > 1 else subject[0] for subject in kept]
        return tuple(name.removeprefix(b"<") if isinstance(name, bytes) else name for name in names)

    def _block(self, lines: Sequence[_Line]) -> Pieces:
        """The lines of one subject; those whose order depends on values become a sorted group."""
        by_predicate: dict[bytes, list[_Line]] = {}
        for line in lines:
            by_predicate.setdefault(line.predicate, []).append(line)
        pieces: list[bytes | int] = []
        for predicate in sorted(by_predicate):
            found = by_predicate[predicate]
            ordered = _sorted([line.pieces for line in found])
            if ordered is None:
                pieces.append(self._group(found))
            else:
                pieces += [x for line in ordered for x in line]
        return _joined(pieces)

    def _group(self, lines: Sequence[_Line]) -> int:
        head = Template((*lines[0].subject, b" ", lines[0].predicate, b" "))
        self.groups.append(Group(head, tuple(Template(line.rest) for line in lines)))
        return self._slots + self._nodes + len(self.groups) - 1

    def _node_block(self, node: int, lines: Sequence[_Line]) -> Block:
        pieces = self._block(lines)
        template = Template(pieces)
        label = self._slots + node
        if self._nodes > _MAX_VARIANTS or any(isinstance(x, int) and x != label for x in pieces):
            return template, None
        pool = [b""] * label
        return template, tuple(template.fill([*pool, LABELS[rank]]) for rank in range(self._nodes))

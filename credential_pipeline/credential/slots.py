"""The members of a document that vary, and a copy of it with sentinels in their place.

Belongs here: what is a slot and what a constant, and cutting JSON at the sentinels. Does not belong here: what a member
means as RDF (shape.py).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import orjson

from credential_pipeline.credential.compiled import Reading, Step, Template, picker
from credential_pipeline.credential.lexical import json_number, nquads_number
from credential_pipeline.credential.text import BuildError, serialize


class NotCompilable(ValueError):
    """The documents of this shape take the reference path; the text names the term at fault."""


SHARED = frozenset(["@context", "type", "issuer", "achievement", "credentialSchema", "cryptosuite", "proofPurpose"])
"""Members, at any depth, that are constants of a shape with all that is in them; booleans are constants everywhere."""
_SHARED_AT_TOP = frozenset(["name", "description"])

_KINDS = {str: "string", int: "number", float: "number", dict: "nested", list: "nested"}
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(//)?")


@dataclass(frozen=True, slots=True)
class Slot:
    """A member that varies."""

    path: str
    value: Any
    sentinel: Any
    json: bytes
    """The sentinel as JSON has it, without quotes."""
    nquads: bytes
    """The sentinel as N-Quads has it."""
    prefix: bytes
    """What an IRI in this place starts with, up to the colon; empty for `scheme://`."""


class Walk:
    """The members of a document, gathered from the top."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._word = _unused_word(plain_json(document))
        self._count = 0
        self._strings: list[tuple[Step, list[Slot]]] = []
        self._numbers: list[tuple[Step, list[Slot]]] = []
        self._containers: list[Step] = []
        self._types: list[type] = [dict]
        self._constants: list[tuple[Step, tuple[Any, ...]]] = []
        self.document: dict[str, Any] = self._replaced(0, document, "")
        """The document with sentinels in its slots."""
        self.slots = [slot for _, slots in (*self._strings, *self._numbers) for slot in slots]
        """In the order of a pool: strings, then numbers."""

    def reading(self) -> Reading:
        """How to find all of it in another document."""
        return Reading(
            containers=tuple(self._containers),
            types=self._types,
            strings=tuple(step for step, _ in self._strings),
            numbers=tuple(step for step, _ in self._numbers),
            number_types=[type(slot.value) for _, slots in self._numbers for slot in slots],
            constants=tuple(self._constants),
        )

    def _replaced(self, number: int, container: Any, where: str) -> Any:
        """A copy of the container of this number with sentinels in its slots."""
        members = [*(container.items() if isinstance(container, dict) else enumerate(container))]
        kinds: dict[str, list[Any]] = {"constant": [], "string": [], "number": [], "nested": []}
        for key, value in members:
            kinds[_kind(key, value, _path(where, key))].append(key)
        replaced: Any = dict(members) if isinstance(container, dict) else list(container)
        for kind, noted, slot_of in (
            ("string", self._strings, self._string_slot),
            ("number", self._numbers, self._number_slot),
        ):
            if keys := kinds[kind]:
                slots = [slot_of(_path(where, key), container[key]) for key in keys]
                noted.append((Step(number, picker(keys)), slots))
                for key, slot in zip(keys, slots, strict=True):
                    replaced[key] = slot.sentinel
        if keys := kinds["constant"]:
            step = Step(number, picker(keys))
            # A copy: the caller may go on to change its document.
            self._constants.append((step, deepcopy(step.pick(container))))
        if keys := kinds["nested"]:
            self._containers.append(Step(number, picker(keys)))
            first = len(self._types)
            self._types += [type(container[key]) for key in keys]
            for child, key in enumerate(keys, first):
                replaced[key] = self._replaced(child, container[key], _path(where, key))
        return replaced

    def _string_slot(self, path: str, value: str) -> Slot:
        self._count += 1
        sentinel, prefix = f"{self._word}{self._count:04}", ""
        if scheme := _SCHEME.match(value):
            # JSON-LD API 5.2.2: what follows the first colon decides between an IRI and a compact IRI.
            prefix = "" if scheme[2] else f"{scheme[1]}:"
            sentinel = f"https://{sentinel}.example/" if scheme[2] else prefix + sentinel
        return Slot(path, value, sentinel, sentinel.encode(), sentinel.encode(), prefix.encode())

    def _number_slot(self, path: str, value: float) -> Slot:
        self._count += 1
        sentinel = 7_283_940_000_000 + self._count if isinstance(value, int) else 72_839_400_000.0625 + self._count
        return Slot(path, value, sentinel, json_number(sentinel), nquads_number(sentinel), b"")


def _path(where: str, key: str | int) -> str:
    return f"{where}[{key}]" if isinstance(key, int) else f"{where}.{key}" if where else key


def _kind(key: Any, value: Any, path: str) -> str:
    if isinstance(value, bool) or value is None or key in SHARED or path in _SHARED_AT_TOP:
        return "constant"
    kind = _KINDS.get(type(value))
    if kind is None:
        raise NotCompilable(f"the member {path} is a {type(value).__name__}: not what a JSON reader returns")
    return kind


def plain_json(document: dict[str, Any]) -> bytes:
    """The document serialized; raises NotCompilable where another library would write something else."""
    try:
        text = serialize(document)
        same = orjson.dumps(document) == text
    except (BuildError, TypeError) as cause:
        raise NotCompilable(f"not JSON that every library writes alike: {cause}") from cause
    if not same:
        raise NotCompilable("the document holds a number that JSON libraries write differently (RFC 8785 3.2.2.3)")
    return text


def _unused_word(text: bytes) -> str:
    """A word that is not in the document: what is found of it later comes from a sentinel."""
    return next(word for n in range(10**6) if (word := f"zq{n}sentinel").encode() not in text)


def split(text: bytes, slots: Sequence[Slot], form: str) -> Template:
    """`text` cut at the sentinels, each of which stands in it once."""
    written = {slot.json: number for number, slot in enumerate(slots)}
    pieces: list[bytes | int] = []
    if written:
        for n, part in enumerate(re.split(b"(" + b"|".join(map(re.escape, written)) + b")", text)):
            pieces.append(written[part] if n % 2 else part)
    else:
        pieces.append(text)
    if sorted(x for x in pieces if isinstance(x, int)) != [*range(len(slots))]:
        raise NotCompilable(f"a value does not stand exactly once in the {form} form")
    return Template(pieces)

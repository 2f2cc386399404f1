"""JSON from strangers: one meaning or none (RFC 8259, I-JSON RFC 7493).

Belongs here: bytes to a document, with caps on size, depth and numbers, and typed access to members. Does not belong
here: what the members of a credential are.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn, TypeVar

import orjson

from credential_pipeline.credential.text import FormError

MAX_DEPTH = 48
"""A credential nests 7 deep, a learner record with embedded credentials about 12."""

_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)

T = TypeVar("T")


class NotStrictJson(ValueError):
    """The bytes are not one JSON object that every parser reads alike."""


def parse(data: bytes, max_bytes: int) -> dict[str, Any]:
    """The one JSON object in `data`. Raises NotStrictJson, without quoting more than a few characters of it."""
    if len(data) > max_bytes:
        raise NotStrictJson(f"{len(data)} bytes are more than the {max_bytes} that are read")
    if data.startswith(b"\xef\xbb\xbf"):
        raise NotStrictJson("a byte order mark before the JSON (RFC 8259 8.1)")
    if not data.lstrip(b" \t\r\n").startswith(b"{"):
        raise NotStrictJson("not JSON: the first character is not '{' (images and JWTs are other formats)")
    if (plain := _plain(data)) is not None:
        return plain
    _refuse_deep(data)
    try:
        document: dict[str, Any] = json.loads(
            data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_not_a_number, parse_float=_finite
        )
        # A lone surrogate written as an escape parses, and then has no UTF-8 (RFC 7493 2.1).
        json.dumps(document, ensure_ascii=False).encode("utf-8")
    except NotStrictJson:
        raise
    except UnicodeDecodeError as cause:
        raise NotStrictJson(f"not UTF-8 at byte {cause.start}") from cause
    except UnicodeEncodeError as cause:
        raise NotStrictJson("a string holds half of a surrogate pair (RFC 7493 2.1)") from cause
    except (ValueError, RecursionError) as cause:
        raise NotStrictJson(f"not JSON: {str(cause)[:120]}") from cause
    return document


def take(document: dict[str, Any], key: str, kind: type[T], where: str) -> T:
    """The member `key` if it is a `kind`; raises FormError, naming `where` it was missed."""
    value = document.get(key)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        name = {dict: "an object", list: "an array", str: "a string", int: "an integer"}.get(kind, kind.__name__)
        raise FormError(f"{where}.{key} is {'missing' if value is None else f'not {name}'}")
    return value


def _plain(data: bytes) -> dict[str, Any] | None:
    """The object, if writing it again gives the same bytes: then no member stands twice, no number or escape has a
    second spelling, and nothing is left to refuse but depth. 15 us, where the checks below take 170."""
    try:
        document = orjson.loads(data)
        if type(document) is not dict or orjson.dumps(document) != data:
            return None
    except (orjson.JSONDecodeError, TypeError):
        return None
    level: list[Any] = [document]
    for _ in range(MAX_DEPTH):
        level = [v for c in level for v in (c.values() if type(c) is dict else c) if type(v) in (dict, list)]
        if not level:
            return document
    return None


def _refuse_deep(data: bytes) -> None:
    # Before parsing: the parser recurses, and so does everything that walks its result.
    depth = 0
    for byte in _STRING.sub(b"", data):
        if byte in b"{[":
            depth += 1
            if depth > MAX_DEPTH:
                raise NotStrictJson(f"nested more than {MAX_DEPTH} deep")
        elif byte in b"}]":
            depth -= 1


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise NotStrictJson(f"the member {twice[:40]!r} stands twice in one object (RFC 7493 2.3)")
    return members


def _finite(literal: str) -> float:
    value = float(literal)
    if not math.isfinite(value):
        raise NotStrictJson("a number beyond the range of IEEE 754 (RFC 7493 2.2)")
    return value


def _not_a_number(literal: str) -> NoReturn:
    raise NotStrictJson(f"{literal} is not JSON (RFC 8259 6)")

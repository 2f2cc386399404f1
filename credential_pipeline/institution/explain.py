"""Validation errors in words for whoever writes the files: what is wrong, and what to write instead.

Never holds the value of a member, but a short word where one of a closed set was expected.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from pydantic_core import ErrorDetails

from credential_pipeline.institution.base import FIELD_FORM, suggest
from credential_pipeline.institution.documents import Node
from credential_pipeline.institution.places import Place

_SECRET = re.compile(r"passw|passphrase|secret|token|private_?key|api_?key", re.IGNORECASE)
_TO_ENVIRONMENT = (
    "take it out, change it if anybody else could read the file, and give it to the process as an environment variable "
    "such as CREDENTIAL_PIPELINE_PASSPHRASE or CREDENTIAL_PIPELINE_DATABASE_URL"
)
_SIMPLE: dict[str, tuple[str, str]] = {
    "string_type": ("must be a text", "write a text, in quotes if it holds `: ` or ` #`"),
    "string_too_short": ("is empty", "write a text, or take the member out"),
    "int": ("must be a whole number", "write digits only"),
    "float": ("must be a number", "write it with a decimal point"),
    "decimal": ("must be a number", "write it with a decimal point"),
    "finite": ("must be a number", "write it with a decimal point"),
    "bool": ("must be true or false", "write true or false"),
    "date": ("must be a date", "write an existing day as YYYY-MM-DD"),
    "model": ("must be a mapping", "write its members as `name: value`, indented below it"),
    "dict": ("must be a mapping", "write its members as `name: value`, indented below it"),
    "tuple": ("must be a list", "write a `- ...` line for each item"),
    "too_short": ("has nothing in it", "add at least one item"),
}
_MAX_WORD = 40


@dataclass(frozen=True)
class Words:
    """What is wrong, and what to do about it."""

    what: str
    remedy: str


def explain(details: ErrorDetails, place: Place, root: Node) -> Words | None:
    """The words for an error of pydantic, or None where it only repeats another one.

    Args:
        details: the error.
        place: where it lies.
        root: the whole file.
    """
    return None if _repeats(details, place, root) else _words(details, place, root.at(place.path))


def _words(details: ErrorDetails, place: Place, node: Node) -> Words:
    last = place.path[-1] if place.path else None
    name = "the file" if last is None else f"item {last + 1}" if isinstance(last, int) else f"`{last}`"
    kind = details["type"]
    ctx: dict[str, Any] = details.get("ctx", {})
    if kind == "missing":
        return Words(
            f"{name} is missing", f"add `{last}: ...`" + (f", as {place.description}" if place.description else "")
        )
    if kind == "extra_forbidden":
        return _unknown(str(last), place)
    if kind in ("literal_error", "union_tag_invalid", "union_tag_not_found"):
        return _choice(name, details, place)
    if kind == "value_error":
        what, _, remedy = str(ctx["error"]).partition("; ")
        return Words(f"{name}: {what}" if place.path else what, remedy or "correct it")
    if place.is_key:
        return Words(f"{name} cannot be the name of a field", f"write {FIELD_FORM}")
    return _value(name, details, place, node)


def _repeats(details: ErrorDetails, place: Place, root: Node) -> bool:
    if place.branch is not None:  # a word or a mapping: only the branch that the file took says something
        return (place.branch == "mapping") != isinstance(root.at(place.union).value, dict)
    # a list whose items are all wrong is also "too short" once they are taken out
    return details["type"] == "too_short" and bool(root.at(place.path).value)


def _unknown(name: str, place: Place) -> Words:
    if name == "catalogue":
        return Words("`catalogue` is not a member of institution.yaml", "write programmes into catalogue/*.yaml")
    if _SECRET.search(name):
        return Words(f"`{name}` looks like a secret, and the files of an institution never hold one", _TO_ENVIRONMENT)
    return Words(f"`{name}` is not a member here", suggest(name, place.members, otherwise="take it out; members are"))


def _choice(name: str, details: ErrorDetails, place: Place) -> Words:
    ctx = details.get("ctx", {})
    if details["type"] == "union_tag_not_found":
        member = ctx["discriminator"].strip("'")
        return Words(f"`{member}` is missing", f"add `{member}: ...`, which says what kind {name} is")
    known = re.findall(r"'([^']*)'", str(ctx.get("expected_tags", ctx.get("expected"))))
    written = str(ctx["tag"]) if "tag" in ctx else details["input"]
    if not isinstance(written, str) or len(written) > _MAX_WORD:
        return Words(f"{name} is none of the words that may stand here", f"write one of: {', '.join(known)}")
    if place.branch:
        return Words(f"{name} cannot be `{written}`", "write " + (place.description or ", ".join(known)))
    return Words(f"{name} cannot be `{written}`", suggest(written, known, otherwise="write one of"))


def _value(name: str, details: ErrorDetails, place: Place, node: Node) -> Words:
    kind = details["type"]
    if node.value is None and kind.endswith("_type"):
        return Words(f"{name} has no value", "write one, or take the member out")
    if kind == "string_pattern_mismatch":
        return Words(f"{name} is not in the right form", f"write {place.description}")
    if kind == "string_too_long":
        limit = details["ctx"]["max_length"]
        return Words(f"{name} has more than {limit} characters", "shorten it")
    simple = _SIMPLE.get(kind) or _SIMPLE.get(kind.partition("_")[0])
    if simple is not None:
        return Words(f"{name} {simple[0]}", simple[1])
    return Words(f"{name} {details['msg'].replace('Input should', 'must')}", "correct it")

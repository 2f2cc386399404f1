"""Shapes that recur in an institution's files: the strict base model, the words fields are made of, and misfits.

A type's description is what an editor shows (JSON Schema) and what an error tells the reader to write.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints
from pydantic_core import PydanticCustomError

SLUG_FORM = "lower-case letters and digits, with single - or _ between them, beginning with a letter"
FIELD_FORM = "lower-case letters, digits and _, beginning with a letter"

Slug = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z][a-z0-9]*(?:[-_][a-z0-9]+)*$", max_length=64),
    Field(description=SLUG_FORM),
]
"""An id that ends up in URLs, file names and asset names."""

FieldName = Annotated[
    str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$", max_length=64), Field(description=FIELD_FORM)
]
"""A field of ours, mapped from a column of theirs."""

Text = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]


def _https(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme != "https" or not parts.hostname or any(c.isspace() for c in value):
        raise ValueError("is not an https URL; write an absolute https:// URL without spaces")
    if parts.username is not None or parts.password is not None:
        raise ValueError("holds a user name or a password; it is published, so take them out and change the password")
    return value.rstrip("/")


HttpsUrl = Annotated[str, AfterValidator(_https), Field(description="an absolute https:// URL")]


def _regular_expression(value: str) -> str:
    try:
        re.compile(value)
    except re.error as error:
        raise ValueError(f"is not a regular expression: {error}; correct it, and keep it in single quotes") from error
    return value


Regex = Annotated[Text, AfterValidator(_regular_expression), Field(description="a regular expression")]
"""A regular expression of Python's `re`."""


class Model(BaseModel):
    """Frozen, and an unknown member is an error: a typing mistake must not silently change who gets a credential."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


@dataclass(frozen=True)
class Misfit:
    """Two members that do not fit each other: where (from the model that says so), what is wrong, what to do."""

    path: tuple[str | int, ...]
    what: str
    remedy: str


def refuse(misfits: Iterable[Misfit]) -> None:
    """Raise one validation error that carries all of them; load.py makes each a problem with its line."""
    found = tuple(misfits)
    if found:
        text = "; ".join(f"{misfit.what} ({misfit.remedy})" for misfit in found)
        raise PydanticCustomError("misfit", "{text}", {"text": text, "misfits": found})


def suggest(written: str, known: Iterable[str], *, otherwise: str) -> str:
    """`did you mean ...?` when one of the known words is near, else the other remedy with all of them."""
    words = sorted(known)
    folded = {word.casefold(): word for word in words}
    near = get_close_matches(written.casefold(), folded, n=1, cutoff=0.6)
    if near:
        return f"did you mean `{folded[near[0]]}`?"
    return f"{otherwise}: {', '.join(words) or 'none'}"

"""Shapes that recur in an institution's files: the strict base model and the words fields are made of."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints

Slug = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9]*(?:[-_][a-z0-9]+)*$", max_length=64)]
"""An id that ends up in URLs, file names and asset names."""

FieldName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$", max_length=64)]
"""A field of ours, mapped from a column of theirs."""

Text = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]


def _https(value: str) -> str:
    if not value.startswith("https://") or any(c.isspace() for c in value):
        raise ValueError("write an absolute https:// URL without spaces")
    return value.rstrip("/")


HttpsUrl = Annotated[str, AfterValidator(_https)]


class Model(BaseModel):
    """Frozen, and an unknown member is an error: a typing mistake must not silently change who gets a credential."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

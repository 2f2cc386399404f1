"""Where in a model a validation error lies.

pydantic's locations mix names of members with names of union branches (`gate, checks, 3, date, min`: a check of the
kind date), and a kind may have the name of a member (`pattern`). The model's JSON Schema tells them apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from credential_pipeline.institution.base import Model
from credential_pipeline.institution.problems import MemberPath

Schema = dict[str, Any]


@dataclass(frozen=True)
class Place:
    """A location in words of the file.

    Attributes:
        path: members and indices only.
        members: the members that the model has where an unknown one was found.
        description: what is to be written there, when the type says so.
        branch: of a union of a word and a mapping, which of the two the error is about.
        union: the path of that union.
        is_key: the error is about the name of the last member, not its value.
    """

    path: MemberPath
    members: tuple[str, ...] = ()
    description: str | None = None
    branch: Literal["word", "mapping"] | None = None
    union: MemberPath = ()
    is_key: bool = False


class Places:
    """Locations of one model's errors."""

    def __init__(self, model: type[Model]) -> None:
        """`model`: the model of a whole file."""
        self._schema = model.model_json_schema()

    def find(self, location: tuple[str | int, ...]) -> Place:
        """The place of a location that pydantic gives."""
        schema = self._resolve(self._schema)
        path: list[str | int] = []
        members: tuple[str, ...] = ()
        description: str | None = None
        branch: Literal["word", "mapping"] | None = None
        union: MemberPath = ()
        for part in location:
            if part == "[key]":
                return Place(tuple(path), is_key=True)
            if chosen := self._branch(schema, part):
                if "discriminator" not in schema:
                    branch, union = "mapping" if "properties" in chosen else "word", tuple(path)
                schema = chosen
                continue
            members = tuple(schema.get("properties", ()))
            inner = self._resolve(_inner(schema, part))
            description = inner.get("description") if "properties" not in inner else None
            path.append(part)
            schema = inner
        return Place(tuple(path), members, description, branch, union)

    def _branch(self, schema: Schema, part: str | int) -> Schema | None:
        if "discriminator" in schema:
            return self._resolve({"$ref": schema["discriminator"]["mapping"].get(part)})
        for option in schema.get("anyOf", ()):
            name = option.get("$ref", "").rpartition("/")[2] or f"literal['{option.get('const')}']"
            if name == part:
                return self._resolve(option)
        return None

    def _resolve(self, schema: Schema) -> Schema:
        """Follow a reference, and see through `... | None`."""
        if ref := schema.get("$ref"):
            found: Schema = self._schema["$defs"][ref.rpartition("/")[2]]
            return found
        options = [option for option in schema.get("anyOf", ()) if option.get("type") != "null"]
        if len(options) == 1:
            return {k: v for k, v in schema.items() if k == "description"} | self._resolve(options[0])
        return schema


def _inner(schema: Schema, part: str | int) -> Schema:
    """The schema of a member or an item; empty where there is none, as for an unknown member."""
    options: list[Schema] = [schema, *schema.get("anyOf", ())]
    for option in options:
        if isinstance(part, int) and "items" in option:
            items: Schema = option["items"]
            return items
        named: Schema = {**option.get("properties", {})}
        if part in named:
            member: Schema = named[str(part)]
            return member
        values = [*option.get("patternProperties", {}).values(), option.get("additionalProperties")]
        if isinstance(part, str) and isinstance(values[0], dict):
            value: Schema = values[0]
            return value
    return {}

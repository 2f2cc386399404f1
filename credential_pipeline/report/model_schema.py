"""schema.yml, sources.yml and dbt_project.yml as types: what a SQL model promises, and which tables it may read.

Belongs here: the part of dbt's YAML that this project uses, and its errors with file and line. Does not belong here:
SQL (model_sql.py) and the project as a whole (models.py).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from credential_pipeline.errors import Terminal
from credential_pipeline.institution.documents import read_document

Text = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$", max_length=63)]
"""An unquoted name in PostgreSQL, so that no SQL of ours has to quote it."""


class ModelError(Terminal):
    """A SQL model, or what is said about one, is not right: `FILE:LINE: what; remedy`."""

    def __init__(self, file: Path, line: int | None, what: str, remedy: str) -> None:
        self.file, self.line = file, line
        super().__init__(f"{file}{f':{line}' if line else ''}: {what}; {remedy}")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class AcceptedValues(_Strict):
    """`accepted_values: {values: [...]}`, compared as text."""

    values: tuple[str, ...] = Field(min_length=1)


class Relationship(_Strict):
    """`relationships: {to: ref('x'), field: y}`: every value that is not null exists there."""

    to: Annotated[str, StringConstraints(pattern=r"^ref\('[a-z][a-z0-9_]*'\)$")]
    field: Name

    @property
    def model(self) -> str:
        """The name inside ref('...')."""
        return self.to[len("ref('") : -len("')")]


class TestWithArguments(_Strict):
    """A test that needs arguments; exactly one of the members is given."""

    accepted_values: AcceptedValues | None = None
    relationships: Relationship | None = None


class ColumnSchema(_Strict):
    """A column, what it means, and what is always true of it."""

    name: Name
    description: Text
    tests: tuple[str | TestWithArguments, ...] = Field(default=(), validation_alias=AliasChoices("tests", "data_tests"))


class ModelSchema(_Strict):
    """A model's entry in a schema.yml."""

    name: Name
    description: Text
    columns: tuple[ColumnSchema, ...] = Field(min_length=1)


class SourceTable(_Strict):
    """A table that a model may read by source()."""

    name: Name
    description: str = ""


class SourceSchema(_Strict):
    """A schema of the database with the tables that models may read."""

    name: Name
    schema_name: Name | None = Field(default=None, validation_alias="schema")
    description: str = ""
    tables: tuple[SourceTable, ...] = Field(min_length=1)


class SchemaFile(_Strict):
    """One YAML file below models/."""

    version: str = "2"
    models: tuple[ModelSchema, ...] = ()
    sources: tuple[SourceSchema, ...] = ()


class ProjectFile(BaseModel):
    """dbt_project.yml. Members that only dbt itself needs are let through."""

    model_config = ConfigDict(frozen=True)

    name: Name
    model_paths: tuple[str, ...] = Field(default=("models",), validation_alias="model-paths")
    test_paths: tuple[str, ...] = Field(default=("tests",), validation_alias="test-paths")
    vars: dict[str, str] = {}


_File = TypeVar("_File", bound=BaseModel)


def read_yaml(path: Path, model: type[_File], shown: Path) -> _File:
    """A YAML file as its type; `shown` is the name that errors give it.

    Raises:
        ModelError: the first thing that is wrong, with its line.
    """
    root, problems = read_document(path)
    if root is None or problems:
        first = problems[0]
        raise ModelError(shown, first.line, first.what, first.remedy)
    try:
        return model.model_validate(root.plain())
    except ValidationError as error:
        # A value that may be one of two types has an error for each: the deepest is about what was meant.
        details = max(error.errors(include_url=False), key=lambda e: len(e["loc"]))
        node = root.at(details["loc"])
        member = ".".join(str(part) for part in details["loc"])
        raise ModelError(
            shown, node.line, f"{member}: {details['msg']}", "write it as the other entries of this folder are"
        ) from error

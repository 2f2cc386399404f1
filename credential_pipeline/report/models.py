"""The SQL models of dbt_like_sql/: a small loader for a folder that stays a valid dbt project.

Belongs here: the project as a whole: which models, tests and tables there are and in which order. Does not belong
here: one file's SQL (model_sql.py), YAML (model_schema.py), building (model_build.py) and testing (model_tests.py).
dbt itself takes 9 s to read such a folder; a daily job and every test of ours would pay that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from credential_pipeline.report.model_build import build
from credential_pipeline.report.model_schema import (
    ColumnSchema,
    ModelError,
    ModelSchema,
    ProjectFile,
    SchemaFile,
    read_yaml,
)
from credential_pipeline.report.model_sql import Statement, Templates
from credential_pipeline.report.model_tests import run_tests, tests_of_column
from credential_pipeline.report.model_types import Column, Model, ModelResult, ModelTest, Project, TestResult

__all__ = [
    "Column", "Model", "ModelError", "ModelResult", "ModelTest", "Project", "TestResult", "build", "load_project",
    "run_tests",
]  # fmt: skip


def load_project(directory: Path, variables: Mapping[str, str] | None = None) -> Project:
    """Read and check a dbt project folder; needs no database.

    Args:
        directory: holds dbt_project.yml.
        variables: values for var(), over those of dbt_project.yml.

    Raises:
        ModelError: the first thing that is wrong, with file, line and remedy.
    """
    file = directory / "dbt_project.yml"
    if not file.is_file():
        raise ModelError(file, None, "does not exist", "name the folder that holds the SQL models")
    settings = read_yaml(file, ProjectFile, Path(file.name))
    reader = _Reader(directory, settings, {**settings.vars, **(variables or {})})
    models = _in_order(reader.models())
    return Project(directory, models, tuple(reader.tests(models)))


@dataclass(frozen=True)
class _Described:
    schema: ModelSchema
    file: Path


class _Reader:
    def __init__(self, directory: Path, settings: ProjectFile, variables: Mapping[str, str]) -> None:
        self._directory = directory
        self._files = _by_stem(directory, settings.model_paths)
        self._test_files = _by_stem(directory, settings.test_paths)
        self._described: dict[str, _Described] = {}
        sources: dict[tuple[str, str], str] = {}
        for file in sorted(f for p in settings.model_paths for f in (directory / p).rglob("*.yml")):
            shown = file.relative_to(directory)
            content = read_yaml(file, SchemaFile, shown)
            for schema in content.models:
                if schema.name in self._described:
                    raise ModelError(shown, None, f"model {schema.name} is described twice", "keep one of them")
                self._described[schema.name] = _Described(schema, shown)
            for source in content.sources:
                for table in source.tables:
                    sources[source.name, table.name] = f"{source.schema_name or source.name}.{table.name}"
        self._templates = Templates(self._files, sources, variables)
        for name in self._described.keys() - self._files.keys():
            raise ModelError(self._described[name].file, None, f"model {name} has no file", f"write {name}.sql")

    def models(self) -> list[Model]:
        return [self._model(name, file) for name, file in self._files.items()]

    def _model(self, name: str, file: Path) -> Model:
        shown = file.relative_to(self._directory)
        statement = self._templates.read(file, shown)
        described = self._described.get(name)
        if described is None:
            raise ModelError(shown, None, "is not described", f"add `- name: {name}` to a schema.yml beside it")
        columns = _columns(statement, described, name)
        return Model(
            name, shown, statement.sql, statement.materialized, described.schema.description, columns,
            statement.refs, statement.sources,
        )  # fmt: skip

    def tests(self, models: Iterable[Model]) -> list[ModelTest]:
        known = {model.name: model for model in models}
        tests: list[ModelTest] = []
        for name, model in known.items():
            described = self._described[name]
            for column in described.schema.columns:
                tests += tests_of_column(model, column, known, described.file)
        for name, file in self._test_files.items():
            shown = file.relative_to(self._directory)
            statement = self._templates.read(file, shown)
            if not statement.refs:
                raise ModelError(shown, None, "tests no model", "read at least one model by ref('x')")
            # A test of several models belongs to the one that is built last: then all it reads are there.
            subject = [model for model in known if model in statement.refs][-1]
            tests.append(ModelTest(name, subject, None, _comment(file) or "Returns no row.", shown, statement.sql))
        return tests


def _by_stem(directory: Path, folders: Iterable[str]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for file in sorted((f for p in folders for f in (directory / p).rglob("*.sql")), key=lambda f: f.name):
        if file.stem in found:
            other = found[file.stem].relative_to(directory)
            raise ModelError(file.relative_to(directory), None, f"has the name of {other}", "rename one of them")
        found[file.stem] = file
    return found


def _columns(statement: Statement, described: _Described, name: str) -> tuple[Column, ...]:
    columns = {c.name: c for c in described.schema.columns}
    for unknown in columns.keys() - set(statement.columns):
        raise ModelError(described.file, None, f"model {name} has no column {unknown}", "remove it or select it")
    for silent in [c for c in statement.columns if c not in columns]:
        raise ModelError(described.file, None, f"column {silent} of {name} is not described", "say what it means")
    return tuple(_column(columns[c]) for c in statement.columns)


def _column(schema: ColumnSchema) -> Column:
    return Column(schema.name, schema.description)


def _comment(file: Path) -> str:
    lines = file.read_text(encoding="utf-8").splitlines()
    leading = next((n for n, line in enumerate(lines) if not line.startswith("--")), len(lines))
    return " ".join(line.removeprefix("--").strip() for line in lines[:leading])


def _in_order(models: Iterable[Model]) -> tuple[Model, ...]:
    named = {model.name: model for model in models}
    try:
        order = tuple(TopologicalSorter({m.name: m.refs for m in named.values()}).static_order())
    except CycleError as error:
        circle: list[str] = error.args[1]
        raise ModelError(
            named[circle[0]].file, None, f"models need each other in a circle: {' -> '.join(circle)}",
            "let one of them read tables instead",
        ) from error  # fmt: skip
    for model in named.values():
        for ref in model.refs:
            # A table is swapped by dropping the old one, and PostgreSQL does not drop what a view stands on.
            if model.materialized == "view" and named[ref].materialized == "table":
                raise ModelError(model.file, None, f"is a view of the table {ref}", "materialize it as a table")
    return tuple(replace(named[name]) for name in order)

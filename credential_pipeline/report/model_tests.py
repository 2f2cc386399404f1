"""Tests of SQL models: each is a SELECT of failing rows, from schema.yml or from the folder tests/.

Belongs here: the SQL of dbt's four generic tests, and running all. Does not belong here: what a failure stops.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError, OperationalError

from credential_pipeline.errors import Transient
from credential_pipeline.report.model_schema import ColumnSchema, ModelError, Relationship
from credential_pipeline.report.model_types import Model, ModelTest, Project, TestResult


def tests_of_column(model: Model, column: ColumnSchema, models: Mapping[str, Model], file: Path) -> list[ModelTest]:
    """The tests that a schema.yml asks for a column.

    Raises:
        ModelError: an unknown test, or a relationship to a column that does not exist.
    """
    tests = []
    for wanted in column.tests:
        if wanted == "not_null":
            tests.append(_test("not_null", model, column, f"{column.name} always has a value.", file, _not_null))
        elif wanted == "unique":
            tests.append(_test("unique", model, column, f"No two rows have the same {column.name}.", file, _unique))
        elif isinstance(wanted, str):
            remedy = "write unique, not_null, accepted_values or relationships, or a SELECT in tests/"
            raise ModelError(file, None, f"{model.name}.{column.name}: no test is called {wanted}", remedy)
        elif wanted.accepted_values:
            values = wanted.accepted_values.values
            says = f"{column.name} is one of {', '.join(values)}."
            tests.append(_test("accepted_values", model, column, says, file, _accepted(values)))
        elif wanted.relationships:
            parent = _parent(wanted.relationships, model, column, models, file)
            says = f"Every {column.name} is a {wanted.relationships.field} of {parent.name}."
            tests.append(
                _test("relationships", model, column, says, file, _related(parent, wanted.relationships.field))
            )
    return tests


def _test(kind: str, model: Model, column: ColumnSchema, description: str, file: Path, template: str) -> ModelTest:
    sql = template.replace("{relation}", model.relation).replace("{column}", column.name)
    return ModelTest(f"{kind}_{column.name}", model.name, column.name, description, file, sql)


_not_null = "select *\nfrom {relation}\nwhere {column} is null"
_unique = (
    "select {column}, count(*) as occurrences\nfrom {relation}\n"
    "where {column} is not null\ngroup by {column}\nhaving count(*) > 1"
)


def _accepted(values: tuple[str, ...]) -> str:
    listed = ", ".join("'" + value.replace("'", "''") + "'" for value in values)
    return (
        "select {column}, count(*) as occurrences\nfrom {relation}\n"
        f"where {{column}}::text not in ({listed})\ngroup by {{column}}"
    )


def _related(parent: Model, field: str) -> str:
    return (
        "select child.{column}\nfrom {relation} child\n"
        f"left join {parent.relation} parent on parent.{field} = child.{{column}}\n"
        f"where child.{{column}} is not null and parent.{field} is null"
    )


def _parent(wanted: Relationship, model: Model, column: ColumnSchema, models: Mapping[str, Model], file: Path) -> Model:
    parent = models.get(wanted.model)
    if parent is None or wanted.field not in {c.name for c in parent.columns}:
        what = f"{model.name}.{column.name}: {wanted.to} has no column {wanted.field}"
        raise ModelError(file, None, what, "name a model of this project and one of its columns")
    return parent


def run_tests(engine: Engine, project: Project) -> list[TestResult]:
    """Run every test against the models as they are built now, all in one snapshot.

    Raises:
        ModelError: the database refuses a test, for example because its model has not been built.
        Transient: the server went away.
    """
    results = []
    with engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
        plain = connection.execution_options(no_parameters=True)
        for test in project.tests:
            try:
                failures = plain.exec_driver_sql(f"select count(*) from (\n{test.sql}\n) failing").scalar_one()
            except OperationalError as error:
                raise Transient(f"{test.file}: the database went away: {type(error.orig).__name__}") from error
            except DBAPIError as error:
                message = getattr(getattr(error.orig, "diag", None), "message_primary", type(error.orig).__name__)
                what = f"test {test.name} of {test.model}: {message}"
                raise ModelError(test.file, None, what, "build the models first, or correct the test") from error
            results.append(TestResult(test.name, test.model, test.column, failures, test.sql))
    return results

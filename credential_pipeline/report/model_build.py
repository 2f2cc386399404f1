"""Build SQL models into the schema `metrics`: readers see the last table until the next one is whole.

Belongs here: creating and swapping. Does not belong here: what the models say. Each model is one transaction under a
lock, so two processes may build at once, and a kill leaves the tables as they were.
"""

from __future__ import annotations

import logging
import time

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError, OperationalError

from credential_pipeline.errors import Transient
from credential_pipeline.report.model_schema import ModelError
from credential_pipeline.report.model_sql import METRICS
from credential_pipeline.report.model_types import Model, ModelResult, Project
from credential_pipeline.store.postgres import transaction_lock

log = logging.getLogger(__name__)

KINDS = {"r": "table", "p": "table", "v": "view", "m": "materialized view"}
"""pg_class.relkind in words that DROP understands."""


def build(engine: Engine, project: Project, run_id: str) -> list[ModelResult]:
    """Build every model in order; a second call gives the same tables.

    Args:
        engine: a role that may create in the schema `metrics`.
        project: from load_project.
        run_id: written into the comment of each table, beside its description.

    Raises:
        ModelError: the database refuses a model; those before it are built, the others are as they were.
        Transient: the server went away.
    """
    results = []
    for model in project.models:
        start = time.monotonic()
        try:
            with engine.begin() as connection:
                transaction_lock(connection, METRICS)
                rows = None
                if model.materialized == "table":
                    rows = _table(connection, model)
                else:
                    _view(connection, model)
                _comment(connection, model, run_id)
        except OperationalError as error:
            raise Transient(
                f"{model.file}: the database went away while building: {type(error.orig).__name__}"
            ) from error
        except DBAPIError as error:
            raise _refused(model, error) from error
        results.append(ModelResult(model.name, rows, time.monotonic() - start))
    log.info("built %d models", len(results))
    return results


def execute_plain(connection: Connection, sql: str) -> int:
    """Run SQL that may hold `%`; returns the driver's row count."""
    return connection.execution_options(no_parameters=True).exec_driver_sql(sql).rowcount


def _table(connection: Connection, model: Model) -> int:
    new = f"{model.relation}__new"
    rows = execute_plain(connection, f"create table {new} as\n{model.sql}")
    execute_plain(connection, f"analyze {new}")
    _drop(connection, model.name)
    execute_plain(connection, f"alter table {new} rename to {model.name}")
    return rows


def _view(connection: Connection, model: Model) -> None:
    if _kind(connection, model.name) == "view":
        # Keeps what stands on the view, as long as its columns only grow.
        savepoint = connection.begin_nested()
        try:
            execute_plain(connection, f"create or replace view {model.relation} as\n{model.sql}")
        except DBAPIError as error:
            savepoint.rollback()
            if getattr(error.orig, "sqlstate", "") != "42P16":  # invalid_table_definition: a column went or changed
                raise
        else:
            savepoint.commit()
            return
        # Views of ours that stand on it follow in this build.
        execute_plain(connection, f"drop view {model.relation} cascade")
    else:
        _drop(connection, model.name)
    execute_plain(connection, f"create view {model.relation} as\n{model.sql}")


def _kind(connection: Connection, name: str) -> str | None:
    kind = connection.scalar(
        text(
            "select relkind::text from pg_class where relname = :name and relnamespace = to_regnamespace(:schema)"
            " and relkind in ('r', 'p', 'v', 'm')"
        ),
        {"name": name, "schema": METRICS},
    )
    return KINDS[kind] if kind else None


def _drop(connection: Connection, name: str) -> None:
    kind = _kind(connection, name)
    if kind is not None:
        execute_plain(connection, f"drop {kind} {METRICS}.{name}")


def _comment(connection: Connection, model: Model, run_id: str) -> None:
    said = [(f"{model.materialized} {model.relation}", f"{model.description} (run {run_id})")]
    said += [(f"column {model.relation}.{column.name}", column.description) for column in model.columns]
    execute_plain(connection, "; ".join(f"comment on {what} is {_literal(words)}" for what, words in said))


def _literal(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _refused(model: Model, error: DBAPIError) -> ModelError:
    diagnosis = getattr(error.orig, "diag", None)
    message = getattr(diagnosis, "message_primary", None) or type(error.orig).__name__
    position = getattr(diagnosis, "statement_position", None)
    line = None
    if position:
        # The first line is our `create ... as`.
        line = max(1, error.statement.count("\n", 0, int(position)) if error.statement else 1)
    if getattr(error.orig, "sqlstate", "") == "2BP01":  # dependent_objects_still_exist
        detail = " ".join(str(getattr(diagnosis, "message_detail", "")).split())
        return ModelError(
            model.file, None, f"the table cannot be replaced: {detail}",
            f"drop what was made on {model.relation}, or let it read the tables that the model reads",
        )  # fmt: skip
    return ModelError(model.file, line, f"the database refuses it: {message}", "correct the SELECT")

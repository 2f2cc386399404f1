"""PostgreSQL as the stages use it: an engine, migrations, COPY and named locks.

Belongs here: how we talk to the server. Does not belong here: which rows (the stages) and which tables
(store/tables). Any PostgreSQL 14 or newer by URL; store/embedded.py brings one when there is no URL.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import as_file, files
from typing import Any

import orjson
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from psycopg.errors import InsufficientPrivilege
from sqlalchemy import Connection, Engine, Table, create_engine, make_url, text
from sqlalchemy.exc import ArgumentError, OperationalError, ProgrammingError

from credential_pipeline.errors import Terminal, Transient

MIGRATION_LOCK = "migrations"


def open_engine(url: str) -> Engine:
    """An engine on psycopg 3 for any `postgresql://` URL.

    Raises:
        Terminal: the URL is not one of PostgreSQL. The message never repeats the URL: it may hold a password.
    """
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise Terminal(
            "the database URL cannot be read; write postgresql://USER:PASSWORD@HOST:PORT/DATABASE "
            "in CREDENTIAL_PIPELINE_DATABASE_URL"
        ) from error
    if parsed.get_backend_name() != "postgresql":
        raise Terminal(f"the database must be PostgreSQL, not {parsed.get_backend_name()}; see docs/operating.md")
    # UTC in every session: dates and instants compare the same whatever the server's own zone is.
    return create_engine(
        parsed.set(drivername="postgresql+psycopg"),
        pool_pre_ping=True,
        json_deserializer=orjson.loads,
        hide_parameters=True,  # an error must not carry a person's data into a log
        # A look-up by a random id costs no more than a page read in order: no disk turns any more. With PostgreSQL's
        # default of 4 a chunk of 4,000 lines reads all states of a million credentials.
        connect_args={"options": "-c timezone=UTC -c random_page_cost=1.1", "application_name": "credential_pipeline"},
    )


def dagster_url(url: str) -> str:
    """The same database as Dagster's own storage wants it: its NOTIFY needs psycopg2, named explicitly."""
    return make_url(url).set(drivername="postgresql+psycopg2").render_as_string(hide_password=False)


def migrate(owner: Engine, *, application_role: str | None = None, revision: str = "head") -> None:
    """Bring the schema to `revision`; several processes may call at once, one works and the others wait.

    Args:
        owner: an engine of the role that owns the schemas.
        application_role: the role that the pipeline itself connects as, when it is another one; it may do
            everything with the rows but rewrite the audit log.
        revision: an Alembic revision.

    Raises:
        Transient: the server does not answer.
        Terminal: something has to be migrated and the role may not, or a newer version migrated already.
    """
    with as_file(files("credential_pipeline.store") / "migrations") as location:
        config = Config()
        config.set_main_option("script_location", str(location).replace("%", "%%"))
        head = ScriptDirectory.from_config(config).get_current_head()
        try:
            with owner.connect() as connection:
                if revision == "head" and _current_revision(connection) == head:
                    return
                with named_lock(connection, MIGRATION_LOCK):
                    connection.execute(text("create schema if not exists ledger"))
                    connection.commit()
                    config.attributes["connection"] = connection
                    config.attributes["application_role"] = application_role
                    command.upgrade(config, revision)
                    connection.commit()
        except ProgrammingError as error:
            if isinstance(error.orig, InsufficientPrivilege):
                raise Terminal(
                    "the database's schema is not up to date and this role may not change it; set "
                    "CREDENTIAL_PIPELINE_DATABASE_OWNER_URL to a role that owns the database, for migrations only"
                ) from error
            raise
        except CommandError as error:
            raise Terminal(
                f"the database's schema was made by a newer version of credential-pipeline ({error}); "
                "upgrade this installation, or use a database of its own version"
            ) from error
        except OperationalError as error:
            raise Transient(f"the database does not answer: {type(error.orig).__name__}") from error


def _current_revision(connection: Connection) -> str | None:
    known = connection.scalar(text("select to_regclass('ledger.alembic_version') is not null"))
    return connection.scalar(text("select version_num from ledger.alembic_version")) if known else None


def lock_number(name: str) -> int:
    """The 64-bit key of PostgreSQL's advisory locks for a name."""
    return int.from_bytes(hashlib.sha256(f"credential_pipeline {name}".encode()).digest()[:8], "big", signed=True)


def integers(numbers: Iterable[int]) -> str:
    """Numbers as PostgreSQL writes an array of them; psycopg takes 4 ms to adapt a list of 4,000, this takes 0.4."""
    return "{" + ",".join(map(str, numbers)) + "}"


@contextmanager
def named_lock(connection: Connection, name: str) -> Iterator[None]:
    """Hold a session-level advisory lock; it ends with the block, or with the process whatever ends that."""
    key = lock_number(name)
    connection.execute(text("select pg_advisory_lock(:key)"), {"key": key})
    connection.commit()
    try:
        yield
    finally:
        if not connection.invalidated:
            connection.rollback()
            connection.execute(text("select pg_advisory_unlock(:key)"), {"key": key})
            connection.commit()


def transaction_lock(connection: Connection, name: str) -> None:
    """Take an advisory lock that the current transaction holds until it ends."""
    connection.execute(text("select pg_advisory_xact_lock(:key)"), {"key": lock_number(name)})


def copy_rows(connection: Connection, table: Table | str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> int:
    """COPY rows into a table in the connection's transaction; returns how many. 20x faster than INSERT here."""
    name = table if isinstance(table, str) else f"{table.schema}.{table.name}"
    driver: Any = connection.connection.driver_connection
    count = 0
    statement = f"copy {name} ({', '.join(columns)}) from stdin"
    with driver.cursor() as cursor, cursor.copy(statement) as copy:
        for row in rows:
            copy.write_row(row)
            count += 1
    return count

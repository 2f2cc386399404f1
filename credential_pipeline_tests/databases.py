"""Migrated databases, Dagster's own tables in them, on the session's server, lent to one test after another.

Belongs here: making one, lending it, emptying it. What a borrower sees is what a new database would show it: the rows
of the template, sequences at their start, nobody else connected. A database whose schema was touched, or that grew, is
dropped instead. Copying the template takes 30 to 110 ms and emptying 4.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import psycopg
from sqlalchemy import text

from credential_pipeline.store.embedded import Server, ensure_running
from credential_pipeline.store.postgres import dagster_url, lock_number, migrate, open_engine

SERVER = "CP_TEST_SERVER"
"""The variable of the environment that names the session's directory; workers inherit it."""
ROLE = "credential_pipeline"
TEMPLATE = "template_migrated"
GROWN_BYTES = 6_000_000
"""What a database may have grown by and still be lent again: deleted rows stay in its files."""

SCHEMA = """
with class as (select oid, xmin, reltuples from pg_class where oid >= 16384 and relpersistence <> 't')
select sum(hashtext(found)::bigint), count(*) from (
    select 'class' || oid || xmin || reltuples as found from class
    union all select 'column' || attrelid || attnum || a.xmin from pg_attribute a join class on class.oid = attrelid
    union all select 'constraint' || o.oid || o.xmin from pg_constraint o join class on class.oid = conrelid
    union all select 'function' || oid || xmin from pg_proc where oid >= 16384
    union all select 'trigger' || oid || xmin from pg_trigger
    union all select 'schema' || oid || xmin from pg_namespace where nspname not like 'pg@_%temp@_%' escape '@'
    union all select 'setting' || setdatabase || setrole || setconfig::text from pg_db_role_setting
    union all select 'version ' || version_num from ledger.alembic_version
    union all select 'version ' || version_num from public.alembic_version) as everything
"""
"""Changes with anything that DDL writes: `xmin` is the transaction that wrote a row of the catalogue last.

Temporary tables and their schemas do not count."""

TABLES = """
select format('%I.%I', nspname, relname) from pg_class join pg_namespace on pg_namespace.oid = relnamespace
where relkind = 'r' and pg_class.oid >= 16384 and relpersistence <> 't'
"""
ALONE = """
select count(pg_terminate_backend(pid, 5000)) from pg_stat_activity
where datname = current_database() and pid <> pg_backend_pid()
"""
RESTART = "select setval(seqrelid::regclass, seqstart, false) from pg_sequence"


@cache
def server() -> Server:
    """The session's server, started by whichever worker asks first; a worker asks once."""
    return ensure_running(Path(os.environ[SERVER]) / "postgres", durable=False)


class _Superuser:
    """One superuser's connection to a database, kept open: signing in costs as much as emptying."""

    def __init__(self, database: str) -> None:
        self._connection = psycopg.connect(server().url(database), autocommit=True)

    def __call__(self, statement: str) -> tuple[object, ...]:
        """The first row of the answer of the last of the statements."""
        cursor = self._connection.execute(statement)
        return (cursor.fetchone() or ()) if cursor.description else ()

    def texts(self, statement: str) -> list[str]:
        return [str(row[0]) for row in self._connection.execute(statement)]

    def close(self) -> None:
        self._connection.close()


@dataclass
class Database:
    """A migrated database that is lent."""

    name: str

    def __post_init__(self) -> None:
        self._superuser = _Superuser(self.name)
        self._schema, self._size = self._superuser(SCHEMA), self._bytes()
        # What a migration wrote stays: versions of schemas, and which of its own migrations Dagster has done.
        self._filled = [
            name for name in self._superuser.texts(TABLES) if self._superuser(f"select 1 from {name} limit 1")
        ]

    @property
    def url(self) -> str:
        """It, as the application role sees it."""
        return server().url(self.name, role=ROLE)

    @cached_property
    def _emptying(self) -> str:
        deletes = [f"delete from {name}" for name in self._superuser.texts(TABLES) if name not in self._filled]
        # A replica fires no triggers: neither the audit log's, nor those of foreign keys.
        return "; ".join(["set session_replication_role = replica", *deletes, RESTART])

    def _bytes(self) -> int:
        return int(str(self._superuser("select pg_database_size(current_database())")[0]))

    def empty(self) -> bool:
        """End who is connected and take every row away; False: its schema is another one, or it grew."""
        self._superuser(ALONE)
        if self._superuser(SCHEMA) != self._schema or self._bytes() - self._size > GROWN_BYTES:
            return False
        self._superuser(self._emptying)
        return True

    def drop(self) -> None:
        """Remove it from the server."""
        self._superuser.close()
        _administrator()(f'drop database if exists "{self.name}" with (force)')


@cache
def _administrator() -> _Superuser:
    return _Superuser("postgres")


def make_template() -> None:
    """Make the migrated database that every other is copied from, unless another worker has."""
    key = lock_number("test template")
    admin = _Superuser("postgres")
    admin(f"select pg_advisory_lock({key})")  # the connection's end frees it
    if not admin(f"select 1 from pg_database where datname = '{TEMPLATE}'"):
        making = f"{TEMPLATE}_making"
        admin(f'create database "{making}" owner {ROLE}_owner')
        owner = open_engine(server().url(making, role=f"{ROLE}_owner"))
        migrate(owner, application_role=ROLE)
        with owner.begin() as connection:
            connection.execute(text(f"grant create on schema public to {ROLE}"))
        owner.dispose()
        _make_dagsters_tables(dagster_url(server().url(making, role=ROLE)))
        admin(f'alter database "{making}" rename to "{TEMPLATE}"')
    admin.close()


def _make_dagsters_tables(url: str) -> None:
    """What the first Dagster instance on a database makes: 0.8 s that every test with a run would wait for."""
    from dagster_postgres import PostgresEventLogStorage, PostgresRunStorage, PostgresScheduleStorage

    for storage in (PostgresRunStorage, PostgresEventLogStorage, PostgresScheduleStorage):
        storage(url, should_autocreate_tables=True).dispose()


_free: list[Database] = []


def borrow() -> Database:
    """A database with the template's rows, of the borrower's own."""
    if _free:
        return _free.pop()
    name = f"t_{uuid.uuid4().hex}"
    # Copied as files: half the time of copying through the log.
    _administrator()(f'create database "{name}" template "{TEMPLATE}" strategy file_copy')
    return Database(name)


def give_back(database: Database) -> None:
    """Lend it to the next test, or drop it."""
    if database.empty():
        _free.append(database)
    else:
        database.drop()


@contextmanager
def lent() -> Iterator[str]:
    """The URL of a database that is the block's own."""
    database = borrow()
    try:
        yield database.url
    finally:
        give_back(database)

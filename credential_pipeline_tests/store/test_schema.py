"""Migrations against the tables, what roles may do, and several processes that migrate at once."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.resources import as_file, files
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, make_url, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from credential_pipeline.errors import Terminal, Transient
from credential_pipeline.store.embedded import APPLICATION_ROLE, OWNER_ROLE, ensure_running
from credential_pipeline.store.postgres import MIGRATION_LOCK, lock_number, migrate, named_lock, open_engine
from credential_pipeline.store.tables import SCHEMAS, metadata
from credential_pipeline_tests.databases import SERVER
from credential_pipeline_tests.ledger import Ledger


class Databases:
    """Databases on the session's server that nobody has migrated, by the URL of any role."""

    def __init__(self, server_url: str) -> None:
        self.names: list[str] = []
        url = make_url(server_url).set(drivername="postgresql+psycopg")
        self._admin = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")

    def execute(self, statement: str) -> None:
        with self._admin.connect() as connection:
            connection.execute(text(statement))

    def new(self) -> str:
        """An empty database of the owner role; returns its name."""
        name = f"empty_{uuid.uuid4().hex}"
        self.execute(f'create database "{name}" owner {OWNER_ROLE}')
        self.names.append(name)
        return name

    def url(self, name: str, role: str) -> str:
        """A database as a role sees it."""
        return ensure_running(Path(os.environ[SERVER]) / "postgres", durable=False).url(name, role=role)

    def drop(self) -> None:
        for name in self.names:
            self.execute(f'drop database if exists "{name}" with (force)')


@pytest.fixture
def databases(server_url: str) -> Iterator[Databases]:
    made = Databases(server_url)
    yield made
    made.drop()


@pytest.fixture
def opened() -> Iterator[Callable[[str], Engine]]:
    """A function that opens an engine; all are closed when the test ends."""
    engines: list[Engine] = []

    def make(url: str) -> Engine:
        engines.append(open_engine(url))
        return engines[-1]

    yield make
    for engine in engines:
        engine.dispose()


@pytest.fixture
def empty(databases: Databases) -> str:
    """The name of an empty database."""
    return databases.new()


@pytest.fixture
def owner(empty: str, databases: Databases, opened: Callable[[str], Engine]) -> Engine:
    """The owner of the empty database."""
    return opened(databases.url(empty, OWNER_ROLE))


def shape(connection: Connection) -> list[tuple[object, ...]]:
    """Every relation, function, trigger and grant of our schemas with the transaction that made it."""
    found = connection.execute(
        text(
            "select 'relation', c.oid::regclass::text, c.xmin::text, c.relacl::text from pg_class c"
            " where c.relnamespace::regnamespace::text = any(:schemas)"
            " union all select 'function', p.oid::regprocedure::text, p.xmin::text, p.proacl::text from pg_proc p"
            " where p.pronamespace::regnamespace::text = any(:schemas)"
            " union all select 'trigger', t.tgname, t.xmin::text, t.tgenabled::text from pg_trigger t"
            " union all select 'schema', n.nspname, n.xmin::text, n.nspacl::text from pg_namespace n"
            " where n.nspname = any(:schemas)"
            " union all select 'version', version_num, xmin::text, null from ledger.alembic_version order by 1, 2"
        ),
        {"schemas": list(SCHEMAS)},
    )
    return [tuple(row) for row in found]


def test_the_migrations_make_the_tables_and_nothing_else(owner: Engine) -> None:
    migrate(owner)
    with owner.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "include_schemas": True,
                "version_table_schema": "ledger",
                "compare_type": True,
                "compare_server_default": True,
            },
        )
        assert compare_metadata(context, metadata) == []
        made = connection.scalars(
            text("select schemaname || '.' || tablename from pg_tables where schemaname = any(:s)"),
            {"s": list(SCHEMAS)},
        )
        assert set(made) == {str(table) for table in metadata.tables.values()} | {"ledger.alembic_version"}
        schemas = set(connection.scalars(text("select nspname from pg_namespace")))
        assert {name for name in schemas if not name.startswith("pg_")} == {*SCHEMAS, "public", "information_schema"}


def test_names_of_constraints_and_the_view_of_batches_are_as_the_tables_say(owner: Engine) -> None:
    """compare_metadata looks at neither primary keys nor views."""
    migrate(owner)
    with owner.connect() as connection:
        keys = set(connection.scalars(text("select conname from pg_constraint where contype = 'p'")))
        assert {f"pk_{table.name}" for table in metadata.tables.values()} <= keys
        columns = connection.scalars(
            text(
                "select column_name from information_schema.columns where table_schema = 'landed'"
                " and table_name = 'batch_row' order by ordinal_position"
            )
        )
        assert list(columns) == ["day", "dataset", "row_id"]


def test_migrating_twice_changes_nothing(owner: Engine) -> None:
    migrate(owner, application_role=APPLICATION_ROLE)
    with owner.connect() as connection:
        before = shape(connection)
    migrate(owner, application_role=APPLICATION_ROLE)
    with owner.connect() as connection:
        assert shape(connection) == before
    assert len(before) > 100


def test_a_role_that_owns_nothing_passes_where_nothing_is_to_be_done(
    empty: str, owner: Engine, databases: Databases, opened: Callable[[str], Engine]
) -> None:
    application = opened(databases.url(empty, APPLICATION_ROLE))
    with pytest.raises(Terminal, match=r"this role may not change it; set CREDENTIAL_PIPELINE_DATABASE_OWNER_URL"):
        migrate(application)
    migrate(owner, application_role=APPLICATION_ROLE)
    migrate(application)


def test_a_server_that_does_not_answer_is_another_time(owner: Engine, opened: Callable[[str], Engine]) -> None:
    with pytest.raises(Transient, match="the database does not answer"):
        migrate(opened("postgresql://nobody:secret@127.0.0.1:1/nothing"))


@contextmanager
def migrations() -> Iterator[ScriptDirectory]:
    """The migrations as Alembic reads them."""
    with as_file(files("credential_pipeline.store") / "migrations") as location:
        config = Config()
        config.set_main_option("script_location", str(location))
        yield ScriptDirectory.from_config(config)


def newest_revision() -> str | None:
    with migrations() as scripts:
        return scripts.get_current_head()


def test_revisions_are_one_line_that_only_goes_forward() -> None:
    with migrations() as scripts:
        revisions = list(scripts.walk_revisions())
        assert len(scripts.get_heads()) == len(scripts.get_bases()) == 1
    assert [r.revision for r in reversed(revisions)] == [f"{n:04}" for n in range(1, len(revisions) + 1)]
    # A ledger is restored from a backup, not migrated down: no revision pretends that it could be.
    assert [r.revision for r in revisions if hasattr(r.module, "downgrade")] == []


def test_a_schema_of_a_later_version_is_left_alone(owner: Engine) -> None:
    migrate(owner)
    with owner.begin() as connection:
        connection.execute(text("update ledger.alembic_version set version_num = '9999'"))
    with pytest.raises(Terminal, match=r"newer version of credential-pipeline.*upgrade"):
        migrate(owner)
    with owner.connect() as connection:
        assert connection.scalar(text("select version_num from ledger.alembic_version")) == "9999"


def waiting(connection: Connection) -> int:
    """How many sessions wait for the lock of migrations of this database."""
    key = lock_number(MIGRATION_LOCK) % (1 << 64)
    return int(
        connection.execute(
            text(
                "select count(*) from pg_locks where locktype = 'advisory' and not granted"
                " and database = (select oid from pg_database where datname = current_database())"
                " and classid = cast(:high as bigint) and objid = cast(:low as bigint)"
            ),
            {"high": key >> 32, "low": key & 0xFFFFFFFF},
        ).scalar_one()
    )


MIGRATE = (
    "import sys; from credential_pipeline.store.postgres import migrate, open_engine;"
    f"migrate(open_engine(sys.stdin.read()), application_role={APPLICATION_ROLE!r})"
)


def test_processes_that_migrate_at_once_wait_for_each_other(empty: str, owner: Engine, databases: Databases) -> None:
    """All find an empty database, stop at the lock that the test holds, and go when it lets them."""
    url = databases.url(empty, OWNER_ROLE)
    processes = [
        subprocess.Popen([sys.executable, "-c", MIGRATE], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    try:
        with owner.connect() as holder, owner.connect() as watcher, named_lock(holder, MIGRATION_LOCK):
            for process in processes:
                assert process.stdin is not None
                process.stdin.write(url)
                process.stdin.close()
                process.stdin = None
            deadline = time.monotonic() + 60
            while waiting(watcher) < len(processes):
                assert time.monotonic() < deadline
                assert [p.poll() for p in processes] == [None, None]
                time.sleep(0.02)
            watcher.rollback()
            assert watcher.scalar(text("select to_regnamespace('ledger')")) is None
        for process in processes:
            _, errors = process.communicate(timeout=60)
            assert (process.returncode, errors) == (0, "")
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
                process.wait()
    with owner.connect() as connection:
        head = connection.execute(text("select version_num from ledger.alembic_version")).scalar_one()
        assert head == newest_revision()
        assert connection.scalar(
            text("select has_table_privilege(:r, 'ledger.event', 'insert')"), {"r": APPLICATION_ROLE}
        )


def with_an_event(engine: Engine) -> None:
    """One credential with its first event, and an action, by the role of the engine."""
    with engine.begin() as connection:
        ledger = Ledger(connection)
        ledger.base()
        ledger.credential(ledger.award(ledger.person("lms:A"), "knots"))
        ledger.execute(
            "insert into ledger.action (kind, subject, actor, run_id) values ('told', 'plan:1', 'rita', 'run')"
        )


def test_tables_of_later_migrations_are_the_applications_too(
    empty: str, owner: Engine, databases: Databases, opened: Callable[[str], Engine]
) -> None:
    migrate(owner, application_role=APPLICATION_ROLE)
    with owner.begin() as connection:
        connection.execute(text("create table ledger.later (n bigint generated by default as identity, note text)"))
    with opened(databases.url(empty, APPLICATION_ROLE)).begin() as connection:
        connection.execute(text("insert into ledger.later (note) values ('by the application')"))
        assert connection.scalar(text("select n from ledger.later")) == 1


def test_a_single_role_that_owns_everything_is_bound_by_the_trigger(
    empty: str, owner: Engine, opened: Callable[[str], Engine]
) -> None:
    """An institution's own PostgreSQL with one role: no application role, so no grant protects the log."""
    migrate(owner)
    with_an_event(owner)
    with owner.connect() as connection, pytest.raises(DBAPIError, match="append-only"):
        connection.execute(text("delete from ledger.event"))
    with owner.connect() as connection:
        assert connection.scalar(text("select count(*) from ledger.event")) == 1


def test_a_name_of_a_role_that_needs_quotes_is_granted(databases: Databases, owner: Engine) -> None:
    role = f'Pipeline "{uuid.uuid4().hex[:8]}" role'
    quoted = '"' + role.replace('"', '""') + '"'
    databases.execute(f"create role {quoted}")
    try:
        migrate(owner, application_role=role)
        with owner.connect() as connection:
            right = text("select has_table_privilege(:r, 'ledger.event', :p)")
            assert [connection.scalar(right, {"r": role, "p": p}) for p in ("insert", "update")] == [True, False]
    finally:
        databases.drop()
        databases.execute(f"drop role {quoted}")

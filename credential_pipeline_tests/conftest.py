"""One PostgreSQL a session, one database a test: real parts, shared where sharing cannot be seen."""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, create_engine, make_url, text

from credential_pipeline.institution import Institution
from credential_pipeline.institution.load import load_institution
from credential_pipeline.store.embedded import Server
from credential_pipeline.store.postgres import lock_number, migrate, open_engine

REPOSITORY = Path(__file__).parent.parent
SERVER = "CP_TEST_SERVER"
ROLE = "credential_pipeline"


def pytest_configure(config: pytest.Config) -> None:
    """The controller makes the session's directory; workers find it in the environment they inherit."""
    if not hasattr(config, "workerinput"):
        os.environ[SERVER] = tempfile.mkdtemp(prefix="credential-pipeline-tests-")


def pytest_unconfigure(config: pytest.Config) -> None:
    """The controller, which ends last, stops the server and removes its directory."""
    if not hasattr(config, "workerinput") and (directory := os.environ.pop(SERVER, None)):
        from credential_pipeline.store.embedded import stop

        if (Path(directory) / "postgres").exists():
            stop(Path(directory) / "postgres", mode="immediate")
        shutil.rmtree(directory, ignore_errors=True)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that start processes first: at the end one of them would keep a single worker busy for a minute."""
    slow = ("/e2e/", "/test_dev.py", "/test_command_line.py")
    items.sort(key=lambda item: not any(part in item.path.as_posix() for part in slow))


@cache
def _server() -> Server:
    """The session's server, started by whichever worker asks first; a worker asks once."""
    from credential_pipeline.store.embedded import ensure_running

    return ensure_running(Path(os.environ[SERVER]) / "postgres", durable=False)


@pytest.fixture(scope="session")
def server_url() -> str:
    """A superuser's URL of the session's server."""
    return _server().url("postgres", role="postgres")


@cache
def _engine(server_url: str) -> Engine:
    """One connection a worker: signing in by SCRAM costs as much as a test's database."""
    return create_engine(
        make_url(server_url).set(drivername="postgresql+psycopg"), pool_size=1, isolation_level="AUTOCOMMIT"
    )


@contextmanager
def _administrator(server_url: str) -> Iterator[Connection]:
    with _engine(server_url).connect() as connection:
        try:
            yield connection
        finally:
            connection.execute(text("select pg_advisory_unlock_all()"))


@pytest.fixture(scope="session")
def template(server_url: str) -> str:
    """The name of a migrated database that every test's own is copied from (60 ms instead of 600)."""
    name = "template_migrated"
    with _administrator(server_url) as admin:
        admin.execute(text("select pg_advisory_lock(:k)"), {"k": lock_number("test template")})
        if not admin.scalar(text("select 1 from pg_database where datname = :n"), {"n": name}):
            admin.execute(text(f'create database "{name}_making" owner {ROLE}_owner'))
            owner = open_engine(_server().url(f"{name}_making", role=f"{ROLE}_owner"))
            migrate(owner, application_role=ROLE)
            with owner.begin() as connection:
                connection.execute(text(f"grant create on schema public to {ROLE}"))
            owner.dispose()
            admin.execute(text(f'alter database "{name}_making" rename to "{name}"'))
    return name


@pytest.fixture
def new_database(server_url: str, template: str) -> Iterator[object]:
    """A function that makes another migrated database and returns its URL; all go when the test ends."""
    names: list[str] = []

    def make() -> str:
        name = f"t_{uuid.uuid4().hex}"
        with _administrator(server_url) as admin:
            admin.execute(text(f'create database "{name}" template "{template}"'))
        names.append(name)
        return _server().url(name, role=ROLE)

    yield make
    with _administrator(server_url) as admin:
        for name in names:
            admin.execute(text(f'drop database if exists "{name}" with (force)'))


@pytest.fixture
def database_url(new_database: object) -> str:
    """A migrated database of this test's own, as the application role sees it."""
    return new_database()  # type: ignore[operator]


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """An engine on this test's own database."""
    engine = open_engine(database_url)
    yield engine
    engine.dispose()


@pytest.fixture(scope="session")
def northfield() -> Institution:
    """The sample university."""
    return load_institution(REPOSITORY / "samples" / "northfield")


@pytest.fixture(scope="session")
def open_university() -> Institution:
    """The sample institution of the Open University dataset."""
    return load_institution(REPOSITORY / "samples" / "open_university")

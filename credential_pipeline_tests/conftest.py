"""One PostgreSQL a session, one database a test (databases.py): real parts, shared where sharing cannot be seen."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from credential_pipeline.institution import Institution
from credential_pipeline.institution.load import load_institution
from credential_pipeline.store.postgres import open_engine
from credential_pipeline_tests.databases import SERVER, TEMPLATE, Database, borrow, give_back, make_template, server
from credential_pipeline_tests.riverside import college

__all__ = ["college"]

REPOSITORY = Path(__file__).parent.parent


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
    slow = ("/test_dev.py", "/torture/", "/e2e/", "/test_command_line.py", "/test_verify_command.py")
    items.sort(key=lambda item: next((n for n, part in enumerate(slow) if part in item.path.as_posix()), len(slow)))


@pytest.fixture(scope="session")
def server_url() -> str:
    """A superuser's URL of the session's server."""
    return server().url("postgres", role="postgres")


@pytest.fixture(scope="session")
def template() -> str:
    """The name of the migrated database that every test's own is copied from."""
    make_template()
    return TEMPLATE


@pytest.fixture
def new_database(template: str) -> Iterator[Callable[[], str]]:
    """A function that gives another migrated database and returns its URL; all go back when the test ends."""
    borrowed: list[Database] = []

    def make() -> str:
        borrowed.append(borrow())
        return borrowed[-1].url

    yield make
    for database in borrowed:
        give_back(database)


@pytest.fixture
def database_url(new_database: Callable[[], str]) -> str:
    """A migrated database of this test's own, as the application role sees it."""
    return new_database()


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

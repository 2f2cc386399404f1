"""A desk a test: its own database, a school and secrets with one key.

All desks of a session have copies of the same secrets: deriving their key, and permuting a status list by them, takes
0.2 s that is no part of what is tested here.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from credential_pipeline.institution import Institution
from credential_pipeline.store.postgres import open_engine
from credential_pipeline.store.secrets import SecretsDirectory
from credential_pipeline.store.signing import ensure_signing_key
from credential_pipeline_tests.issue.desk import KEY_START, Desk, institution

PASSPHRASE = b"a passphrase of tests"


@pytest.fixture(scope="session")
def school_secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A secrets directory with one key and the first version of what issuing asks for."""
    directory = tmp_path_factory.mktemp("school") / "secrets"
    secrets = SecretsDirectory(directory, PASSPHRASE)
    secrets.ensure_signing_key(KEY_START)
    for kind in ("id", "salt", "status"):
        secrets.secret(kind)
    return directory


@pytest.fixture
def new_desk(new_database: Callable[[], str], school_secrets: Path, tmp_path: Path) -> Iterator[Callable[..., Desk]]:
    """A function that makes a desk with a database of its own; all desks of a test share one secrets directory."""
    made: list[Desk] = []
    secrets = SecretsDirectory(shutil.copytree(school_secrets, tmp_path / "secrets"), PASSPHRASE)

    def make(school: Institution | None = None) -> Desk:
        engine = open_engine(new_database())
        made.append(Desk(engine, school or institution(), secrets))
        ensure_signing_key(engine, secrets, KEY_START)
        return made[-1]

    yield make
    for desk in made:
        desk.engine.dispose()


@pytest.fixture
def desk(new_desk: Callable[..., Desk]) -> Desk:
    """The desk of a test that needs one."""
    return new_desk()

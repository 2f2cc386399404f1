"""A desk a test: its own database, a school and secrets with one key."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from credential_pipeline.institution import Institution
from credential_pipeline.store.postgres import open_engine
from credential_pipeline.store.secrets import SecretsDirectory
from credential_pipeline.store.signing import ensure_signing_key
from credential_pipeline_tests.issue.desk import KEY_START, Desk, institution


@pytest.fixture
def new_desk(new_database: Callable[[], str], tmp_path: Path) -> Iterator[Callable[..., Desk]]:
    """A function that makes a desk with a database of its own; all desks of a test share one secrets directory."""
    made: list[Desk] = []
    secrets = SecretsDirectory(tmp_path / "secrets", b"a passphrase of tests")

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

"""A college with one key, and a folder to publish it to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from credential_pipeline.institution import Institution
from credential_pipeline.publish.documents import recorded_keys
from credential_pipeline.publish.publish import PublishResult, publish
from credential_pipeline.store.objects import ObjectStore, open_store
from credential_pipeline_tests.publish import ledger


@dataclass(frozen=True)
class Publisher:
    """Publishes the test's ledger with what a test did not say otherwise."""

    engine: Engine
    college: Institution
    store: ObjectStore
    folder: Path

    def __call__(self, as_of: datetime = ledger.AS_OF, **changes: Any) -> PublishResult:
        college = changes.pop("college", self.college)
        engine = changes.pop("engine", self.engine)
        return publish(
            engine,
            college,
            changes.pop("store", self.store),
            changes.pop("target", "site"),
            ledger.signer_of(college, changes.pop("key", "key-1")),
            recorded_keys(engine, college),
            as_of,
            "run-2",
            **changes,
        )

    def read(self, path: str) -> Any:
        """A published document."""
        return ledger.as_json(self.store.get(path))

    def files(self) -> dict[str, bytes]:
        """Everything in the folder."""
        return {
            str(file.relative_to(self.folder)): file.read_bytes() for file in self.folder.rglob("*") if file.is_file()
        }


@pytest.fixture
def college() -> Institution:
    return ledger.institution()


@pytest.fixture
def publisher(engine: Engine, college: Institution, tmp_path: Path) -> Publisher:
    ledger.record_key(engine, college)
    return Publisher(engine, college, open_store("site", tmp_path), tmp_path / "site")


@pytest.fixture
def other_engine(database_url: str) -> Any:
    """A function that opens another engine on the same database, as another process has one."""
    from credential_pipeline.store.postgres import open_engine

    opened: list[Engine] = []

    def make() -> Engine:
        opened.append(open_engine(database_url))
        return opened[-1]

    make_typed: Callable[[], Engine] = make
    yield make_typed
    for engine in opened:
        engine.dispose()

"""Whole runs in process, each in a home and a database of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from credential_pipeline.run import Outcome, run_batch, telling
from credential_pipeline.settings import Settings, load_settings

REPOSITORY = Path(__file__).parents[2]
DAY = date(2026, 3, 2)
AS_OF = datetime(2026, 3, 2, 10, tzinfo=UTC)


@dataclass
class House:
    """An institution, a home and a database; `run` is `credential-pipeline run`, in process."""

    settings: Settings
    told: list[str] = field(default_factory=list)

    def run(self, *, day: date = DAY, as_of: datetime = AS_OF, data: Path | None = None) -> Outcome:
        with telling(self.told.append):
            return run_batch(self.settings, day=day, as_of=as_of, data=data, tell=self.told.append)

    @property
    def site(self) -> Path:
        return self.settings.home / "site"

    def credentials(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in (self.site / "credentials").glob("*.json")}

    def with_secrets_of(self, other: House) -> House:
        self.settings = replace(self.settings, secrets=other.settings.secrets)
        return self


@pytest.fixture
def new_house(new_database: Callable[[], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., House]:
    """A function that makes a house for an institution directory."""
    for name in ("CREDENTIAL_PIPELINE_DAGSTER_URL", "DAGSTER_HOME"):
        monkeypatch.setenv(name, "set by the run; taken back when the test ends")
    made: list[House] = []

    def make(institution: Path | str = "northfield", *, data: Path | None = None) -> House:
        directory = REPOSITORY / "samples" / institution if isinstance(institution, str) else institution
        settings = load_settings(
            institution=directory,
            home=tmp_path / f"home-{len(made)}",
            data=data,
            environ={"CREDENTIAL_PIPELINE_DATABASE_URL": new_database()},
        )
        made.append(House(settings))
        return made[-1]

    return make

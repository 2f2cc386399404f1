"""Whole runs in process, each in a home and a database of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from credential_pipeline.extract.files import extract_dataset
from credential_pipeline.gate.gate import gate_dataset
from credential_pipeline.identify.persons import identify_batch
from credential_pipeline.issue.apply import apply_plan
from credential_pipeline.issue.earn import earn_batch
from credential_pipeline.issue.plan import plan_day
from credential_pipeline.issue.plans import open_plans
from credential_pipeline.publish.documents import recorded_keys
from credential_pipeline.publish.publish import publish
from credential_pipeline.report.reconcile import Reconciliation, reconcile
from credential_pipeline.report.summary import Counts, Reasons, count_scope, reasons_of_scope
from credential_pipeline.run import Outcome, run_batch, telling
from credential_pipeline.runtime import open_runtime
from credential_pipeline.settings import Settings, load_settings

REPOSITORY = Path(__file__).parents[2]
DAY = date(2026, 3, 2)
AS_OF = datetime(2026, 3, 2, 10, tzinfo=UTC)


@dataclass(frozen=True)
class Flow:
    """What a pass through the stages came to."""

    counts: Counts
    reasons: Reasons
    reconciliation: Reconciliation


@dataclass
class House:
    """An institution, a home and a database; `run` is `credential-pipeline run`, in process."""

    settings: Settings
    told: list[str] = field(default_factory=list)

    def run(self, *, day: date = DAY, as_of: datetime = AS_OF, data: Path | None = None) -> Outcome:
        with telling(self.told.append):
            return run_batch(self.settings, day=day, as_of=as_of, data=data, tell=self.told.append)

    def stages(self, *, day: date = DAY, as_of: datetime = AS_OF, run_id: str = "stages") -> Flow:
        """The plain functions of all stages in order, without Dagster: a fifth of the time, the same rows."""
        institution = self.settings.institution
        with open_runtime(self.settings, as_of=as_of) as runtime:
            engine, target = runtime.engine, institution.targets.site
            for dataset in institution.datasets:
                extract_dataset(engine, dataset, runtime.data, day, run_id, lambda: runtime.secrets)
                gate_dataset(engine, institution, dataset, day, run_id)
            identify_batch(engine, institution, day, run_id)
            earn_batch(engine, institution, day, run_id)
            plan_day(engine, institution, runtime.secrets, day, as_of, run_id)
            for plan in open_plans(engine):
                apply_plan(engine, institution, runtime.secrets, runtime.signer, plan, run_id, now=as_of)
            keys = recorded_keys(engine, institution)
            signer, jwt_signer = runtime.signer(as_of), runtime.jwt_signer(as_of)
            publish(engine, institution, runtime.store, target, signer, keys, as_of, run_id, jwt_signer=jwt_signer)
            return Flow(
                count_scope(engine, institution, day, [run_id], target),
                reasons_of_scope(engine, institution, day),
                reconcile(engine, read_object=runtime.store.get, target=target),
            )

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

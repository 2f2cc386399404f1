"""The command line's way to run the flow: the same Dagster jobs, in this process, in the same Dagster instance.

Belongs here: one batch from start to summary, for people who watch a terminal. Does not belong here: what the
stages do, and printing (cli.py). A run that died is failed in the instance by the next one, and its pool slots freed.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

from dagster import (
    DagsterEventType,
    DagsterInstance,
    DagsterRunStatus,
    Definitions,
    EventLogEntry,
    ExecuteInProcessResult,
    RunsFilter,
)
from dagster._core.storage.tags import MAX_RETRIES_TAG
from dagster._core.utils import make_new_run_id
from dagster._utils.error import SerializableErrorInfo  # type: ignore[attr-defined]  # not exported
from sqlalchemy import Engine, text

from credential_pipeline.automation import DAILY_BATCH, IN_PROCESS, PUBLICATION
from credential_pipeline.definitions import build_definitions
from credential_pipeline.errors import Terminal
from credential_pipeline.report.reconcile import reconcile
from credential_pipeline.report.summary import Counts, Reasons, count_scope, reasons_of_scope
from credential_pipeline.runtime import Runtime, open_runtime, prepare_database
from credential_pipeline.settings import Settings
from credential_pipeline.store.postgres import dagster_url, lock_number

DAGSTER_URL = "CREDENTIAL_PIPELINE_DAGSTER_URL"
LOCATION = "credential_pipeline"
STATEMENT_MS = 120_000
CONFIGURATION = Path(__file__).parent.parent / "dagster.yaml"


@dataclass(frozen=True)
class Outcome:
    """What a run did. `failures` say what went wrong, in the words of the errors themselves."""

    day: date
    as_of: datetime
    counts: Counts
    reasons: Reasons
    reconciled: bool
    differences: tuple[str, ...]
    seconds: Mapping[str, float]
    site: str
    run_ids: Mapping[str, str]
    failures: tuple[str, ...]

    @property
    def succeeded(self) -> bool:
        """Everything ran, nothing was set aside, and the sums hold."""
        return self.reconciled and not self.failures and not self.reasons.breaches


@contextmanager
def open_instance(settings: Settings, url: str) -> Iterator[DagsterInstance]:
    """Dagster's instance of a home, on our database, configured by the dagster.yaml at the root."""
    os.environ[DAGSTER_URL] = dagster_url(url)
    home = (settings.home / "dagster").resolve()
    home.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(CONFIGURATION, home / "dagster.yaml")
    os.environ["DAGSTER_HOME"] = str(home)
    with DagsterInstance.from_config(str(home)) as instance:
        # Dagster opens a connection for every event unless it is told to pool them: 1,000 of 5 ms in a small run.
        instance.optimize_for_webserver(statement_timeout=STATEMENT_MS, pool_recycle=3600, max_overflow=20)
        try:
            yield instance
        finally:
            _close_pools(instance)


def _close_pools(instance: DagsterInstance) -> None:
    """Dagster's dispose() leaves the pools open, and the embedded server counts who is connected."""
    for storage in (instance.run_storage, instance.event_log_storage, instance.schedule_storage):
        pooled = getattr(storage, "_storage", storage)
        if (engine := getattr(pooled, "_engine", None)) is not None:
            engine.dispose()


def run_batch(
    settings: Settings, *, day: date | None, as_of: datetime | None, data: Path | None, tell: Callable[[str], None]
) -> Outcome:
    """Run a day's batch and the publication after it, and count what the day's scope came to.

    Args:
        settings: the institution and its home.
        day: the day of arrival; today when None.
        as_of: the instant to date credentials with; now when None.
        data: a data directory instead of the institution's.
        tell: called with a line of progress now and then.

    Raises:
        Terminal: the day has no partition, or something of the configuration is wrong.
    """
    tell("start     database, schema, Dagster instance")
    url = prepare_database(settings)
    definitions = build_definitions(settings)
    with open_runtime(settings, data=data, as_of=as_of) as runtime, open_instance(settings, url) as instance:
        wanted = _known_day(runtime, day)
        config = {
            "resources": {
                "runtime": {"config": {"data": str(runtime.data.resolve()), "as_of": runtime.as_of.isoformat()}}
            }
        }
        _fail_dead_runs(runtime.engine, instance)
        batch = _execute(runtime.engine, instance, definitions, DAILY_BATCH, config, tell, partition_key=str(wanted))
        tail = _execute(runtime.engine, instance, definitions, PUBLICATION, config, tell)
        found = reconcile(
            runtime.engine,
            wanted,
            read_object=runtime.store.get,
            target=runtime.institution.targets.site,
            evidence=[dataset.name for dataset in runtime.institution.datasets_of("evidence")],
        )
        return Outcome(
            day=wanted,
            as_of=runtime.as_of,
            counts=count_scope(
                runtime.engine, runtime.institution, wanted, [batch.run_id], runtime.institution.targets.site
            ),
            reasons=reasons_of_scope(runtime.engine, runtime.institution, wanted),
            reconciled=found.balanced,
            differences=tuple(str(difference) for difference in found.differences),
            seconds=_seconds(definitions, instance, [batch.run_id, tail.run_id]),
            site=runtime.site,
            run_ids={DAILY_BATCH: batch.run_id, PUBLICATION: tail.run_id},
            failures=(*_failures(batch), *_failures(tail)),
        )


def _known_day(runtime: Runtime, day: date | None) -> date:
    wanted = day or runtime.today
    if not runtime.institution.history_from <= wanted <= runtime.today:
        raise Terminal(
            f"no day {wanted}: days run from history_from ({runtime.institution.history_from}, in institution.yaml) "
            f"to today ({runtime.today}); a day is when rows arrive, not when something was earned"
        )
    return wanted


def _execute(
    engine: Engine,
    instance: DagsterInstance,
    definitions: Definitions,
    name: str,
    config: Mapping[str, Any],
    tell: Callable[[str], None],
    *,
    partition_key: str | None = None,
) -> ExecuteInProcessResult:
    run_id = make_new_run_id()
    groups = stage_of_steps(definitions)

    def on_event(entry: EventLogEntry) -> None:
        event = entry.dagster_event
        if event is not None and event.event_type == DagsterEventType.STEP_START and event.step_key:
            tell(f"{groups.get(event.step_key, ''):<9} {event.step_key}")

    with _alive(engine, run_id):
        # Not watch_event_logs: that one reads the database from a thread, late, and loses the end of a quick run.
        instance.add_event_listener(run_id, on_event)
        return definitions.resolve_job_def(name).execute_in_process(
            instance=instance,
            run_id=run_id,
            partition_key=partition_key,
            run_config={**config, "loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            # The tag lists the run under its job in the UI, as if the code location had launched it.
            tags={".dagster/repository": f"__repository__@{LOCATION}", IN_PROCESS: "true", MAX_RETRIES_TAG: "0"},
            raise_on_error=False,
        )


@contextmanager
def _alive(engine: Engine, run_id: str) -> Iterator[None]:
    """Hold a lock named after the run: it ends with this process, whatever ends that."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("select pg_advisory_lock(:key)"), {"key": lock_number(f"run {run_id}")})
        yield
        connection.execute(text("select pg_advisory_unlock(:key)"), {"key": lock_number(f"run {run_id}")})


def _fail_dead_runs(engine: Engine, instance: DagsterInstance) -> None:
    """Fail the in-process runs that nobody executes any more, and free the pool slots they held."""
    unfinished = instance.get_runs(
        RunsFilter(tags={IN_PROCESS: "true"}, statuses=[DagsterRunStatus.STARTED, DagsterRunStatus.STARTING])
    )
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for run in unfinished:
            key = {"key": lock_number(f"run {run.run_id}")}
            if not connection.scalar(text("select pg_try_advisory_lock(:key)"), key):
                continue
            instance.report_run_failed(run, "the process that executed this run is gone; the next run took over")
            instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
            connection.execute(text("select pg_advisory_unlock(:key)"), key)


def stage_of_steps(definitions: Definitions) -> dict[str, str]:
    """The stage of every step, by the step's key."""
    stages: dict[str, str] = {}
    for assets in definitions.assets or ():
        for spec in getattr(assets, "specs", ()):
            stages[assets.node_def.name] = spec.group_name or ""  # type: ignore[union-attr]  # ours have a node
    return stages


def _seconds(definitions: Definitions, instance: DagsterInstance, run_ids: list[str]) -> dict[str, float]:
    stages = stage_of_steps(definitions)
    seconds: dict[str, float] = {}
    for run_id in run_ids:
        for step in instance.get_run_step_stats(run_id):
            if step.start_time and step.end_time:
                stage = stages.get(step.step_key, step.step_key)
                seconds[stage] = round(seconds.get(stage, 0.0) + step.end_time - step.start_time, 2)
    return seconds


def _failures(result: ExecuteInProcessResult) -> tuple[str, ...]:
    found = []
    for event in result.get_step_failure_events():
        data = event.step_failure_data
        said = data.user_failure_data.description if data.user_failure_data else None
        found.append(f"{event.step_key}: {said or _root_cause(data.error)}")
    if not result.success and not found:
        found.append(f"{result.job_def.name}: stopped by a blocking check")
    return tuple(found)


def _root_cause(error: SerializableErrorInfo | None) -> str:
    while error is not None and error.cause is not None:
        error = error.cause
    return error.message.strip().split("\n")[0] if error else "failed; the run's log in the Dagster UI says why"


class _TellHandler(logging.Handler):
    def __init__(self, tell: Callable[[str], None]) -> None:
        super().__init__(logging.INFO)
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        self._tell(f"            {record.getMessage()}")


@contextmanager
def telling(tell: Callable[[str], None]) -> Iterator[None]:
    """Tell the stages' own progress lines while the block runs."""
    logger, handler = logging.getLogger("credential_pipeline"), _TellHandler(tell)
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)

"""WHEN the flow runs: jobs, schedules and sensors. Nothing of what it does is here.

`daily_batch` is a day from extract to issue. `publication` is the tail (objects, metrics, reconciliation): not
partitioned, so that a bad day never holds it up, and started after every batch. `renewal_planning` looks ahead. A plan
that somebody approved is applied by the last step of today's batch alone.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from dagster import (
    AssetKey,
    AssetSelection,
    DagsterInstance,
    DagsterRun,
    DagsterRunStatus,
    DefaultScheduleStatus,
    DefaultSensorStatus,
    MultiPartitionKey,
    RunRequest,
    RunsFilter,
    RunStatusSensorContext,
    ScheduleDefinition,
    ScheduleEvaluationContext,
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
    define_asset_job,
    run_status_sensor,
    schedule,
    sensor,
)
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from credential_pipeline.extract.files import offered_files
from credential_pipeline.institution import Institution
from credential_pipeline.institution.calendar import day_of
from credential_pipeline.issue.waiting import WaitingPlan, waiting_plans
from credential_pipeline.partitions import SHARDS

DAILY_BATCH = "daily_batch"
PUBLICATION = "publication"
RENEWAL_PLANNING = "renewal_planning"

SETTLED_SECONDS = 5
"""A file changed less than this ago may still be being written; the next tick looks again."""

PUBLISH_AFTER_SECONDS = 10
"""How often finished batches are looked for: one indexed query. Dagster's 30 would be most of a small batch's way."""

APPLY_AFTER_SECONDS = 10
"""How often approvals are looked for; each look opens the database, which takes 60 ms."""

FileStamp = tuple[int, int]
"""Size in bytes and time of last change in nanoseconds."""


@dataclass(frozen=True)
class Decision:
    """Whether files ask for a batch: the run key to ask with (None: they do not), and the cursor to keep."""

    run_key: str | None
    cursor: str


def decide_files(cursor: str | None, seen: Mapping[str, FileStamp]) -> Decision:
    """A batch is due when the set of settled files, their sizes or times changed since the cursor.

    The run key names that very state: a state that failed is asked for again only once it has changed.
    """
    state = json.dumps(sorted((name, *stamp) for name, stamp in seen.items()), separators=(",", ":"))
    digest = hashlib.sha256(state.encode()).hexdigest()
    due = bool(seen) and digest != cursor
    return Decision(f"files:{digest}" if due else None, digest)


def decide_approved(waiting: Sequence[WaitingPlan]) -> tuple[str, ...]:
    """The run keys to ask with: one for each plan that may be applied now.

    A key names the plan and its newest signature: what was asked for is asked for again only after another signature,
    so that a plan whose run failed does not start one at every look.
    """
    return tuple(
        f"approved:{plan.plan_id}:{plan.approved_at.isoformat()}"
        for plan in waiting
        if plan.waits_for is None and plan.approved_at is not None
    )


def observe_files(institution: Institution, data: Path, now: datetime) -> dict[str, FileStamp] | None:
    """Stamps of the files that the institution's datasets would read today, by dataset and path.

    None while one of them is still being written: a batch reads all of them, so it waits for all of them.
    """
    if not data.is_dir():
        return {}
    today = day_of(now, institution.zone)
    seen: dict[str, FileStamp] = {}
    for dataset in institution.datasets:
        for path in offered_files(dataset, data, today):
            try:
                stat = path.stat()
            except FileNotFoundError:  # taken away since it was listed
                continue
            # A time far in the future is another machine's clock, and would never settle.
            if abs(now.timestamp() - stat.st_mtime) < SETTLED_SECONDS:
                return None
            seen[f"{dataset.name} {path.relative_to(data).as_posix()}"] = (stat.st_size, stat.st_mtime_ns)
    return seen


def jobs() -> dict[str, UnresolvedAssetJobDefinition]:
    """The jobs by name."""
    return {
        DAILY_BATCH: define_asset_job(
            DAILY_BATCH,
            selection=AssetSelection.groups("extract", "gate", "identify", "issue"),
            description="One day's batch: extract, gate, identify, issue. A backfill issues only what is missing.",
        ),
        PUBLICATION: define_asset_job(
            PUBLICATION,
            selection=AssetSelection.groups("publish", "report"),
            description="Publish what is recorded and not yet published, rebuild the metrics, reconcile.",
        ),
        RENEWAL_PLANNING: define_asset_job(
            RENEWAL_PLANNING,
            selection=AssetSelection.groups("renew"),
            description="What expires in a month, by shard of persons: reminded, planned, and renewed once approved.",
        ),
    }


def schedules(
    institution: Institution, all_jobs: Mapping[str, UnresolvedAssetJobDefinition]
) -> list[ScheduleDefinition]:
    """Nightly batch, hourly status refresh, monthly look at what expires; all in the institution's zone."""

    @schedule(
        name="nightly_batch",
        job=all_jobs[DAILY_BATCH],
        cron_schedule="30 1 * * *",
        execution_timezone=institution.time_zone,
        description="The batch of the day that has begun.",
    )
    def nightly_batch(context: ScheduleEvaluationContext) -> RunRequest:
        day = day_of(context.scheduled_execution_time, institution.zone).isoformat()
        return RunRequest(run_key=f"nightly:{day}", partition_key=day)

    @schedule(
        name="monthly_renewal_planning",
        job=all_jobs[RENEWAL_PLANNING],
        cron_schedule="0 4 1 * *",
        execution_timezone=institution.time_zone,
        description="The windows of this month and the two after it: reminded, planned, and renewed once approved.",
    )
    def monthly_renewal_planning(context: ScheduleEvaluationContext) -> list[RunRequest]:
        # A window opens up to 62 days ahead, in the middle of some month: each is asked for on three firsts.
        today = day_of(context.scheduled_execution_time, institution.zone)
        asked = []
        for ahead in range(3):
            year, month0 = divmod(today.year * 12 + today.month - 1 + ahead, 12)
            month = f"{year:04d}-{month0 + 1:02d}"
            asked += [
                RunRequest(
                    run_key=f"renewals:{today:%Y-%m}:{month}:{shard}",
                    partition_key=MultiPartitionKey({"month": month, "shard": shard}),
                )
                for shard in SHARDS
            ]
        return asked

    status_refresh = ScheduleDefinition(
        name="status_refresh",
        job=all_jobs[PUBLICATION],
        cron_schedule="10 * * * *",
        execution_timezone=institution.time_zone,
        default_status=DefaultScheduleStatus.STOPPED,
        description="Status lists and state objects are signed again before they run out.",
    )
    return [nightly_batch, status_refresh, monthly_renewal_planning]


def sensors(
    institution: Institution,
    data: Path,
    all_jobs: Mapping[str, UnresolvedAssetJobDefinition],
    *,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> list[SensorDefinition]:
    """New files ask for the day's batch, an approval for its last step; a finished batch asks for publication."""

    @sensor(
        name="new_files",
        job=all_jobs[DAILY_BATCH],
        minimum_interval_seconds=30,
        default_status=DefaultSensorStatus.STOPPED,
        description="Files of the data directory that are new or changed.",
    )
    def new_files(context: SensorEvaluationContext) -> SensorResult | SkipReason:
        now = clock()
        seen = observe_files(institution, data, now)
        if seen is None:
            return SkipReason("a file is still being written")
        decision = decide_files(context.cursor, seen)
        if decision.run_key is None:
            return SkipReason("no file is new or changed")
        day = day_of(now, institution.zone).isoformat()
        return SensorResult(
            run_requests=[RunRequest(run_key=decision.run_key, partition_key=day)], cursor=decision.cursor
        )

    @sensor(
        name="approved_plans",
        job=all_jobs[DAILY_BATCH],
        minimum_interval_seconds=APPLY_AFTER_SECONDS,
        default_status=DefaultSensorStatus.RUNNING,
        required_resource_keys={"runtime"},
        description="Plans that were approved by signature and are not applied: `credentials` of today applies them.",
    )
    def approved_plans(context: SensorEvaluationContext) -> list[RunRequest] | SkipReason:
        now = clock()
        run_keys = decide_approved(waiting_plans(context.resources.runtime.engine, institution, now))
        if not run_keys:
            return SkipReason("no plan is approved by signature and not applied")
        day = day_of(now, institution.zone).isoformat()
        return [
            RunRequest(run_key=key, partition_key=day, asset_selection=[AssetKey("credentials")]) for key in run_keys
        ]

    def after(name: str, status: DagsterRunStatus) -> SensorDefinition:
        @run_status_sensor(
            name=name,
            run_status=status,
            monitored_jobs=[all_jobs[DAILY_BATCH]],
            request_job=all_jobs[PUBLICATION],
            default_status=DefaultSensorStatus.RUNNING,
            minimum_interval_seconds=PUBLISH_AFTER_SECONDS,
            description="Publication after a batch; a batch that failed half-way may have issued something too.",
        )
        def publish_after(context: RunStatusSensorContext) -> RunRequest | SkipReason:
            if context.dagster_run.tags.get(IN_PROCESS):
                return SkipReason("the command line publishes in the same process")
            if _another_ended_since(context.instance, context.dagster_run, status):
                return SkipReason("a batch that ended later asks for the publication of both")
            return RunRequest(run_key=f"after:{context.dagster_run.run_id}")

        return publish_after

    return [
        new_files,
        approved_plans,
        after("publish_after_batch", DagsterRunStatus.SUCCESS),
        after("publish_after_failed_batch", DagsterRunStatus.FAILURE),
    ]


def _another_ended_since(instance: DagsterInstance, run: DagsterRun, status: DagsterRunStatus) -> bool:
    """Whether the daemon's newest batch of this status is another one: a backfill ends several between two looks.

    One publication sends all that is recorded, and a month of them would take as long as the month of batches.
    """
    newest = instance.get_run_records(
        RunsFilter(job_name=DAILY_BATCH, statuses=[status]), limit=NEWEST, order_by="end_time", ascending=False
    )
    ours = [record.dagster_run.run_id for record in newest if IN_PROCESS not in record.dagster_run.tags]
    return bool(ours) and ours[0] != run.run_id


NEWEST = 20
"""How many runs are looked through for the newest one that the command line did not execute."""

IN_PROCESS = "credential_pipeline/in_process"
"""Tag of runs that the command line executes itself, and publishes after."""

"""WHEN the flow runs: what files ask for, and what schedules and sensors request, evaluated by Dagster itself."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from dagster import (
    AssetKey,
    DagsterEvent,
    DagsterEventType,
    DagsterInstance,
    DagsterRun,
    Definitions,
    MultiPartitionKey,
    RunRequest,
    build_run_status_sensor_context,
    build_schedule_context,
    build_sensor_context,
)
from dagster._utils.schedules import schedule_execution_time_iterator

from credential_pipeline.automation import (
    DAILY_BATCH,
    IN_PROCESS,
    PUBLICATION,
    SETTLED_SECONDS,
    FileStamp,
    decide_approved,
    decide_files,
    jobs,
    observe_files,
    sensors,
)
from credential_pipeline.definitions import build_definitions
from credential_pipeline.institution import Institution
from credential_pipeline.institution.load import load_institution
from credential_pipeline.issue.approve import approve
from credential_pipeline.issue.waiting import WaitingPlan
from credential_pipeline.partitions import SHARDS, days, renewal_windows
from credential_pipeline.runtime import open_runtime
from credential_pipeline.settings import load_settings
from credential_pipeline_tests.e2e.college import write_college
from credential_pipeline_tests.issue.desk import AS_OF, Desk, institution, passed
from credential_pipeline_tests.issue.signers import RITA

NOON = datetime(2026, 3, 2, 17, tzinfo=UTC)
"""Noon of the college, in New York."""

FILES: dict[str, FileStamp] = {"lms.users users.csv": (100, 1_000), "lms.completions a.csv": (50, 2_000)}
KNOWN = decide_files(None, FILES).cursor


@pytest.mark.parametrize(
    ("cursor", "seen", "due"),
    [
        pytest.param(None, {}, False, id="nothing, at the first look"),
        pytest.param(None, FILES, True, id="files, at the first look"),
        pytest.param(KNOWN, FILES, False, id="the same files"),
        pytest.param(KNOWN, dict(reversed(FILES.items())), False, id="the same files in another order"),
        pytest.param(KNOWN, {**FILES, "lms.completions b.csv": (50, 2_000)}, True, id="a new file"),
        pytest.param(KNOWN, {**FILES, "lms.completions a.csv": (51, 2_000)}, True, id="another size"),
        pytest.param(KNOWN, {**FILES, "lms.completions a.csv": (50, 2_001)}, True, id="another time of change"),
        pytest.param(KNOWN, {"lms.users users.csv": (100, 1_000)}, True, id="a file taken away"),
        pytest.param(KNOWN, {}, False, id="all files taken away"),
    ],
)
def test_a_batch_is_due_when_the_settled_files_changed(
    cursor: str | None, seen: dict[str, FileStamp], due: bool
) -> None:
    assert (decide_files(cursor, seen).run_key is not None) is due


def test_a_state_that_was_asked_for_is_asked_for_again_only_after_a_change() -> None:
    asked = decide_files(None, FILES)
    assert decide_files(asked.cursor, FILES).run_key is None, "also when the run it asked for has failed"
    corrected = decide_files(asked.cursor, {**FILES, "lms.completions a.csv": (60, 3_000)})
    assert corrected.run_key not in (None, asked.run_key)


def test_the_run_key_names_the_state_of_the_files_and_nothing_else() -> None:
    assert decide_files(None, FILES).run_key == decide_files("another cursor", dict(reversed(FILES.items()))).run_key


@pytest.fixture
def college(tmp_path: Path) -> Institution:
    """A college that takes one file of completions a day."""
    write_college(tmp_path / "college", files="completions-{day}.csv")
    return load_institution(tmp_path / "college")


@pytest.fixture
def data(college: Institution, tmp_path: Path) -> Path:
    """Its data directory, with files that changed an hour before NOON."""
    data = tmp_path / "college" / "data"
    (data / "completions-2026-03-02.csv").write_text("user\n")
    for path in data.iterdir():
        change(path, NOON - timedelta(hours=1))
    return data


def change(path: Path, at: datetime) -> None:
    os.utime(path, (at.timestamp(), at.timestamp()))


def test_files_that_no_dataset_reads_are_not_seen(college: Institution, data: Path) -> None:
    (data / "notes.txt").write_text("written just now")
    seen = observe_files(college, data, NOON)
    assert seen is not None
    assert seen.keys() == {
        "lms.users users.csv",
        "lms.courses courses.csv",
        "lms.completions completions-2026-03-02.csv",
    }


def test_the_day_of_a_file_name_is_the_institutions_own(college: Institution, data: Path) -> None:
    midnight = datetime(2026, 3, 3, tzinfo=college.zone)
    for instant, seen_then in ((midnight - timedelta(seconds=1), True), (midnight, False)):
        seen = observe_files(college, data, instant)
        assert seen is not None
        assert ("lms.completions completions-2026-03-02.csv" in seen) is seen_then, instant


@pytest.mark.parametrize(
    ("age", "settled"),
    [
        (timedelta(seconds=SETTLED_SECONDS), True),
        (timedelta(seconds=SETTLED_SECONDS - 1), False),
        (timedelta(seconds=1 - SETTLED_SECONDS), False),  # the clock of a file server a little ahead
        (timedelta(days=-400), True),  # a clock that is wrong would hold everything up for good
    ],
)
def test_a_batch_waits_while_a_file_is_being_written(
    college: Institution, data: Path, age: timedelta, settled: bool
) -> None:
    change(data / "users.csv", NOON - age)
    assert (observe_files(college, data, NOON) is not None) is settled


def test_a_data_directory_that_does_not_exist_offers_nothing(college: Institution, tmp_path: Path) -> None:
    assert observe_files(college, tmp_path / "nowhere", NOON) == {}


@pytest.fixture(scope="module")
def instance() -> Iterator[DagsterInstance]:
    """A Dagster instance; evaluating a tick writes nothing into it."""
    with DagsterInstance.local_temp() as instance:
        yield instance


def new_files(
    college: Institution, data: Path, instance: DagsterInstance, now: datetime, cursor: str | None
) -> tuple[list[RunRequest], str | None, str | None]:
    """What a tick of the sensor `new_files` requests, its cursor and why it skipped."""
    all_jobs = jobs()
    sensor = next(s for s in sensors(college, data, all_jobs, clock=lambda: now) if s.name == "new_files")
    settings = load_settings(institution=data.parent, home=data.parent / "home", environ={})
    tick = sensor.evaluate_tick(
        build_sensor_context(instance, cursor, definitions=build_definitions(settings), sensor_name="new_files")
    )
    return list(tick.run_requests or []), tick.cursor, tick.skip_message


def test_new_files_ask_for_the_days_batch_once(college: Institution, data: Path, instance: DagsterInstance) -> None:
    [request], cursor, _ = new_files(college, data, instance, NOON, None)
    assert request.partition_key == "2026-03-02"
    assert request.run_key == f"files:{cursor}"
    assert new_files(college, data, instance, NOON, cursor) == ([], cursor, "no file is new or changed")


def test_a_file_being_written_is_waited_for_and_not_forgotten(
    college: Institution, data: Path, instance: DagsterInstance
) -> None:
    _, cursor, _ = new_files(college, data, instance, NOON, None)
    change(data / "users.csv", NOON)
    assert new_files(college, data, instance, NOON, cursor) == ([], cursor, "a file is still being written")
    [request], *_ = new_files(college, data, instance, NOON + timedelta(seconds=30), cursor)
    assert request.partition_key == "2026-03-02"


def test_new_files_arrive_on_the_institutions_own_day(
    college: Institution, data: Path, instance: DagsterInstance
) -> None:
    midnight = datetime(2026, 3, 9, tzinfo=college.zone)  # of the Monday after the clocks went forward
    for instant, day in ((midnight - timedelta(seconds=1), "2026-03-08"), (midnight, "2026-03-09")):
        [request], *_ = new_files(college, data, instance, instant.astimezone(UTC), None)
        assert request.partition_key == day


READY = WaitingPlan(UUID(int=1), "issue", "day:2026-03-02", "pipeline", 3, None, NOON)


def test_a_plan_is_asked_for_once_a_signature() -> None:
    unsigned = replace(READY, plan_id=UUID(int=2), waits_for="nobody has approved it", approved_at=None)
    other = replace(READY, plan_id=UUID(int=3))
    first = decide_approved([unsigned, READY])
    assert len(first) == 1
    assert first == decide_approved([READY]), "looked at again, also after its run has failed"
    assert set(decide_approved([READY, other])) > set(first), "another plan is asked for besides"
    assert decide_approved([replace(READY, waits_for="the approval by rita expired")]) == ()
    assert decide_approved([replace(READY, approved_at=NOON + timedelta(hours=1))]) != first, "signed again"


def test_an_approved_plan_asks_for_the_credentials_of_today(
    database_url: str, tmp_path: Path, instance: DagsterInstance
) -> None:
    """A real plan, approved by a real signature, looked at by the sensor through the runtime it gets in the daemon."""
    school = institution(people=[RITA.listed])
    settings = replace(
        load_settings(home=tmp_path / "home", environ={"CREDENTIAL_PIPELINE_DATABASE_URL": database_url}),
        institution=school,
    )
    definitions = build_definitions(settings)
    resource = definitions.get_repository_def().get_top_level_resources()["runtime"]
    sensor = next(s for s in sensors(school, tmp_path, jobs(), clock=lambda: NOON) if s.name == "approved_plans")
    with open_runtime(settings, as_of=AS_OF) as runtime:
        desk = Desk(runtime.engine, school, runtime.secrets)

        def tick() -> tuple[list[RunRequest], str | None]:
            with build_sensor_context(
                instance, definitions=definitions, sensor_name="approved_plans", resources={"runtime": resource}
            ) as context:
                found = sensor.evaluate_tick(context)
            return list(found.run_requests or []), found.skip_message

        desk.offer([passed("UA", "diploma"), passed("UB")])
        plan = desk.plan()
        assert plan.waiting is not None
        waiting, _ = plan.waiting
        assert tick() == ([], "no plan is approved by signature and not applied")
        digest = desk.value("select hash from ledger.plan where plan_id = :plan", plan=waiting)
        approve(runtime.engine, school, waiting, "rita", RITA.sign_plan(digest), NOON, "run")
        [request], _ = tick()
        assert request.partition_key == "2026-03-02"
        assert list(request.asset_selection or ()) == [AssetKey("credentials")]
        assert str(waiting) in (request.run_key or "")
        assert tick()[0] == [request]
        assert [job.name for job in sensor.jobs] == [DAILY_BATCH]
        desk.apply(waiting, now=NOON)
        assert tick()[0] == []


@pytest.fixture(scope="module")
def samples() -> dict[str, Definitions]:
    """Definitions of the sample university in several zones; history begins in 2024 in all of them."""
    settings = load_settings(environ={})
    zones = ("Europe/London", "America/New_York", "America/Santiago", "Pacific/Auckland")
    return {
        zone: build_definitions(
            replace(settings, institution=settings.institution.model_copy(update={"time_zone": zone}))
        )
        for zone in zones
    }


CHANGES = {
    "Europe/London": (date(2026, 3, 29), date(2026, 10, 25)),  # 01:30 does not exist, and exists twice
    "America/New_York": (date(2026, 3, 8), date(2026, 11, 1)),
    "America/Santiago": (date(2026, 9, 6), date(2026, 4, 4)),  # midnight itself does not exist
    "Pacific/Auckland": (date(2026, 9, 27), date(2026, 4, 5)),
}


@pytest.mark.parametrize("zone", CHANGES)
def test_the_nightly_batch_is_asked_for_once_a_day_also_when_the_clocks_change(
    samples: dict[str, Definitions], instance: DagsterInstance, zone: str
) -> None:
    definitions = samples[zone]
    schedule = definitions.resolve_schedule_def("nightly_batch")
    assert schedule.execution_timezone == zone
    for change_day in CHANGES[zone]:
        expected = [(change_day + timedelta(days=n)).isoformat() for n in (-1, 0, 1)]
        start = datetime.combine(change_day - timedelta(days=1), datetime.min.time(), ZoneInfo(zone))
        ticks = schedule_execution_time_iterator(start.timestamp(), str(schedule.cron_schedule), zone)
        asked = []
        for _ in expected:
            tick = schedule.evaluate_tick(
                build_schedule_context(instance, next(ticks), repository_def=definitions.get_repository_def())
            )
            [request] = tick.run_requests or []
            assert request.run_key == f"nightly:{request.partition_key}"
            asked.append(request.partition_key)
        assert asked == expected


@pytest.mark.parametrize("zone", CHANGES)
def test_every_day_is_a_partition_once_and_today_has_one(samples: dict[str, Definitions], zone: str) -> None:
    partitions = samples[zone].resolve_job_def(DAILY_BATCH).partitions_def
    assert partitions is not None
    start = datetime(2026, 12, 31, 23, 59, 59, tzinfo=ZoneInfo(zone))
    for now, today in ((start, date(2026, 12, 31)), (start + timedelta(seconds=1), date(2027, 1, 1))):
        keys = partitions.get_partition_keys(current_time=now)
        first = date(2024, 1, 1)
        assert keys == [(first + timedelta(days=n)).isoformat() for n in range((today - first).days + 1)]


def test_days_begin_where_the_institutions_history_does(college: Institution) -> None:
    keys = days(college).get_partition_keys(current_time=datetime(2026, 1, 2, 12, tzinfo=UTC))
    assert keys == ["2026-01-01", "2026-01-02"]


@pytest.mark.parametrize(
    ("today", "months"),
    [
        (date(2026, 10, 1), ("2026-10", "2026-11", "2026-12")),
        (date(2026, 11, 1), ("2026-11", "2026-12", "2027-01")),
        (date(2027, 1, 1), ("2027-01", "2027-02", "2027-03")),
    ],
)
def test_renewal_planning_asks_for_three_months_in_every_shard(
    samples: dict[str, Definitions],
    northfield: Institution,
    instance: DagsterInstance,
    today: date,
    months: tuple[str, ...],
) -> None:
    definitions = samples[northfield.time_zone]
    at = datetime.combine(today, datetime.min.time(), northfield.zone) + timedelta(hours=4)
    tick = definitions.resolve_schedule_def("monthly_renewal_planning").evaluate_tick(
        build_schedule_context(instance, at, repository_def=definitions.get_repository_def())
    )
    wanted = [MultiPartitionKey({"month": month, "shard": shard}) for month in months for shard in SHARDS]
    assert [request.partition_key for request in tick.run_requests or []] == wanted
    assert len({request.run_key for request in tick.run_requests or []}) == len(wanted)
    assert set(wanted) <= set(renewal_windows(northfield).get_partition_keys(current_time=at))


@pytest.mark.parametrize("name", ["publish_after_batch", "publish_after_failed_batch"])
@pytest.mark.parametrize("in_process", [False, True])
def test_publication_follows_a_batch_unless_the_command_line_publishes_itself(
    samples: dict[str, Definitions], northfield: Institution, instance: DagsterInstance, name: str, in_process: bool
) -> None:
    sensor = samples[northfield.time_zone].resolve_sensor_def(name)
    batch = DagsterRun(job_name=DAILY_BATCH, tags={IN_PROCESS: "true"} if in_process else {})
    context = build_run_status_sensor_context(
        sensor_name=name,
        dagster_event=DagsterEvent(DagsterEventType.RUN_SUCCESS.value, DAILY_BATCH),
        dagster_instance=instance,
        dagster_run=batch,
    )
    answer = sensor(context)
    asked = answer.run_key if isinstance(answer, RunRequest) else None
    assert asked == (None if in_process else f"after:{batch.run_id}")
    assert [job.name for job in sensor.jobs] == [PUBLICATION]


def ended(instance: DagsterInstance, kind: DagsterEventType, **tags: str) -> DagsterRun:
    """A batch that has just ended."""
    run = instance.add_run(DagsterRun(job_name=DAILY_BATCH, tags=tags))
    instance.report_dagster_event(DagsterEvent(kind.value, DAILY_BATCH), run.run_id)
    return run


@pytest.mark.parametrize(
    ("name", "kind", "other"),
    [
        ("publish_after_batch", DagsterEventType.RUN_SUCCESS, DagsterEventType.RUN_FAILURE),
        ("publish_after_failed_batch", DagsterEventType.RUN_FAILURE, DagsterEventType.RUN_SUCCESS),
    ],
)
def test_of_batches_that_ended_since_the_last_look_the_newest_asks_for_their_publication(
    samples: dict[str, Definitions], northfield: Institution, name: str, kind: DagsterEventType, other: DagsterEventType
) -> None:
    sensor = samples[northfield.time_zone].resolve_sensor_def(name)
    event = DagsterEvent(kind.value, DAILY_BATCH)
    with DagsterInstance.local_temp() as instance:
        runs = [ended(instance, kind) for _ in range(3)]
        ended(instance, other)  # its own sensor asks after it, if that one is on
        ended(instance, kind, **{IN_PROCESS: "true"})  # whoever executes it may die before it publishes
        answers = [
            sensor(
                build_run_status_sensor_context(
                    sensor_name=name, dagster_event=event, dagster_instance=instance, dagster_run=run
                )
            )
            for run in runs
        ]
    assert [isinstance(answer, RunRequest) for answer in answers] == [False, False, True]

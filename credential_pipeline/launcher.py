"""Runs that the daemon starts, in processes that have their libraries already.

Belongs here: starting, watching and ending the process of one run. Does not belong here: anything a run does.

A new interpreter spends 5 s of CPU on importing Dagster, pandas and Great Expectations before a day's batch does 1 s of
work, and a backfill of a month pays that 30 times. Here one idle process imports them once, and each run is a fork of
it. It has nothing of ours: a run reads the code and the institution as they are when it starts.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING

from dagster import DagsterInstance, DagsterRun, DefaultRunLauncher
from dagster._core.launcher.base import CheckRunHealthResult, LaunchRunContext, WorkerStatus
from dagster._core.remote_origin import ManagedGrpcPythonEnvCodeLocationOrigin
from dagster._serdes import ConfigurableClassData
from dagster._utils.interrupts import capture_interrupts

if TYPE_CHECKING:
    from dagster._core.instance import InstanceRef

LIBRARIES = (
    "dagster",
    "dagster._cli.api",
    "dagster_postgres",
    "great_expectations",
    "pandas",
    "pandas.io.pytables",
    "pyarrow.compute",
    "sqlalchemy.dialects.postgresql",
    "alembic.command",
    "psycopg",
    "pydantic",
    "ruamel.yaml",
    "pyld",
    "sqlglot",
    "jinja2",
)
"""What takes long to import. Nothing that starts a thread when it is imported, because those do not survive a fork."""

WORKER = "credential_pipeline/worker"
"""Tag of a run: number and start (in clock ticks since boot) of its process, which together name it for good."""

END_SECONDS = 10
STATEMENT_MS = 120_000


class WarmRunLauncher(DefaultRunLauncher):
    """Forks runs of a code location that Dagster itself started from this machine's code; Linux only.

    Anything else, such as a code server deployed apart, is Dagster's default launcher's.
    """

    def __init__(self, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(inst_data)
        self._lock = threading.Lock()
        self._workers: list[BaseProcess] = []

    def launch_run(self, context: LaunchRunContext) -> None:
        """Start a run's process; returns at once."""
        run = context.dagster_run
        origin = run.remote_job_origin and run.remote_job_origin.repository_origin.code_location_origin
        if sys.platform != "linux" or not isinstance(origin, ManagedGrpcPythonEnvCodeLocationOrigin):
            super().launch_run(context)
            return
        forks = multiprocessing.get_context("forkserver")
        forks.set_forkserver_preload(list(LIBRARIES))
        worker = forks.Process(target=execute, args=(run.run_id, self._instance.get_ref()), name=f"run {run.run_id}")
        with self._lock:
            worker.start()
            self._workers = [other for other in self._workers if other.is_alive()] + [worker]
        self._instance.add_run_tags(run.run_id, {WORKER: f"{worker.pid} {_started(worker.pid)}"})

    def terminate(self, run_id: str) -> bool:
        """Interrupt a run, from any process of this machine; False when there is nothing to interrupt."""
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished or WORKER not in run.tags:
            return bool(super().terminate(run_id))  # type: ignore[no-untyped-call]  # Dagster's own has no annotations
        self._instance.report_run_canceling(run)
        if not _lives(run):
            self._instance.report_engine_event("The process of this run is gone.", run, cls=type(self))
            return False
        os.kill(int(run.tags[WORKER].split()[0]), signal.SIGTERM)
        return True

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Dagster's monitoring asks us whether the process of a run is still there."""
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Of our own runs whether their process lives; runs of the command line and of code servers are not ours."""
        if WORKER not in run.tags or _lives(run):
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(WorkerStatus.FAILED, "its process is gone without having said how it ended")

    def dispose(self) -> None:
        """Interrupt what still runs: it says so in its own log, which a killed one could not."""
        with self._lock:
            left = [worker for worker in self._workers if worker.is_alive()]
            self._workers = []
        for worker in left:
            worker.terminate()
        for worker in left:
            worker.join(END_SECONDS)
            worker.kill()
        super().dispose()


def _lives(run: DagsterRun) -> bool:
    number, started = run.tags[WORKER].split()
    return _started(int(number)) == started


def _started(number: int | None) -> str | None:
    """When a process started, in ticks since boot (proc(5), field 22 of stat); None when there is none."""
    try:
        stat = Path(f"/proc/{number}/stat").read_text()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()  # the name may hold anything
    return None if fields[0] == "Z" else fields[19]


def execute(run_id: str, instance_ref: InstanceRef) -> None:
    """Execute a launched run in this process, as `dagster api execute_run` does; exit code 1 when it failed."""
    from dagster._cli.api import _execute_run_command_body

    with capture_interrupts(), DagsterInstance.from_ref(instance_ref) as instance:
        # Dagster opens a connection for every event unless it is told to pool them.
        instance.optimize_for_webserver(statement_timeout=STATEMENT_MS, pool_recycle=3600, max_overflow=20)
        code = _execute_run_command_body(run_id, instance, lambda _: None, set_exit_code_on_failure=True)
    sys.exit(code)

"""Processes of runs: told from anybody else's, watched, interrupted. test_dev.py forks real ones."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from dagster import DagsterInstance, DagsterRun, DagsterRunStatus
from dagster._core.launcher.base import WorkerStatus

from credential_pipeline.launcher import LIBRARIES, WORKER, WarmRunLauncher, _started


@pytest.fixture
def instance() -> Iterator[DagsterInstance]:
    """A Dagster instance that launches runs as `credential-pipeline dev` does."""
    launcher = {"module": "credential_pipeline.launcher", "class": "WarmRunLauncher"}
    with DagsterInstance.local_temp(overrides={"run_launcher": launcher}) as instance:
        yield instance


@contextmanager
def process() -> Iterator[subprocess.Popen[bytes]]:
    """A process that waits for a signal; its input is closed when the block ends, and so does it."""
    with subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as started:
        yield started


def started_run(instance: DagsterInstance, worker: str | None) -> DagsterRun:
    tags = {WORKER: worker} if worker else {}
    run = DagsterRun(job_name="daily_batch", status=DagsterRunStatus.STARTED, tags=tags)
    return instance.add_run(run)


def test_a_process_is_named_by_its_number_and_its_start() -> None:
    own = _started(os.getpid())
    assert own is not None
    assert own == _started(os.getpid())
    with process() as other:
        assert _started(other.pid) not in (None, own)
    assert _started(other.pid) is None
    assert _started(None) is None


def test_a_process_that_ended_and_was_not_waited_for_does_not_live() -> None:
    with process() as child:
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # ended, and still in the table
        assert _started(child.pid) is None


def test_only_a_run_of_ours_whose_process_is_gone_is_failed(instance: DagsterInstance) -> None:
    launcher = instance.run_launcher
    alive = f"{os.getpid()} {_started(os.getpid())}"
    someone_else = f"{os.getpid()} 1"  # the number was given out again
    for worker, status in (
        (alive, WorkerStatus.RUNNING),
        (None, WorkerStatus.RUNNING),
        (someone_else, WorkerStatus.FAILED),
    ):
        assert launcher.check_run_worker_health(started_run(instance, worker)).status == status


def test_terminating_a_run_interrupts_its_process(instance: DagsterInstance) -> None:
    assert isinstance(instance.run_launcher, WarmRunLauncher)
    with process() as worker:
        run = started_run(instance, f"{worker.pid} {_started(worker.pid)}")
        assert instance.run_launcher.terminate(run.run_id)
        assert worker.wait(30) == -signal.SIGTERM
    canceling = instance.get_run_by_id(run.run_id)
    assert canceling is not None
    assert canceling.status == DagsterRunStatus.CANCELING


def test_terminating_a_run_whose_process_is_gone_hits_nobody(instance: DagsterInstance) -> None:
    with process() as bystander:
        run = started_run(instance, f"{bystander.pid} 1")
        assert not instance.run_launcher.terminate(run.run_id)
        assert bystander.poll() is None


@pytest.mark.parametrize("name", LIBRARIES)
def test_every_library_that_is_imported_beforehand_exists_and_is_not_ours(name: str) -> None:
    # The idle process passes over what it cannot import: a misspelt name would only be slow.
    assert importlib.util.find_spec(name) is not None
    assert not name.startswith("credential_pipeline")

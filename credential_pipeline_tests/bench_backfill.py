"""A year of renewals as a Dagster backfill: launched over GraphQL, run by a real daemon, killed on the way if wanted.

Belongs here: the processes, the waiting and the killing. Does not belong here: the rows (bench_school.py), what happens
inside a run (bench_location.py), and the options (bench_renewals.py).
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dagster import DagsterInstance
from dagster._core.execution.backfill import BulkActionStatus
from sqlalchemy import text

from credential_pipeline.dev import _end, _environment, _start
from credential_pipeline.renew.due import SHARDS
from credential_pipeline.run import open_instance
from credential_pipeline.runtime import open_runtime, prepare_database
from credential_pipeline.settings import Settings
from credential_pipeline_tests.bench_location import CHUNKS, WITHOUT_SIGNING
from credential_pipeline_tests.bench_memory import Peak
from credential_pipeline_tests.bench_school import School

LOCATION = "credential_pipeline_tests.bench_location"
ASSETS = ("expiring_credentials", "renewal_plans", "renewed_credentials")
LAUNCH = """
mutation Launch($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on PythonError { message }
  }
}
"""
AT_WORK = {BulkActionStatus.REQUESTED, BulkActionStatus.CANCELING, BulkActionStatus.FAILING}
READY_SECONDS = 300
POLL_SECONDS = 0.25


def renew_by_backfill(settings: Settings, school: School, *, kill: int, without_signing: bool) -> dict[str, Any]:
    """Renew all of the school's credentials; what it took."""
    workspace, chunks = settings.home / "workspace.yaml", settings.home / "chunks"
    workspace.write_text(f"load_from:\n  - python_module: {{module_name: {LOCATION}, location_name: bench}}\n")
    chunks.touch()
    environ = _environment(settings) | {CHUNKS: str(chunks), WITHOUT_SIGNING: "1" if without_signing else ""}
    with open_instance(settings, prepare_database(settings)) as instance, Peak() as peak:
        environ |= {name: os.environ[name] for name in ("DAGSTER_HOME", "CREDENTIAL_PIPELINE_DAGSTER_URL")}
        with daemon(instance, workspace, environ):
            asked = time.monotonic()
            backfill = launch(workspace, environ, school)
            launched = time.monotonic()
            killed = watch(instance, backfill, chunks, school.people, kill)
            ended = time.monotonic()
        runs = instance.get_runs()
    told = recorded(chunks)
    with open_runtime(settings) as runtime, runtime.engine.connect() as connection:
        renewed = connection.scalar(text("select count(*) from ledger.credential where starts_with(cause, 'renewal:')"))
    if renewed != school.people:
        raise SystemExit(
            f"{renewed} of {school.people} were renewed; the runs: {Counter(r.status.value for r in runs)}"
        )
    return {
        "people": school.people,
        "seconds": round(ended - launched, 1),
        # GraphQL's command loads the code location first; a webserver has it loaded.
        "launch_seconds": round(launched - asked, 1),
        **({"own_share_seconds": round(ended - launched, 1)} if without_signing else {}),
        "peak_rss_mb": round(peak.mib),
        "largest_process_mb": round(peak.largest),
        "runs": len(runs),
        "killed": killed,
        "redone_chunks": sum(times - 1 for times in told.values()),
    }


@contextmanager
def daemon(instance: DagsterInstance, workspace: Path, environ: Mapping[str, str]) -> Iterator[None]:
    """A Dagster daemon that is ready when the block begins, and gone with all it started when it ends."""
    process = _start(["dagster-daemon", "run", "-w", str(workspace)], environ)
    try:
        deadline = time.monotonic() + READY_SECONDS
        while not all(status.healthy for status in instance.get_daemon_statuses().values()):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"the daemon is not ready: {instance.get_daemon_statuses()}")
            time.sleep(POLL_SECONDS)
        yield
    finally:
        _end({"daemon": process})


def launch(workspace: Path, environ: Mapping[str, str], school: School) -> str:
    """Ask for all windows over GraphQL; the backfill's id."""
    params = {
        "assetSelection": [{"path": [asset]} for asset in ASSETS],
        "partitionNames": [f"{month:%Y-%m}|{shard}" for month in school.months for shard in range(SHARDS)],
    }
    program = Path(sys.executable).parent / "dagster-graphql"
    asked = subprocess.run(
        [str(program), "-w", str(workspace), "-t", LAUNCH, "-v", json.dumps({"params": params})],
        env=dict(environ), capture_output=True, text=True, check=False,
    )  # fmt: skip
    found = re.search(r'"backfillId": ?"(\w+)"', asked.stdout)
    if found is None:
        raise SystemExit(f"the backfill was not launched: {asked.stdout}\n{asked.stderr}")
    return found[1]


def watch(instance: DagsterInstance, backfill: str, chunks: Path, people: int, kill: int) -> int:
    """Until it ends; kills `kill` times who records chunks, evenly over the way. How many were killed."""
    killed, said = 0, 0
    while True:
        found = instance.get_backfill(backfill)
        if found is None or found.status not in AT_WORK:
            return killed
        lines = chunks.read_text().splitlines()
        done = sum(int(line.split()[3]) for line in lines)
        if killed < kill and done >= people * (killed + 1) / (kill + 1):
            os.kill(int(lines[-1].split()[0]), signal.SIGKILL)
            killed += 1
            print(f"  killed the run that had recorded the last of {done:,}", flush=True)
        if done >= said + people / 20:
            said = done
            print(f"  {done:,} recorded", flush=True)
        time.sleep(POLL_SECONDS)


def recorded(chunks: Path) -> Counter[tuple[str, str]]:
    """How often each chunk was recorded, or nearly: (plan, first ordinal) -> times."""
    return Counter((plan, first) for _, plan, first, _ in map(str.split, chunks.read_text().splitlines()))

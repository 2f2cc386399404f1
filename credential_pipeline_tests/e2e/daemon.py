"""The servers of `credential-pipeline dev` as real processes, driven as the UI drives them: by GraphQL.

Belongs here: starting and ending them, asking, waiting for what was asked. What is asked of them is in the tests.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from sqlalchemy import text

from credential_pipeline.store.postgres import open_engine

ENDED = {"SUCCESS", "FAILURE", "CANCELED"}

GRAPH = "{ assetNodes { assetKey { path } groupName dependencyKeys { path } } }"
LAUNCH = """
mutation ($day: String!) {
  launchRun(executionParams: {
    selector: {repositoryLocationName: "credential_pipeline", repositoryName: "__repository__", jobName: "daily_batch"},
    mode: "default", runConfigData: {}, executionMetadata: {tags: [{key: "dagster/partition", value: $day}]}
  }) { __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } }
}
"""
BACKFILL = """
mutation ($days: [String!]!) {
  launchPartitionBackfill(backfillParams: {
    selector: {partitionSetName: "daily_batch_partition_set", repositorySelector:
      {repositoryLocationName: "credential_pipeline", repositoryName: "__repository__"}},
    partitionNames: $days
  }) { __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } }
}
"""
DAYS = """
query ($backfill: String!) {
  partitionBackfillOrError(backfillId: $backfill) { ... on PartitionBackfill {
    partitionStatuses { results { partitionName runId runStatus } } } ... on PythonError { message } }
}
"""
STATUSES = "query ($filter: RunsFilter!) { runsOrError(filter: $filter) { ... on Runs { results { status } } } }"
RUNS = """
query ($filter: RunsFilter!) {
  runsOrError(filter: $filter) { ... on Runs { results {
    runId status jobName tags { key value }
    assetMaterializations { assetKey { path } partition metadataEntries {
      label ... on IntMetadataEntry { intValue } ... on BoolMetadataEntry { boolValue }
      ... on FloatMetadataEntry { floatValue } ... on TextMetadataEntry { text } } }
    eventConnection { events { ... on AssetCheckEvaluationEvent { evaluation {
      checkName success assetKey { path } metadataEntries { label ... on TextMetadataEntry { text } } } } } }
  } } ... on PythonError { message } }
}
"""


@dataclass(frozen=True)
class Run:
    """A Dagster run as GraphQL tells it: counts by asset and name, checks by asset and name."""

    run_id: str
    job: str
    status: str
    tags: dict[str, str]
    metadata: dict[tuple[str, str], Any]
    partitions: set[str | None]
    assets: set[str]
    checks: dict[tuple[str, str], bool]


@dataclass(frozen=True)
class Ended:
    """How the command ended, what it said, which processes it had and which of them outlived it."""

    code: int
    stdout: str
    stderr: str
    processes: list[psutil.Process]
    survivors: list[psutil.Process]


class Dev:
    """The running command and what can be asked of it."""

    def __init__(self, home: Path, college: Path, database_url: str) -> None:
        environ = {k: v for k, v in os.environ.items() if not k.startswith(("CREDENTIAL_PIPELINE_", "DAGSTER_"))}
        ports = [option for name in ("--port", "--site-port") for option in (name, str(free_port()))]
        places = ["--home", str(home), "--institution", str(college)]
        command = [sys.executable, "-m", "credential_pipeline", "dev", "--json", *places, *ports]
        self.process = subprocess.Popen(
            # As a script starts it with `&`: with the interrupt ignored, which the children must not inherit.
            ["/bin/sh", "-c", "trap '' INT; exec \"$@\"", "sh", *command],
            env={**environ, "CREDENTIAL_PIPELINE_DATABASE_URL": database_url},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.told: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.engine = open_engine(database_url)
        self.ui = self.site = ""

    def _read(self) -> None:
        assert self.process.stderr is not None
        self.told.extend(self.process.stderr)

    def wait_for(self, what: str, found: Callable[[], Any], seconds: float = 240) -> Any:
        """What `found` returns once it is true; a process that ended or took too long fails with what it said."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if result := found():
                return result
            if self.process.poll() is not None:
                break
            time.sleep(0.5)
        pytest.fail(f"waited for {what}; it said:\n{''.join(self.told[-60:])}")

    def wait_until_it_serves(self) -> None:
        self.ui = self.wait_for("the UI's address", lambda: self._address("Dagster UI"))
        self.site = self.wait_for("the site's address", lambda: self._address("Published site"))

    def _address(self, label: str) -> str | None:
        return next((line.split()[-1] for line in list(self.told) if line.startswith(label)), None)

    def ask(self, query: str, **variables: Any) -> Any:
        answer = httpx.post(f"{self.ui}/graphql", json={"query": query, "variables": variables}, timeout=60).json()
        assert "errors" not in answer, answer["errors"]
        [value] = answer["data"].values()
        return value

    def backfill(self, days: Sequence[str]) -> dict[str, str]:
        """Launch a backfill of days and wait for its runs: the status of each day, as the UI shows it."""
        asked = self.ask(BACKFILL, days=days)
        assert asked["__typename"] == "LaunchBackfillSuccess", asked
        tags = [{"key": "dagster/backfill", "value": asked["backfillId"]}]
        for number in range(1, len(days) + 1):  # one by one: patience is for what stands still, not for what is slow
            self.wait_for(f"{number} ended runs of {len(days)}", lambda number=number: self._ended(tags) >= number)
        found = self.ask(DAYS, backfill=asked["backfillId"])["partitionStatuses"]["results"]
        return {day["partitionName"]: day["runStatus"] for day in found}

    def _ended(self, tags: list[dict[str, str]]) -> int:
        return sum(run["status"] in ENDED for run in self.ask(STATUSES, filter={"tags": tags})["results"])

    def ended_runs(self, count: int, **wanted: Any) -> list[Run]:
        """The runs that fit the filter, once there are `count` and all are at an end."""

        def all_ended() -> bool:
            found = [run["status"] for run in self.ask(STATUSES, filter=wanted)["results"]]
            return len(found) == count and set(found) <= ENDED

        self.wait_for(f"{count} ended runs of {wanted}", all_ended)
        return self.runs(**wanted)

    def runs(self, **wanted: Any) -> list[Run]:
        """The runs that fit the filter, the newest first."""
        return [as_run(raw) for raw in self.ask(RUNS, filter=wanted)["results"]]

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(sql))]

    def interrupt(self) -> Ended:
        """One Ctrl-C, and what was left of the processes afterwards."""
        processes = [psutil.Process(self.process.pid), *psutil.Process(self.process.pid).children(True)]
        self.process.send_signal(signal.SIGINT)
        assert self.process.stdout is not None
        stdout = self.process.stdout.read()
        code = self.process.wait(30)
        _, survivors = psutil.wait_procs(processes, timeout=5)
        self._reader.join(10)
        return Ended(code, stdout, "".join(self.told), processes, survivors)

    def close(self) -> None:
        """After a failed session: end the command, and its children if it cannot."""
        self.engine.dispose()
        if self.process.poll() is None:
            children = psutil.Process(self.process.pid).children(True)
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            for child in children:
                if child.is_running():
                    child.kill()
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()


def as_run(raw: dict[str, Any]) -> Run:
    entries = {}
    for made in raw["assetMaterializations"]:
        for entry in made["metadataEntries"]:
            value = next((v for k, v in entry.items() if k != "label"), None)
            entries[name_of(made["assetKey"]), entry["label"]] = value
    evaluations = [event["evaluation"] for event in raw["eventConnection"]["events"] if "evaluation" in event]
    return Run(
        run_id=raw["runId"],
        job=raw["jobName"],
        status=raw["status"],
        tags={tag["key"]: tag["value"] for tag in raw["tags"]},
        metadata=entries,
        assets={name_of(made["assetKey"]) for made in raw["assetMaterializations"]},
        partitions={made["partition"] for made in raw["assetMaterializations"]},
        checks={(name_of(found["assetKey"]), found["checkName"]): found["success"] for found in evaluations},
    )


def name_of(key: dict[str, list[str]]) -> str:
    return "/".join(key["path"])


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

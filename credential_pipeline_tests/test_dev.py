"""`credential-pipeline dev` as its users have it: one session of real processes, driven over GraphQL and HTTP.

The session is played once (a minute: two code servers, daemon ticks of up to 30 seconds); each test reads a part of
its record, so that they run in any order.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from sqlalchemy import text

from credential_pipeline.store.postgres import open_engine
from credential_pipeline_tests.conftest import ROLE, SERVER, _administrator
from credential_pipeline_tests.e2e.college import GOOD, HEADER, write_college

pytestmark = pytest.mark.timeout(600)  # mostly waiting: three processes start, and the daemon looks every 30 seconds

FIRST, SECOND = "2026-03-01", "2026-03-02"
STAGES = ("extract", "gate", "identify", "issue", "publish", "renew", "report")
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
    checks: dict[tuple[str, str], bool]


@dataclass
class Session:
    """The record of one session, from the first line that was printed to the last process that ended."""

    graph: list[dict[str, Any]] = field(default_factory=list)
    batch: Run | None = None
    publication: Run | None = None
    backfill: dict[str, Run] = field(default_factory=dict)
    issued: dict[str, int] = field(default_factory=dict)
    responses: dict[str, httpx.Response] = field(default_factory=dict)
    processes: list[psutil.Process] = field(default_factory=list)
    survivors: list[psutil.Process] = field(default_factory=list)
    code: int | None = None
    stdout: str = ""
    stderr: str = ""


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

    def ended_runs(self, count: int, **wanted: Any) -> list[Run]:
        """The runs that fit the filter, once there are `count` and all are at an end."""

        def ended() -> bool:
            found = [run["status"] for run in self.ask(STATUSES, filter=wanted)["results"]]
            return len(found) == count and set(found) <= ENDED

        self.wait_for(f"{count} ended runs of {wanted}", ended)
        return [as_run(raw) for raw in self.ask(RUNS, filter=wanted)["results"]]

    def issued(self) -> dict[str, int]:
        """Credentials recorded, by the run that did it."""
        with self.engine.connect() as connection:
            rows = connection.execute(text("select run_id, count(*) from ledger.credential group by run_id"))
            return {str(run): int(count) for run, count in rows}

    def public_ids(self) -> list[str]:
        with self.engine.connect() as connection:
            return list(connection.scalars(text("select public_id from ledger.credential order by public_id")))

    def interrupt(self, session: Session) -> None:
        """One Ctrl-C, and what was left of the processes afterwards."""
        session.processes = [psutil.Process(self.process.pid), *psutil.Process(self.process.pid).children(True)]
        self.process.send_signal(signal.SIGINT)
        assert self.process.stdout is not None
        session.stdout = self.process.stdout.read()
        session.code = self.process.wait(30)
        _, session.survivors = psutil.wait_procs(session.processes, timeout=5)
        self._reader.join(10)
        session.stderr = "".join(self.told)

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
        partitions={made["partition"] for made in raw["assetMaterializations"]},
        checks={(name_of(found["assetKey"]), found["checkName"]): found["success"] for found in evaluations},
    )


def name_of(key: dict[str, list[str]]) -> str:
    return "/".join(key["path"])


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def module_database(server_url: str, template: str) -> Iterator[str]:
    """A migrated database of this module's own."""
    from credential_pipeline.store.embedded import ensure_running

    name = f"t_{uuid.uuid4().hex}"
    with _administrator(server_url) as admin:
        admin.execute(text(f'create database "{name}" template "{template}"'))
    yield ensure_running(Path(os.environ[SERVER]) / "postgres", durable=False).url(name, role=ROLE)
    with _administrator(server_url) as admin:
        admin.execute(text(f'drop database if exists "{name}" with (force)'))


@pytest.fixture(scope="module")
def session(module_database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    """A batch, its publication, a backfill over that day and the next, and Ctrl-C."""
    place = tmp_path_factory.mktemp("dev")
    data = write_college(place / "college", files="completions-{day}.csv")
    (data / f"completions-{FIRST}.csv").write_text(HEADER + "\n".join(GOOD[:4]) + "\n")
    (data / f"completions-{SECOND}.csv").write_text(HEADER + "\n".join(GOOD[4:7]) + "\n")
    dev = Dev(place / "home", place / "college", module_database)
    try:
        yield play(dev)
    finally:
        dev.close()


def play(dev: Dev) -> Session:
    dev.wait_until_it_serves()
    session = Session(graph=dev.ask(GRAPH))
    launched = dev.ask(LAUNCH, day=FIRST)
    assert launched["__typename"] == "LaunchRunSuccess", launched
    [session.batch] = dev.ended_runs(1, runIds=[launched["run"]["runId"]])
    [session.publication] = dev.ended_runs(1, pipelineName="publication")
    for public_id in dev.public_ids():
        path = f"credentials/{public_id}.json"
        session.responses[path] = httpx.get(f"{dev.site}/{path}")
    asked = dev.ask(BACKFILL, days=[FIRST, SECOND])
    assert asked["__typename"] == "LaunchBackfillSuccess", asked
    runs = dev.ended_runs(2, tags=[{"key": "dagster/backfill", "value": asked["backfillId"]}])
    session.backfill = {run.tags["dagster/partition"]: run for run in runs}
    session.issued = dev.issued()
    dev.interrupt(session)
    return session


def errors(session: Session) -> str:
    """What the processes said from their first error on."""
    _, found, rest = session.stderr.partition("ERROR")
    return f"{found}{rest[:6000]}"


def test_the_graph_reads_by_stage_from_left_to_right(session: Session) -> None:
    stage = {name_of(node["assetKey"]): STAGES.index(node["groupName"]) for node in session.graph}
    assert set(stage.values()) == set(range(len(STAGES)))
    edges = [(name_of(d), name_of(n["assetKey"])) for n in session.graph for d in n["dependencyKeys"]]
    assert edges
    assert [edge for edge in edges if stage[edge[0]] > stage[edge[1]]] == []


def test_the_batch_of_a_day_launched_over_graphql_is_read_back_with_its_counts(session: Session) -> None:
    batch = session.batch
    assert batch is not None
    assert batch.status == "SUCCESS", errors(session)
    assert (batch.job, batch.partitions) == ("daily_batch", {FIRST})
    counts = {
        ("landed_lms__completions", "dagster/partition_row_count"): 4,
        ("accepted_lms__completions", "dagster/partition_row_count"): 4,
        ("accepted_lms__completions", "quarantined"): 0,
        ("persons", "persons_known"): 10,
        ("awards", "awards"): 4,
        ("plans", "create"): 4,
        ("credentials", "issued"): 4,
    }
    assert {name: batch.metadata.get(name) for name in counts} == counts
    assert session.issued[batch.run_id] == 4


def test_the_checks_of_every_dataset_are_read_back(session: Session) -> None:
    assert session.batch is not None
    datasets = ("users", "courses", "completions")
    assert session.batch.checks == {
        **{(f"landed_lms__{dataset}", "batch_is_whole"): True for dataset in datasets},
        **{(f"accepted_lms__{dataset}", "within_reject_limit"): True for dataset in datasets},
        ("plans", "approvals"): True,
    }


def test_the_daemon_publishes_after_the_batch(session: Session) -> None:
    publication = session.publication
    assert session.batch is not None
    assert publication is not None
    assert publication.status == "SUCCESS", errors(session)
    assert publication.tags["dagster/sensor_name"] == "publish_after_batch"
    assert publication.tags["dagster/run_key"] == f"after:{session.batch.run_id}"
    assert publication.metadata["publications", "credentials"] == 4
    assert publication.metadata["reconciliation", "balanced"] is True
    assert publication.checks["reconciliation", "adds_up"]
    assert all(publication.checks.values())


def test_a_backfill_issues_only_what_is_missing(session: Session) -> None:
    assert session.batch is not None
    statuses = {day: run.status for day, run in session.backfill.items()}
    assert statuses == {FIRST: "SUCCESS", SECOND: "SUCCESS"}, errors(session)
    assert session.backfill[FIRST].metadata["plans", "create"] == 0
    assert session.backfill[SECOND].metadata["plans", "create"] == 3
    by_backfill = session.issued.keys() - {session.batch.run_id}
    assert sum(session.issued[run_id] for run_id in by_backfill) == 3
    assert by_backfill <= {run.run_id for run in session.backfill.values()}


def test_the_site_serves_every_credential(session: Session) -> None:
    assert len(session.responses) == 4
    for path, response in session.responses.items():
        assert (response.status_code, response.headers["content-type"]) == (200, "application/vc")
        assert response.json()["id"].endswith(f"/{path}")


def test_one_ctrl_c_ends_every_process(session: Session) -> None:
    assert session.code == 0, session.stderr
    assert session.survivors == []
    assert len(session.processes) >= 4, "the command, webserver, daemon and at least one code server"


def test_stdout_is_one_json_object(session: Session) -> None:
    assert json.loads(session.stdout) == {"ended": True}

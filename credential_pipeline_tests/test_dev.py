"""`credential-pipeline dev` as its users have it: one session of real processes, driven over GraphQL and HTTP.

The session is played once (its processes start, a batch, its publication, a month as a backfill with three bad days,
those days again, an approval, Ctrl-C); each test reads a part of its record, so that they run in any order.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from credential_pipeline.issue.approve import NAMESPACE
from credential_pipeline_tests.databases import lent
from credential_pipeline_tests.e2e.college import GOOD, HEADER, write_college
from credential_pipeline_tests.e2e.daemon import GRAPH, LAUNCH, Dev, Ended, Run, name_of
from credential_pipeline_tests.issue.signers import RITA
from credential_pipeline_tests.terminal import call

pytestmark = pytest.mark.timeout(1800)  # half of it is waiting: the daemon looks for backfills every 30 seconds

DAYS = [f"2026-03-{day:02d}" for day in range(1, 31)]
FIRST, LAST = DAYS[0], DAYS[-1]
STAGES = ("extract", "gate", "identify", "issue", "publish", "renew", "report")
ISSUE = {"persons", "awards", "plans", "credentials"}
BAD = {
    DAYS[6]: b"user,course\nU3,C1\n",
    DAYS[13]: HEADER.encode() + "U4,C1,D14,2026-03-14,70,passé\n".encode("latin-1"),
    DAYS[20]: HEADER.encode() + b"U5,C1,D21,2026-03-21,70,passed\nU98,C1,D21,2026-03-21,70,passed\nU99,C1,D21,,,\n",
}
"""A file without most of its columns, one that is no UTF-8, one with more bad rows than the gate lets through."""
BLOCKED = DAYS[20]
"""The day that the check of a gate stops; the other two are stopped where their files are landed."""

DEGREE = """\
  - id: degree
    name: Degree
    type: Degree
    description: The degree.
    criteria: Conferred.
    earned_by:
      - {dataset: lms.completions, where: {course: C2, outcome: passed}, awarded_on: done}
    occurrence: once
    approval: four_eyes
"""

ISSUED = """
select substr(p.scope, 5), count(*) from ledger.plan_line l join ledger.plan p using (plan_id)
where l.state = 'applied' and p.approval = 'auto' group by 1
"""
CREDENTIALS = "select public_id, document_sha256, run_id from ledger.credential order by 1"
DEGREES = "select c.run_id from ledger.credential c join ledger.award a using (award_id) where a.achievement = 'degree'"
WAITING = "select plan_id, hash from ledger.plan where approval = 'four_eyes' and state = 'planned'"


def rows(day: str) -> list[str]:
    """Four completions on the first day, one on each other; on the last one a degree as well."""
    number = int(day[-2:])
    if day == FIRST:
        return GOOD[:4]
    found = [f"U{number % 10 + 1},C1,D{number},{day},70,passed"]
    return [*found, f"U2,C2,D{number},{day},90,passed"] if day == LAST else found


@dataclass
class Session:
    """The record of one session, from the first line that was printed to the last process that ended.

    `month` and `again` are the days' statuses in the two backfills, `issued` what their plans had issued after each.
    """

    graph: list[dict[str, Any]]
    batch: Run
    publication: Run
    responses: dict[str, httpx.Response]
    month: dict[str, str]
    stopped: dict[str, Run]
    issued: dict[str, int]
    before: list[tuple[Any, ...]]
    again: dict[str, str]
    corrected: dict[str, int]
    after: list[tuple[Any, ...]]
    waiting: int
    applied: Run
    degrees: list[tuple[Any, ...]]
    publications: int
    ended: Ended


@pytest.fixture(scope="module")
def session(template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    """One session of a college that takes a file of completions a day, a breach of which stops the day."""
    place = tmp_path_factory.mktemp("dev")
    college = place / "college"
    data = write_college(college, files="completions-{day}.csv")
    institution = college / "institution.yaml"
    limit = "reject_limit: 0.5\n"
    person = f"{{id: rita, name: Rita, roles: [approver], ssh_public_key: {RITA.public_line}}}"
    institution.write_text(
        institution.read_text().replace(limit, f"{limit}          on_breach: stop\n") + f"people:\n  - {person}\n"
    )
    with (college / "catalogue" / "courses.yaml").open("a") as file:
        file.write(DEGREE)
    for day in DAYS:
        (data / f"completions-{day}.csv").write_bytes(BAD.get(day) or good(day))
    with lent() as url:
        dev = Dev(place / "home", college, url)
        try:
            yield play(dev, data, place, url)
        finally:
            dev.close()


def good(day: str) -> bytes:
    return (HEADER + "\n".join(rows(day)) + "\n").encode()


def play(dev: Dev, data: Path, place: Path, url: str) -> Session:
    dev.wait_until_it_serves()
    graph = dev.ask(GRAPH)
    launched = dev.ask(LAUNCH, day=FIRST)
    assert launched["__typename"] == "LaunchRunSuccess", launched
    [batch] = dev.ended_runs(1, runIds=[launched["run"]["runId"]])
    [publication] = dev.ended_runs(1, pipelineName="publication")
    paths = [f"credentials/{public_id}.json" for public_id, *_ in dev.query(CREDENTIALS)]
    responses = {path: httpx.get(f"{dev.site}/{path}") for path in paths}

    month = dev.backfill(DAYS)
    stopped = {run.tags["dagster/partition"]: run for run in dev.runs(statuses=["FAILURE"])}
    issued, before = dict(dev.query(ISSUED)), dev.query(CREDENTIALS)
    for day in BAD:
        (data / f"completions-{day}.csv").write_bytes(good(day))
    again = dev.backfill([day for day, status in month.items() if status == "FAILURE"])
    corrected, after = dict(dev.query(ISSUED)), dev.query(CREDENTIALS)

    waiting = dev.query(WAITING)
    approve(place, url, *waiting[0])
    [applied] = dev.ended_runs(1, tags=[{"key": "dagster/sensor_name", "value": "approved_plans"}])
    degrees = dev.query(DEGREES)
    publications = len(dev.runs(pipelineName="publication"))
    return Session(
        graph, batch, publication, responses, month, stopped, issued, before, again, corrected, after, len(waiting),
        applied, degrees, publications, dev.interrupt(),
    )  # fmt: skip


def approve(place: Path, url: str, plan: object, digest: bytes) -> None:
    """Sign a plan's hash with ssh-keygen, and hand the signature in at the command line."""
    key, signature = place / "id_rita", place / "plan.sig"
    key.write_bytes(RITA.private_file)
    key.chmod(0o600)
    sign = ["ssh-keygen", "-Y", "sign", "-n", NAMESPACE, "-f", str(key)]
    signature.write_bytes(
        subprocess.run(sign, input=digest.hex().encode(), capture_output=True, check=True, timeout=30).stdout
    )
    where = ("--institution", str(place / "college"), "--home", str(place / "home"))
    told = call("approve", str(plan), "--approver", "rita", "--signature", str(signature), *where, DATABASE_URL=url)
    assert told.code == 0, told.stderr


def errors(session: Session) -> str:
    """What the processes said from their first error on."""
    _, found, rest = session.ended.stderr.partition("ERROR")
    return f"{found}{rest[:6000]}"


def test_the_graph_reads_by_stage_from_left_to_right(session: Session) -> None:
    stage = {name_of(node["assetKey"]): STAGES.index(node["groupName"]) for node in session.graph}
    assert set(stage.values()) == set(range(len(STAGES)))
    edges = [(name_of(d), name_of(n["assetKey"])) for n in session.graph for d in n["dependencyKeys"]]
    assert edges
    assert [edge for edge in edges if stage[edge[0]] > stage[edge[1]]] == []


def test_the_batch_of_a_day_launched_over_graphql_is_read_back_with_its_counts(session: Session) -> None:
    batch = session.batch
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
    assert session.issued[FIRST] == 4


def test_the_checks_of_every_dataset_are_read_back(session: Session) -> None:
    datasets = ("users", "courses", "completions")
    assert session.batch.checks == {
        **{(f"landed_lms__{dataset}", "batch_is_whole"): True for dataset in datasets},
        **{(f"accepted_lms__{dataset}", "within_reject_limit"): True for dataset in datasets},
        ("plans", "approvals"): True,
    }


def test_the_daemon_publishes_after_the_batch(session: Session) -> None:
    publication = session.publication
    assert publication.status == "SUCCESS", errors(session)
    assert publication.tags["dagster/sensor_name"] == "publish_after_batch"
    assert publication.tags["dagster/run_key"] == f"after:{session.batch.run_id}"
    assert publication.metadata["publications", "credentials"] == 4
    assert publication.metadata["reconciliation", "balanced"] is True
    assert publication.checks["reconciliation", "adds_up"]
    assert all(publication.checks.values())


def test_of_a_month_only_the_bad_days_fail(session: Session) -> None:
    assert session.month == {day: "FAILURE" if day in BAD else "SUCCESS" for day in DAYS}, errors(session)
    assert session.issued == {day: 4 if day == FIRST else 1 for day in DAYS if day not in BAD}
    assert len(session.before) == sum(session.issued.values())


def test_a_backfill_issues_only_what_is_missing(session: Session) -> None:
    by_batch = [public_id for public_id, _, run_id in session.before if run_id == session.batch.run_id]
    assert len(by_batch) == session.issued[FIRST] == 4


@pytest.mark.parametrize("day", BAD)
def test_a_blocking_check_stops_its_own_day_and_says_why(session: Session, day: str) -> None:
    stopped = session.stopped[day]
    asset, check = (
        ("accepted_lms__completions", "within_reject_limit") if day == BLOCKED
        else ("landed_lms__completions", "batch_is_whole")
    )  # fmt: skip
    assert [name for name, passed in stopped.checks.items() if not passed] == [(asset, check)]
    assert stopped.partitions == {day}
    assert stopped.assets >= {asset, "accepted_lms__users"}, "what stands beside it is done"
    assert stopped.assets.isdisjoint(ISSUE), "what comes after it is not"


def test_the_failed_days_alone_are_run_again_and_issue_what_was_missing(session: Session) -> None:
    assert session.again == dict.fromkeys(BAD, "SUCCESS"), errors(session)
    assert session.corrected == {**session.issued, **dict.fromkeys(BAD, 1)}
    assert set(session.before) < set(session.after), "what was issued before is as it was"
    assert len(session.after) == len(session.before) + len(BAD)


def test_batches_that_end_together_are_published_together(session: Session) -> None:
    assert 1 < session.publications < len(DAYS)


def test_the_sensor_applies_the_plan_that_was_approved_by_signature(session: Session) -> None:
    applied = session.applied
    assert session.waiting == 1, "the degree of the last day, and nothing else, waited for a signature"
    assert (applied.job, applied.status, applied.assets) == ("daily_batch", "SUCCESS", {"credentials"}), errors(session)
    assert applied.tags["dagster/run_key"].startswith("approved:")
    assert applied.metadata["credentials", "issued"] == 1
    assert session.degrees == [(applied.run_id,)]


def test_the_site_serves_every_credential(session: Session) -> None:
    assert len(session.responses) == 4
    for path, response in session.responses.items():
        assert (response.status_code, response.headers["content-type"]) == (200, "application/vc")
        assert response.json()["id"].endswith(f"/{path}")


def test_one_ctrl_c_ends_every_process(session: Session) -> None:
    assert session.ended.code == 0, session.ended.stderr
    assert session.ended.survivors == []
    assert len(session.ended.processes) >= 4, "the command, webserver, daemon and at least one code server"


def test_stdout_is_one_json_object(session: Session) -> None:
    assert json.loads(session.ended.stdout) == {"ended": True}

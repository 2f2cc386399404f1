"""Killed with -9 anywhere and run again: what is issued is what an undisturbed run issues.

No delay hits the same moment twice, so each run is held up by the database: a row, table or lock of ours is in the
way of one statement, the run waits there with its transaction open, and there it dies.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg
import pytest
from dagster import DagsterRunStatus
from sqlalchemy import make_url

from credential_pipeline.extract.files import extract_dataset
from credential_pipeline.gate.gate import gate_dataset
from credential_pipeline.identify.persons import identify_batch
from credential_pipeline.issue.apply import apply_plan
from credential_pipeline.issue.earn import earn_batch
from credential_pipeline.issue.plan import plan_day
from credential_pipeline.issue.plans import open_plans
from credential_pipeline.run import open_instance
from credential_pipeline.runtime import open_runtime, prepare_database
from credential_pipeline.settings import Settings, load_settings
from credential_pipeline.store import embedded
from credential_pipeline_tests.e2e.college import CATALOGUE, HEADER, write_college
from credential_pipeline_tests.e2e.conftest import AS_OF, DAY, REPOSITORY, House
from credential_pipeline_tests.e2e.lasting import lasting_houses

PEOPLE = 100
CHUNK = 40
PATIENCE_SECONDS = 120

SECOND_COURSE = """\
  - id: second-course
    name: Second Course
    type: Course
    description: The second course.
    criteria: Passed it.
    earned_by:
      - {dataset: lms.completions, where: {course: C2, outcome: passed}, awarded_on: done}
    occurrence: once
    status_purpose: suspension
"""

TABLES = ("landed.row", "accepted.row", "quarantine.reason", "identity.source_record", "identity.person",
          "ledger.award", "ledger.decision", "ledger.credential", "ledger.publication")  # fmt: skip

Row = tuple[object, ...]


@dataclass(frozen=True)
class Issued:
    """What does not depend on who was killed when. Times, run ids and the versions of status lists do."""

    credentials: dict[str, bytes]
    bits: dict[str, str]
    places: list[Row]
    events: list[Row]
    plans: list[Row]
    messages: list[Row]
    rows: dict[str, int]


def ask(url: str, statement: str) -> list[Row]:
    with psycopg.connect(url) as connection:
        return connection.execute(statement).fetchall()


def count(url: str) -> dict[str, int]:
    return {table: int(str(ask(url, f"select count(*) from {table}")[0][0])) for table in TABLES}


def issued(house: House, url: str) -> Issued:
    lists = {path.name: json.loads(path.read_bytes()) for path in (house.site / "status").glob("*.json")}
    return Issued(
        credentials=house.credentials(),
        bits={name: document["credentialSubject"]["encodedList"] for name, document in lists.items()},
        places=ask(url, "select credential_id, list_number, status_index from ledger.credential order by 1"),
        events=ask(url, "select credential_id, seq, kind from ledger.event order by 1, 2"),
        plans=ask(url, "select hash, state from ledger.plan order by 1"),
        messages=ask(url, "select message_id, kind from outbox.message order by 1"),
        rows=count(url),
    )


def write_larger_college(directory: Path) -> Path:
    """Two achievements, one for each status purpose; every 12th completion failed, every 50th has a score of 140."""
    data = write_college(directory)
    (directory / "catalogue" / "courses.yaml").write_text(CATALOGUE + SECOND_COURSE)
    names = [f"{a}{b}{c}" for a in "BCDFG" for b in "aeiou" for c in "lmnr"][:PEOPLE]
    users = [f"U{n},Person {name}son,p{n}@college.example" for n, name in enumerate(names)]
    (data / "users.csv").write_text("\n".join(["id,name,email", *users, ""]))
    done = []
    for n in range(2 * PEOPLE):
        score, outcome = 140 if n % 50 == 49 else 60 + n % 40, "failed" if n % 12 == 11 else "passed"
        done.append(f"U{n // 2},C{n % 2 + 1},2025FA,2025-12-{n % 28 + 1:02d},{score},{outcome}\n")
    (data / "completions.csv").write_text(HEADER + "".join(done))
    return directory


@dataclass(frozen=True)
class Undisturbed:
    """The college, what a run of it issued that nobody killed, and the secrets it was issued with."""

    directory: Path
    secrets: Path
    issued: Issued


@pytest.fixture(scope="module")
def undisturbed(server_url: str, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Undisturbed]:
    directory = tmp_path_factory.mktemp("undisturbed")
    college = write_larger_college(directory / "college")
    with lasting_houses(server_url, template, directory) as new_house:
        house = new_house(college)
        assert house.stages().reconciliation.differences == ()
        yield Undisturbed(college, house.settings.secrets, issued(house, str(house.settings.database_url)))


@pytest.fixture
def house(undisturbed: Undisturbed, new_house: Callable[..., House]) -> House:
    house = new_house(undisturbed.directory)
    house.settings = replace(house.settings, secrets=undisturbed.secrets)
    return house


def command_line(settings: Settings, *more: str) -> tuple[list[str], dict[str, str]]:
    """`run` as a person starts it, and its environment."""
    command = [sys.executable, "-m", "credential_pipeline", "run", "--json", "--day", str(DAY)]
    command += ["--as-of", AS_OF.isoformat(), "--institution", str(settings.institution_dir)]
    command += ["--home", str(settings.home), *more]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("CREDENTIAL_PIPELINE_")}
    environ["CREDENTIAL_PIPELINE_SECRETS"] = str(settings.secrets)
    if settings.database_url:
        environ["CREDENTIAL_PIPELINE_DATABASE_URL"] = settings.database_url
    return command, environ


def wait_until(condition: Callable[[], object], why: Callable[[], str]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, why()
        time.sleep(0.02)


@contextmanager
def in_the_way(superuser: str, statement: str) -> Iterator[Callable[[], bool]]:
    """Hold what a statement takes until the block ends; yields whether somebody waits for it."""
    # Closing rolls back, and works on a connection whose server was killed.
    with closing(psycopg.connect(superuser)) as holder, closing(psycopg.connect(superuser, autocommit=True)) as watcher:
        holder.execute(statement)
        me = holder.info.backend_pid
        waiting = "select from pg_stat_activity where %s = any(pg_blocking_pids(pid))"
        yield lambda: watcher.execute(waiting, [me]).rowcount > 0


@contextmanager
def running(settings: Settings, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    command, environ = command_line(settings)
    with (
        log.open("wb") as told,
        subprocess.Popen(command, cwd=REPOSITORY, env=environ, stdout=told, stderr=told) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


def kill_at(house: House, superuser: str, obstacle: str, step: str, log: Path) -> None:
    """Start a run, let it come to where the obstacle is in its way, in the step that its progress names; kill it."""
    with in_the_way(superuser, obstacle) as somebody_waits, running(house.settings, log) as process:
        wait_until(lambda: somebody_waits() or process.poll() is not None, log.read_text)
        wait_until(lambda: step in log.read_text() or process.poll() is not None, log.read_text)
        assert process.poll() is None, log.read_text()
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait(PATIENCE_SECONDS) == -signal.SIGKILL


def judge(house: House) -> None:
    """What extract and gate do: the gates' library takes 6 seconds to import, which a run then does without."""
    institution = house.settings.institution
    with open_runtime(house.settings, as_of=AS_OF) as runtime:
        for dataset in institution.datasets:
            extract_dataset(runtime.engine, dataset, runtime.data, DAY, "judge")
            gate_dataset(runtime.engine, institution, dataset, DAY, "judge")


def plan(house: House) -> None:
    """What identify and the planning half of issue do."""
    institution = house.settings.institution
    with open_runtime(house.settings, as_of=AS_OF) as runtime:
        identify_batch(runtime.engine, institution, DAY, "plan")
        earn_batch(runtime.engine, institution, DAY, "plan")
        plan_day(runtime.engine, institution, runtime.secrets, DAY, AS_OF, "plan")


PUBLISHED = """
insert into ledger.publication (target, path, kind, digest, version, size_bytes, run_id)
values ('site', 'credentials/{name}', 'credential', sha256(''), 1, 1, 'in the way')
"""

# The step that its progress names last, what is in its way, and how many credentials are in the ledger by then.
DEATHS = {
    "extract, a file landed and not yet in the batch": (
        "extract   landed_", "lock landed.batch_file in share mode", False,
    ),
    "gate, the verdicts written and not committed": (
        "gate      accepted_", "lock accepted.gated_batch in share mode", False,
    ),
    "identify, the persons written and not committed": (
        "identify  persons", "lock identity.source_record in share mode", False,
    ),
    "issue, the plan written and not approved": ("issue     plans", "lock ledger.approval in share mode", False),
    "publish, the objects in place and not in the manifest": ("publish   publications", PUBLISHED, True),
    "report, half of the models built": ("report    metrics", "create table metrics.issuance_by_day__new ()", True),
}  # fmt: skip


@pytest.mark.parametrize("where", DEATHS)
def test_a_run_killed_in_a_stage_and_run_again(
    house: House, undisturbed: Undisturbed, superuser_of: Callable[[House], str], tmp_path: Path, where: str
) -> None:
    step, obstacle, recorded = DEATHS[where]
    if not where.startswith(("extract", "gate")):
        judge(house)
    name = sorted(undisturbed.issued.credentials)[PEOPLE // 2]
    kill_at(house, superuser_of(house), obstacle.format(name=name), step, tmp_path / "log")
    url = str(house.settings.database_url)
    assert count(url)["ledger.credential"] == (len(undisturbed.issued.credentials) if recorded else 0)

    again = house.stages(run_id="again")
    assert again.reconciliation.differences == ()
    assert again.counts.issued == (0 if recorded else len(undisturbed.issued.credentials))
    assert issued(house, url) == undisturbed.issued


def test_a_run_killed_while_it_issues_is_taken_over_by_the_next_run(
    house: House, undisturbed: Undisturbed, superuser_of: Callable[[House], str], tmp_path: Path
) -> None:
    judge(house)
    url = str(house.settings.database_url)
    kill_at(house, superuser_of(house), "lock outbox.message in share mode", "issue     credentials", tmp_path / "log")
    assert count(url)["ledger.credential"] == 0
    with open_instance(house.settings, url) as instance:
        (dead,) = instance.get_runs()
        assert dead.status == DagsterRunStatus.STARTED
        assert instance.event_log_storage.get_concurrency_info("issuing").claimed_slots

        command, environ = command_line(house.settings)
        again = subprocess.run(command, cwd=REPOSITORY, env=environ, capture_output=True, text=True, check=False)
        assert again.returncode == 0, again.stderr
        assert json.loads(again.stdout)["issued"] == len(undisturbed.issued.credentials)
        assert "issued" in again.stderr

        statuses = [run.status for run in instance.get_runs()]  # the newest first
        assert statuses == [DagsterRunStatus.SUCCESS, DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE]
        assert instance.get_run_by_id(dead.run_id).status == DagsterRunStatus.FAILURE
        for pool in ("issuing", "identity"):
            assert not instance.event_log_storage.get_concurrency_info(pool).claimed_slots
    assert issued(house, url) == undisturbed.issued


def apply_in_chunks(settings: Settings) -> None:
    """What the step `credentials` does, with smaller chunks; runs in a process of its own."""
    with open_runtime(settings, as_of=AS_OF) as runtime:
        for found in open_plans(runtime.engine):
            apply_plan(
                runtime.engine,
                settings.institution,
                runtime.secrets,
                runtime.signer,
                found,
                "chunks",
                now=AS_OF,
                chunk=CHUNK,
            )


def test_a_plan_half_applied_is_finished_by_the_next_run(
    house: House, undisturbed: Undisturbed, superuser_of: Callable[[House], str]
) -> None:
    judge(house)
    plan(house)
    third_chunk = f"""
      select from ledger.plan_line where ordinal = (
        select ordinal from ledger.plan_line where action = 'create' order by ordinal offset {2 * CHUNK + 5} limit 1)
      for no key update
    """
    with in_the_way(superuser_of(house), third_chunk) as somebody_waits:
        process = multiprocessing.get_context("spawn").Process(target=apply_in_chunks, args=(house.settings,))
        process.start()
        wait_until(lambda: somebody_waits() or process.exitcode is not None, lambda: "nobody waits")
        process.kill()
        process.join(PATIENCE_SECONDS)
        assert process.exitcode == -signal.SIGKILL
    url = str(house.settings.database_url)
    assert count(url)["ledger.credential"] == 2 * CHUNK
    assert ask(url, "select state from ledger.plan") == [("approved",)]

    again = house.stages(run_id="again")
    assert again.counts.issued == len(undisturbed.issued.credentials) - 2 * CHUNK
    assert again.counts.already_issued == 2 * CHUNK
    assert issued(house, url) == undisturbed.issued


@pytest.fixture
def superuser_of(server_url: str) -> Callable[[House], str]:
    def url(house: House) -> str:
        database = make_url(str(house.settings.database_url)).database
        return make_url(server_url).set(database=database).render_as_string(hide_password=False)

    return url


@pytest.fixture
def embedded_house(undisturbed: Undisturbed, tmp_path: Path) -> Iterator[House]:
    settings = load_settings(
        institution=undisturbed.directory,
        home=tmp_path / "home",
        environ={"CREDENTIAL_PIPELINE_SECRETS": str(undisturbed.secrets)},
    )
    yield House(settings)
    embedded.stop(settings.home / "postgres", mode="immediate")


def test_the_embedded_server_killed_in_the_middle_of_a_run_loses_no_row(
    embedded_house: House, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    settings, log = embedded_house.settings, tmp_path / "log"
    prepare_database(settings)
    judge(embedded_house)
    server = embedded.ensure_running(settings.home / "postgres")
    superuser = server.url(embedded.DATABASE, embedded.SUPERUSER)
    with running(settings, log) as process:
        with in_the_way(superuser, "lock outbox.message in share mode") as somebody_waits:
            wait_until(lambda: somebody_waits() or process.poll() is not None, log.read_text)
            committed = count(superuser)
            postmaster = int((settings.home / "postgres" / "data" / "postmaster.pid").read_text().split()[0])
            for (pid,) in [(postmaster,), *ask(superuser, "select pid from pg_stat_activity")]:
                with suppress(ProcessLookupError):  # whoever saw the postmaster go has ended by itself
                    os.kill(int(str(pid)), signal.SIGKILL)
        assert process.wait(PATIENCE_SECONDS) == 2, log.read_text()
    said = log.read_text().splitlines()[-1]
    assert said.startswith("error: the database stopped answering (")
    assert "give the same command again" in said
    assert "Traceback" not in log.read_text()
    assert not embedded.is_running(settings.home / "postgres")
    assert all(committed[table] for table in ("accepted.row", "identity.person", "ledger.award"))
    assert committed["ledger.credential"] == 0

    command, environ = command_line(settings)
    again = subprocess.run(command, cwd=REPOSITORY, env=environ, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    url = prepare_database(settings)
    assert issued(embedded_house, url) == undisturbed.issued

"""`plan`, `prepare`, `approve`, `apply`, `hold`: a registrar's morning at the command line, and every way it ends."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from credential_pipeline.cli import commands
from credential_pipeline.extract.files import extract_dataset
from credential_pipeline.gate.gate import gate_dataset
from credential_pipeline.identify.persons import identify_batch
from credential_pipeline.issue.approve import NAMESPACE
from credential_pipeline.runtime import open_runtime
from credential_pipeline.settings import load_settings
from credential_pipeline_tests.e2e.college import HEADER, USERS, write_college
from credential_pipeline_tests.issue.signers import BO, OMAR, PIA, RITA
from credential_pipeline_tests.terminal import Told, call

DAY, AS_OF = date(2026, 3, 2), datetime(2026, 3, 2, 10, tzinfo=UTC)
DATED = ("--day", "2026-03-02", "--as-of", "2026-03-02T10:00:00Z")
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
ROWS = ("U1,C1,2025FA,2025-12-01,70,passed", "U2,C2,2025FA,2025-12-02,80,passed", "U3,C2,2025FA,2025-12-03,90,passed",
        "U4,C1,2025FA,2025-12-04,60,passed", "U5,C1,2025FA,2025-12-05,60,failed")  # fmt: skip


@dataclass
class College:
    """A college with a degree that takes four eyes, whose batch has been landed, gated and identified."""

    directory: Path
    home: Path
    database: str

    def call(self, *arguments: str) -> Told:
        where = ("--institution", str(self.directory), "--home", str(self.home))
        return call(*arguments, *where, DATABASE_URL=self.database)

    def key_of(self, one: object) -> str:
        """The file with a person's private key."""
        path = self.home / f"id_{one.id}"
        path.write_bytes(one.private_file)
        path.chmod(0o600)
        return str(path)

    @property
    def published(self) -> int:
        return len(list((self.home / "site" / "credentials").glob("*.json")))


@pytest.fixture
def college(new_database: Callable[[], str], tmp_path: Path) -> College:
    directory, home, url = tmp_path / "college", tmp_path / "home", new_database()
    data = write_college(directory)
    home.mkdir()
    (data / "users.csv").write_text(USERS.replace("Person Dson", "person4"))
    (data / "completions.csv").write_text(HEADER + "\n".join(ROWS) + "\n")
    people = "".join(
        f"  - {{id: {p.id}, name: {p.id}, roles: [{', '.join(p.roles)}], ssh_public_key: {p.public_line}}}\n"
        for p in (RITA, OMAR, PIA, BO)
    )
    with (directory / "institution.yaml").open("a") as file:
        file.write(f"people:\n{people}")
    with (directory / "catalogue" / "courses.yaml").open("a") as file:
        file.write(DEGREE)
    settings = load_settings(institution=directory, home=home, environ={"CREDENTIAL_PIPELINE_DATABASE_URL": url})
    with open_runtime(settings, as_of=AS_OF) as runtime:
        for dataset in settings.institution.datasets:
            extract_dataset(runtime.engine, dataset, runtime.data, DAY, "run", lambda: runtime.secrets)
            gate_dataset(runtime.engine, settings.institution, dataset, DAY, "run")
        identify_batch(runtime.engine, settings.institution, DAY, "run")
        assert runtime.secrets is not None
    return College(directory, home, url)


def test_a_plan_is_shown_approved_applied_and_published(college: College) -> None:
    told = college.call("plan", *DATED, "--json")
    assert told.code == 0, told.stderr
    auto, waiting = told.result["plans"]
    assert (auto["counts"], auto["state"]) == ({"create": 1, "hold": 3, "skip": 1}, "approved")
    assert auto["reasons"] == {"hold": {"approval_required": 2, "name_with_digits": 1}, "skip": {"outcome=failed": 1}}
    assert auto["achievements"] == {"degree": {"hold": 2}, "first-course": {"create": 1, "hold": 1}}
    assert (waiting["counts"], waiting["waits_for"]) == ({"create": 2}, "nobody has approved it")
    assert waiting["forecast"]["objects"] == 4
    assert waiting["forecast"]["messages"] == waiting["forecast"]["credentials"] == 2
    assert college.published == 0
    again = college.call("plan", *DATED, "--json").result["plans"]
    assert [plan["hash"] for plan in again] == [auto["hash"], waiting["hash"]]
    assert "Person" not in told.stdout + told.stderr, "names only where somebody asks for them"

    plan = waiting["plan"]
    assert (
        f"{plan}  issue  day:2026-03-02  2 create  planned; nobody has approved it"
        in college.call("plan", "list").stdout
    )
    shown = college.call("plan", "show", plan[:8], "--facts")
    assert f"hash   {waiting['hash']}" in shown.stdout
    assert "+ create    degree  once  2025-12-02" in shown.stdout
    assert "Person Bson" in shown.stdout
    assert "emailAddress=p2@college.example" in shown.stdout

    refused = college.call("apply", plan)
    assert (refused.code, college.published) == (1, 0)
    assert (
        f"refused: plan {plan} is not approved as it is now: nobody has approved it; nothing was done" in refused.stdout
    )
    assert college.call("approve", plan, "--approver", "pia", "--key", college.key_of(PIA)).code == 2

    done = college.call("approve", plan[:8], "--approver", "rita", "--key", college.key_of(RITA), "--json")
    assert done.code == 0, done.stderr
    assert (done.result["approved"], done.result["hash"], done.result["by"]) == (True, waiting["hash"], "rita")
    assert done.result["key"].startswith("SHA256:")

    applied = college.call("apply", "--json")
    assert applied.code == 0, applied.stderr
    assert (applied.result["issued"], applied.result["refused"], applied.result["published"]) == (3, {}, True)
    assert college.published == 3
    assert college.call("reconcile").code == 0
    assert college.call("apply").stdout == "no approved plan is open\n"
    assert college.call("plan", "list").stdout == "no plan is open\n"
    finished = college.call("plan", "list", "--all", "--json").result["plans"]
    assert [one["state"] for one in finished] == ["applied", "applied"]
    assert college.call("plan", *DATED).stdout == "2026-03-02: nothing to plan\n"


def test_a_signature_made_elsewhere_counts_like_one_made_here(college: College, tmp_path: Path) -> None:
    plan = college.call("plan", *DATED, "--actor", "bo", "--json").result["plans"][1]
    how = college.call("approve", plan["plan"], "--approver", "rita")
    assert how.code == 2
    assert f"printf %s {plan['hash']} | ssh-keygen -Y sign -n {NAMESPACE} -f KEY" in how.stderr
    made = subprocess.run(
        ["ssh-keygen", "-Y", "sign", "-n", NAMESPACE, "-f", college.key_of(BO)],
        input=plan["hash"], capture_output=True, text=True, check=True, timeout=30,
    ).stdout  # fmt: skip
    (tmp_path / "plan.sig").write_text(made)
    own = college.call("approve", plan["plan"], "--approver", "bo", "--signature", str(tmp_path / "plan.sig"))
    assert (own.code, "they made it themselves" in own.stderr) == (2, True)
    prepared = college.call("prepare", plan["plan"], "--preparer", "bo", "--signature", str(tmp_path / "plan.sig"))
    assert (prepared.code, prepared.stdout[:5]) == (0, "plan ")
    (tmp_path / "plan.sig").write_text(OMAR.sign_plan(bytes.fromhex(plan["hash"])))
    as_rita = college.call("approve", plan["plan"], "--approver", "rita", "--signature", str(tmp_path / "plan.sig"))
    assert (as_rita.code, "made with another key" in as_rita.stderr) == (2, True)
    assert (
        college.call("approve", plan["plan"], "--approver", "omar", "--signature", str(tmp_path / "plan.sig")).code == 0
    )
    shown = college.call("plan", "show", plan["plan"], "--json").result
    assert [(one["kind"], one["by"]) for one in shown["approvals"]] == [("preparation", "bo"), ("signature", "omar")]
    assert (shown["waits_for"], shown["created_by"]) == (None, "bo")
    assert college.call("apply", plan["plan"], "--no-publish", "--json").result["issued"] == 2
    assert college.published == 0


def test_a_hold_is_listed_released_planned_and_issued(college: College) -> None:
    college.call("plan", *DATED)
    listed = college.call("hold", "list", "--held-for", "name_with_digits", "--json")
    [held] = listed.result["holds"]
    assert (held["achievement"], held["occurrence"], held["reasons"]) == (
        "first-course",
        "2025FA",
        ["name_with_digits"],
    )
    assert "person4" not in listed.stdout + listed.stderr
    why = ("--reason", "the register has it so")
    stranger = college.call("hold", "release", held["award_id"], "--actor", "mallory", *why)
    assert (stranger.code, "none of the people" in stranger.stderr) == (2, True)
    waiting = college.call("hold", "release", "--held-for", "approval_required", "--actor", "rita", *why)
    assert (waiting.code, "which nobody can release" in waiting.stderr) == (2, True)
    released = college.call("hold", "release", held["award_id"], "--actor", "rita", *why)
    assert (released.code, released.stdout) == (0, "1 released; the next plan of their day makes them\n")
    assert college.call("plan", *DATED, "--json").result["plans"][0]["counts"]["create"] == 2
    assert college.call("apply", "--json").result["issued"] == 2
    rejected = college.call("hold", "reject", "--held-for", "approval_required", "--actor", "rita", *why, "--json")
    assert [one["state"] for one in rejected.result["holds"]] == ["rejected"] * 2
    assert college.call("hold", "list").stdout == "nothing waits\n"
    assert "rejected by rita: the register has it so" in college.call("hold", "list", "--decided").stdout
    assert college.call("plan", *DATED, "--json").result["plans"] == []


WRONG = {
    ("plan", "--day", "2026-02-27"): "no rows have arrived on 2026-02-27",
    ("plan", "--day", "yesterday"): "write it as YYYY-MM-DD",
    ("plan", "--as-of", "2026-03-02"): "has no time zone",
    ("plan", "show", "0123abcd"): "no plan 0123abcd in this ledger",
    ("plan", "show", "01"): "no plan 01 in this ledger",
    ("apply", "no-such-plan"): "no plan no-such-plan",
    ("hold", "release", "--actor", "rita"): "Missing option '--reason'",
    ("hold", "reject", "--actor", "rita", "--reason", "x"): "say which holds",
    ("hold", "reject", "everything", "--actor", "rita", "--reason", "x"): "not a valid UUID",
}


def test_what_is_wrong_with_a_command_is_a_sentence_and_code_two(college: College) -> None:
    for arguments, why in WRONG.items():
        told = college.call(*arguments)
        assert (told.code, told.stdout) == (2, ""), arguments
        assert why in told.stderr, arguments


@pytest.mark.parametrize(
    "path",
    ["plan", "plan list", "plan show", "prepare", "approve", "apply", "hold list", "hold release", "hold reject"],
)
def test_every_command_has_an_example_that_parses(path: str) -> None:
    told = CliRunner().invoke(commands, [*path.split(), "--help"])
    assert told.exit_code == 0
    example = re.search(r"^  Example: (.+?)\n\n", told.output, re.DOTALL | re.MULTILINE)
    assert example, told.output
    program, *arguments = shlex.split(" ".join(example.group(1).split()))
    assert program == "credential-pipeline"
    command: click.Command = commands
    for word in path.split():
        assert isinstance(command, click.Group)
        assert arguments.pop(0) == word
        command = command.commands[word]
    command.make_context(path, arguments, resilient_parsing=False)

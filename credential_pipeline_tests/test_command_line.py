"""The command line as people and programs meet it: what is on stdout, what is told, how it exits, what stays secret.

The starter that `init` writes is run once, from the shell, with the embedded server; other commands look at that home.
"""

from __future__ import annotations

import re
import shlex
from datetime import UTC, datetime
from pathlib import Path

import click
import psycopg
import pytest
from click.testing import CliRunner

from credential_pipeline.cli import commands
from credential_pipeline.institution.starter import write_starter
from credential_pipeline.settings import DEVELOPMENT_PASSPHRASE
from credential_pipeline.store import embedded
from credential_pipeline_tests.conftest import REPOSITORY
from credential_pipeline_tests.riverside import DATED, College
from credential_pipeline_tests.terminal import PASSPHRASE, call, leaves, shell

COUNTS = ("landed", "accepted", "quarantined", "skipped", "persons", "holders", "earned", "issued", "already_issued",
          "held", "published")  # fmt: skip
COMMANDS = (
    "init", "check", "run", "dev", "verify", "bake", "unbake", "explain", "reconcile", "database-url",
    "plan", "plan list", "plan show", "prepare", "approve", "apply", "hold list", "hold release", "hold reject",
    "revoke", "suspend", "reinstate", "correct",
    "renew", "campaign reissue", "campaign list", "key list", "key rotate", "key compromised",
    "erase", "audit", "bench proofs",
)  # fmt: skip


def test_the_commands_are_those_that_were_decided_on() -> None:
    assert sorted(leaves(commands)) == sorted(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_has_help_with_an_example_that_parses(name: str) -> None:
    words = name.split()
    told = CliRunner().invoke(commands, [*words, "--help"])
    assert told.exit_code == 0
    example = re.search(r"^  Example: (.+?)\n\n", told.output, re.DOTALL | re.MULTILINE)
    assert example, told.output
    line = " ".join(example.group(1).split())
    if inner := re.search(r"\$\((.+)\)", line):  # a command inside another program's
        line = inner.group(1)
    program, *arguments = shlex.split(line)
    assert (program, arguments[: len(words)]) == ("credential-pipeline", words)
    with click.Context(commands) as group:
        parsed = leaves(commands)[name].make_context(name, arguments[len(words) :], parent=group)
    assert not parsed.args


@pytest.mark.parametrize(
    "name", [name for name in COMMANDS if name not in {"init", "check", "verify", "bake", "unbake"}]
)
def test_the_common_options_are_the_same_everywhere(name: str) -> None:
    options = {option for parameter in leaves(commands)[name].params for option in parameter.opts}
    # A bench is of no institution: it makes its own rows.
    assert ({"--json"} if name == "bench proofs" else {"--institution", "--home", "--json"}) <= options


def test_init_writes_an_institution_that_check_finds_in_order(tmp_path: Path) -> None:
    made = call("init", str(tmp_path / "college"), "--json", "--id", "hillside")
    assert made.code == 0
    assert {Path(file).name for file in made.result["files"]} >= {"institution.yaml", "courses.yaml", "users.csv"}
    assert all(Path(file).is_file() for file in made.result["files"])
    found = call("check", "--institution", str(tmp_path / "college"), "--json")
    assert found.code == 0
    assert found.result["institution"] == "hillside"
    assert found.result["achievements"] == ["data-101", "first-aid"]
    assert "hillside: in order" in found.stderr
    assert "hillside: in order" in call("check", "--institution", str(tmp_path / "college")).stdout

    again = call("init", str(tmp_path / "college"))
    assert (again.code, again.stdout) == (2, "")
    assert "is not empty; name a new directory" in again.stderr


def test_check_tells_every_problem_with_file_line_and_remedy(tmp_path: Path) -> None:
    write_starter(tmp_path / "college")
    main_file, courses = tmp_path / "college" / "institution.yaml", tmp_path / "college" / "catalogue" / "courses.yaml"
    main_file.write_text(main_file.read_text().replace("time_zone: UTC", "time_zone: Mars"))
    courses.write_text(
        courses.read_text().replace("type: Certificate", "type: Certificat").replace("years: 2", "years: 0")
    )
    told = shell("check", "--institution", str(tmp_path / "college"), "--json")
    assert (told.code, told.stdout) == (2, "")
    problems = told.stderr.removeprefix("error: ").splitlines()
    assert len(problems) == 3
    for problem, file, wrong in zip(
        problems, (main_file, courses, courses), ("time_zone: Mars", "type: Certificat", "years: 0"), strict=True
    ):
        where = re.match(rf"{re.escape(str(file))}:(\d+): .+; .+", problem)
        assert where, problem
        assert wrong in file.read_text().splitlines()[int(where.group(1)) - 1]


def test_check_prints_the_schema_of_the_files() -> None:
    schema = call("check", "--schema").result
    assert set(schema) == {"institution.yaml", "catalogue/*.yaml"}
    assert "issuer" in schema["institution.yaml"]["properties"]


def test_a_starter_runs_end_to_end_and_ends_with_one_json_object(college: College) -> None:
    told = college.first
    assert told.code == 0, told.stderr
    result = told.result
    assert {name: type(result[name]) for name in COUNTS} == dict.fromkeys(COUNTS, int)
    assert (result["landed"], result["quarantined"], result["skipped"]) == (7, 1, 1)
    assert (result["issued"], result["already_issued"], result["held"], result["published"]) == (5, 0, 0, 5)
    assert result["landed"] == result["accepted"] + result["quarantined"]
    assert result["earned"] == result["issued"] + result["already_issued"] + result["held"]
    assert (result["persons"], result["holders"]) == (5, 4)
    assert result["reconciled"] is True
    assert set(result["seconds"]) == {"extract", "gate", "identify", "issue", "publish", "report"}
    assert all(isinstance(seconds, float) and seconds >= 0 for seconds in result["seconds"].values())
    assert (result["day"], result["as_of"]) == ("2026-03-02", "2026-03-02T10:00:00Z")
    site = Path(result["site"])
    assert site == college.home / "site"
    assert len(list((site / "credentials").glob("*.json"))) == 5

    stages = [line.split()[0] for line in told.stderr.splitlines() if re.match(r"[a-z]+ +[a-z_]+", line)]
    assert list(dict.fromkeys(stages)) == ["start", "extract", "gate", "identify", "issue", "publish", "report"]
    assert "7 landed = 6 accepted + 1 quarantined" in told.stderr
    assert f"Published: {site}" in told.stderr


def test_a_second_run_of_today_issues_nothing_new_and_says_so_to_a_person(college: College) -> None:
    before = datetime.now(UTC).date()
    told = college.call("run")
    assert told.code == 0, told.stderr
    assert "5 earned = 0 issued + 5 already + 0 held" in told.stdout
    assert "Nothing new to issue" in told.stdout
    (day,) = re.findall(r"^Day (\S+), credentials dated", told.stdout, re.MULTILINE)
    assert str(before) <= day <= str(datetime.now(UTC).date())


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({}, r"CREDENTIAL_PIPELINE_PASSPHRASE is not set: .*Set it to a long random text"),
        ({"PASSPHRASE": ""}, r"CREDENTIAL_PIPELINE_PASSPHRASE is not set: .*Set it to a long random text"),
        ({"PASSPHRASE": DEVELOPMENT_PASSPHRASE}, r"is the development passphrase .*Set it to a long random text"),
        ({"PASSPHRASE": PASSPHRASE, "PASPHRASE": "x"}, r"CREDENTIAL_PIPELINE_PASPHRASE is not a variable"),
    ],
    ids=["none", "empty", "of the samples", "misspelt"],
)
@pytest.mark.parametrize("command", ["run", "reconcile"])
def test_without_a_passphrase_of_its_own_nothing_is_begun(
    tmp_path: Path, command: str, environ: dict[str, str], said: str
) -> None:
    write_starter(tmp_path / "college")
    told = call(
        command, "--json", "--institution", str(tmp_path / "college"), "--home", str(tmp_path / "home"), **environ
    )
    assert (told.code, told.stdout) == (2, "")
    assert re.search(said, told.stderr)
    assert not (tmp_path / "home").exists()


def test_another_passphrase_than_the_one_it_was_made_with_is_refused(college: College) -> None:
    arguments = ("run", *DATED, "--institution", str(college.directory), "--home", str(college.home), "--json")
    told = call(*arguments, PASSPHRASE="not the one")
    assert told.code == 1
    assert "the passphrase does not open the secrets directory" in told.result["failures"][0]
    assert told.result["already_issued"] == 5


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--day", "2024-12-31"), "no day 2024-12-31: days run from history_from (2025-01-01, in institution.yaml)"),
        (("--day", "2999-01-01"), "no day 2999-01-01: days run from history_from"),
        (("--day", "yesterday"), "'yesterday' is not a day; write it as YYYY-MM-DD"),
        (("--as-of", "2999-01-01T00:00:00Z"), "is in the future (now "),
        (("--as-of", "2026-03-02T10:00:00"), "has no time zone; write it as 2026-03-02T10:00:00Z"),
        (("--as-of", "noon"), "'noon' is not an instant; write it as 2026-01-31T12:00:00Z"),
    ],
    ids=lambda value: value[1] if isinstance(value, tuple) else "",
)
def test_a_day_or_instant_that_cannot_be_is_refused(college: College, arguments: tuple[str, ...], said: str) -> None:
    told = college.call("run", "--json", *arguments)
    assert (told.code, told.stdout) == (2, "")
    assert said in told.stderr


def test_an_instant_before_the_key_began_issues_nothing_and_says_why(college: College) -> None:
    told = college.call("run", "--json", "--day", "2026-03-02", "--as-of", "2026-03-01T10:00:00Z")
    assert told.code == 1
    assert told.result["issued"] == 0
    said = (
        "no signing key had started at 2026-03-01T10:00:00+00:00; the first starts at 2026-03-02T10:00:00+00:00: "
        "give a later --as-of"
    )
    assert f"plans: {said}" in told.result["failures"]
    assert said in told.stderr


def test_the_environment_is_honoured_and_options_win_over_it(college: College, tmp_path: Path) -> None:
    named = {"INSTITUTION": str(college.directory), "HOME": str(college.home), "PASSPHRASE": PASSPHRASE}
    assert call("check", "--json", **named).result["institution"] == "riverside-college"
    sample = str(REPOSITORY / "samples" / "northfield")
    assert call("check", "--json", "--institution", sample, **named).result["institution"] == "northfield"

    ours = college.call("database-url").stdout
    assert call("database-url", **named).stdout == ours
    elsewhere = {**named, "HOME": str(tmp_path / "elsewhere"), "INSTITUTION": sample}
    options = ("--institution", str(college.directory), "--home", str(college.home))
    assert call("database-url", *options, **elsewhere).stdout == ours
    assert not (tmp_path / "elsewhere").exists()


def test_any_postgresql_by_url(college: College, database_url: str, tmp_path: Path) -> None:
    home = tmp_path / "home"
    told = call(
        "database-url", "--institution", str(college.directory), "--home", str(home), "--json",
        DATABASE_URL=database_url, PASSPHRASE=PASSPHRASE,
    )  # fmt: skip
    assert told.result == {"database_url": database_url}
    assert not (home / "postgres").exists()
    sample = call("reconcile", "--institution", str(REPOSITORY / "samples" / "northfield"), DATABASE_URL=database_url)
    assert sample.code == 2
    assert "this database belongs to the institution riverside-college, not to northfield" in sample.stderr


@pytest.mark.parametrize("command", [("reconcile",), ("explain", "x"), ("run",)], ids=lambda command: command[0])
def test_a_database_that_does_not_answer_is_told_without_its_password(
    college: College, tmp_path: Path, command: tuple[str, ...]
) -> None:
    told = call(
        *command, "--json", "--institution", str(college.directory), "--home", str(tmp_path),
        DATABASE_URL="postgresql://clerk:hunter2@127.0.0.1:1/ledger", PASSPHRASE=PASSPHRASE,
    )  # fmt: skip
    assert (told.code, told.stdout) == (2, "")
    assert "the database does not answer" in told.stderr
    assert "hunter2" not in told.stderr


def test_reconcile_adds_up_until_an_object_is_deleted(college: College) -> None:
    in_order = college.call("reconcile", "--json")
    assert (in_order.code, in_order.result["differences"]) == (0, [])
    assert "everything adds up" in in_order.stderr
    victim = next((college.home / "site" / "credentials").glob("*.json"))
    credential = college.call("explain", victim.stem, "--json").result["credential"]["credential_id"]
    kept = victim.read_bytes()
    try:
        victim.unlink()
        told = college.call("reconcile", "--json")
        assert told.code == 1
        (difference,) = told.result["differences"]
        assert difference["expected"] - difference["found"] == 1
        assert credential in difference["where"]
        assert credential in told.stderr
        assert "they are gone from the target: publish again" in told.stderr
        assert college.call("reconcile").code == 1
    finally:
        victim.write_bytes(kept)
    assert college.call("reconcile", "--day", "2026-03-02").code == 0


def test_explain_tells_the_chain_as_text_and_as_json(college: College) -> None:
    public_id = college.credentials[0].stem
    chain = college.call("explain", public_id, "--json")
    assert chain.code == 0
    assert chain.result["credential"]["public_id"] == public_id
    assert chain.result["evidence"][0]["file"] == "completions.csv"
    text = college.call("explain", f"https://credentials.riverside-college.example/credentials/{public_id}.json")
    assert (text.code, text.stderr) == (0, "")
    assert text.stdout.startswith("credential\n")
    assert f"row_hash={chain.result['evidence'][0]['row_hash']}" in text.stdout
    unknown = college.call("explain", "a" * 26, "--json")
    assert (unknown.code, unknown.stdout) == (2, "")
    assert "give a credential (credential_id, public id or URL)" in unknown.stderr


def test_database_url_can_be_connected_to_until_it_is_stopped(college: College) -> None:
    told = college.call("database-url")
    assert (told.code, told.stderr) == (0, "")
    url = told.stdout.strip()
    with psycopg.connect(url) as connection:
        assert connection.execute("select count(*) from ledger.credential").fetchone() == (5,)
    try:
        assert college.call("database-url", "--stop").stdout == "stopped\n"
        assert not embedded.is_running(college.home / "postgres")
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(url, connect_timeout=5)
        assert college.call("database-url", "--stop").code == 0
        # A command that has to start the server leaves none running.
        assert college.call("reconcile").code == 0
        assert not embedded.is_running(college.home / "postgres")
    finally:
        assert college.call("database-url").code == 0


def test_a_word_that_is_no_command_or_option_is_a_usage_error() -> None:
    for arguments in (("isue",), ("run", "--dya", "2026-03-02"), ("explain",)):
        told = call(*arguments)
        assert (told.code, told.stdout) == (2, "")
        assert "Usage:" in told.stderr

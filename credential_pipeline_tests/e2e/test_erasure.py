"""Erasure through everything: Dagster's run, the command, the published site, a second run, and a bucket's versions."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from credential_pipeline.report.leftovers import search
from credential_pipeline.report.models import build, load_project, run_tests
from credential_pipeline.store.objects import open_store
from credential_pipeline.store.postgres import open_engine
from credential_pipeline_tests.conftest import REPOSITORY
from credential_pipeline_tests.e2e.college import GOOD, HEADER, USERS, write_college
from credential_pipeline_tests.e2e.conftest import House
from credential_pipeline_tests.store.seaweed import Bucket, bucket, s3_server
from credential_pipeline_tests.terminal import Told, call

__all__ = ["bucket", "s3_server"]

ERASED = ("Ada Lovelace-Byron", "ada.byron@college.example", "ADA-4711", "lms:ADA-4711")
LATER = "2026-03-03T10:00:00Z"
AT = "2026-03-03T12:00:00Z"
ERASING = ("--reason", "request 17", "--actor", "registrar", "--as-of", LATER)


@pytest.fixture
def college(new_house: Callable[..., House], tmp_path: Path) -> House:
    """Ada beside ten others; a bad row of hers too, and one in another file."""
    data = write_college(tmp_path / "college")
    (data / "users.csv").write_text(USERS + "ADA-4711,Ada Lovelace-Byron,Ada.Byron@college.example\n")
    rows = [*GOOD, "ADA-4711,C1,2025FA,2025-12-11,99,passed", "ADA-4711,C1,2026SP,tomorrow,99,passed"]
    (data / "completions.csv").write_text(HEADER + "\n".join(rows) + "\n")
    (data / "completions_more.csv").write_text(HEADER + "ADA-4711,C2,2025FA,2025-12-12,12,failed\n")
    return new_house(tmp_path / "college")


def cli(house: House, *arguments: str) -> Told:
    settings = house.settings
    return call(
        *arguments, "--institution", str(settings.institution_dir), "--home", str(settings.home),
        DATABASE_URL=str(settings.database_url),
    )  # fmt: skip


def left(house: House, engine: Engine) -> list[str]:
    store = open_store(house.settings.institution.targets.site, house.settings.home)
    found = search(engine, ERASED, store=store, folders=[house.settings.home])
    assert found.columns > 200  # Dagster's own tables lie in the same database
    assert found.objects > 20
    return [str(leftover) for leftover in found.leftovers]


def kept_document(house: House) -> tuple[str, bytes]:
    """What Ada has on her disk: her published credential."""
    [(name, data)] = [(n, d) for n, d in house.credentials().items() if b"Lovelace" in d]
    return name, data


def metrics_add_up(engine: Engine) -> None:
    project = load_project(REPOSITORY / "dbt_like_sql")
    build(engine, project, "metrics")
    assert {test.name: test.failures for test in run_tests(engine, project) if test.failures} == {}


def test_a_person_is_gone_from_database_site_and_every_later_run(college: House, tmp_path: Path) -> None:
    assert college.run().succeeded
    engine = open_engine(str(college.settings.database_url))
    name, document = kept_document(college)
    state = college.site / "state" / name
    assert left(college, engine)

    dry = cli(college, "erase", "lms:ADA-4711", "--dry-run", "--json")
    assert dry.code == 0
    assert kept_document(college) == (name, document)
    done = cli(college, "erase", "lms:ADA-4711", *ERASING, "--prove", "--json")
    assert done.code == 0, done.stderr
    assert done.result["counts"] == dry.result["counts"]
    assert done.result["counts"]["landed.row"] == 4
    assert done.result["search"]["clean"]
    # Every address it could have had: a publisher that was killed may have left either form.
    stem = f"https://badges.college.example/credentials/{name.removesuffix('.json')}"
    assert done.result["taken_away"] == [f"{stem}.json", f"{stem}.jwt"]
    for said in (done.stdout, done.stderr):
        assert not any(text in said for text in ERASED[:2])
    assert left(college, engine) == []

    # The document is gone, its state and its bit say so, whoever kept a copy cannot pass it off.
    assert name not in college.credentials()
    assert len(college.credentials()) == 10
    assert json.loads(state.read_bytes())["state"] == "withdrawn"
    copy = tmp_path / "copy.json"
    copy.write_bytes(document)
    verdict = call("verify", str(copy), "--site", str(college.site), "--at", AT, "--json")
    assert verdict.result["verdicts"] == {"revoked": 1}
    assert cli(college, "reconcile", "--full").code == 0
    assert cli(college, "reconcile", "--json").result["erased"] == 1
    metrics_add_up(engine)

    # The source still has her: the same files, and one with new rows of hers and of another.
    data = college.settings.data
    (data / "completions_march.csv").write_text(
        HEADER + "ADA-4711,C1,2026SP,2026-03-01,80,passed\nU1,C1,2026SP,2026-03-01,80,passed\n"
    )
    again = college.run()
    assert again.succeeded
    assert left(college, engine) == []
    assert len(college.credentials()) == 11
    assert cli(college, "reconcile", "--full").code == 0
    assert cli(college, "reconcile", "--json").result["erased_rows"] == 4
    metrics_add_up(engine)
    engine.dispose()


def test_a_second_erasure_finds_nothing_and_finishes_one_that_was_killed(college: House) -> None:
    college.stages()
    name, document = kept_document(college)
    first = cli(college, "erase", "lms:ADA-4711", *ERASING, "--json")
    assert first.code == 0
    # As if the process had been killed between erasing and taking away, or between sending and recording.
    (college.site / "credentials" / name).write_bytes(document)
    assert cli(college, "reconcile").code == 1
    second = cli(college, "erase", first.result["person_id"], *ERASING, "--json", "--prove", "--seek", ERASED[0])
    assert second.code == 0, second.stderr
    assert (second.result["counts"], second.result["erased_before"]) == ({}, True)
    assert name not in college.credentials()
    assert cli(college, "reconcile").code == 0


def test_what_the_command_needs_and_refuses(college: House) -> None:
    college.stages()
    before = college.credentials()
    for arguments, code, said in (
        ((), 2, "--reason TEXT and --actor ID"),
        (("--reason", "x"), 2, "--reason TEXT and --actor ID"),
        (("--reason", "Ada Lovelace-Byron asked", "--actor", "registrar"), 2, "repeats the person's name"),
        ((*ERASING, "--seek", "x"), 2, "give --prove too"),
    ):
        told = cli(college, "erase", "lms:ADA-4711", *arguments)
        assert (told.code, told.stdout) == (code, "")
        assert said in told.stderr
    assert "nobody is known by that name" in cli(college, "erase", "lms:NOBODY", *ERASING).stderr
    assert college.credentials() == before


def test_what_is_left_makes_the_command_fail_and_is_named(college: House) -> None:
    """A namesake among the others: no program can know whose name it is, so a person is told where to look."""
    users = college.settings.data / "users.csv"
    users.write_text(users.read_text() + "U11,Ada Lovelace-Byron,other@college.example\n")
    college.stages()
    told = cli(college, "erase", "lms:ADA-4711", *ERASING, "--prove", "--json")
    assert told.code == 1
    places = {line.partition(":")[0] for line in told.result["search"]["leftovers"]}
    assert places == {"accepted.row.fields", "identity.source_record.full_name", "landed.row.cells"}


def test_the_audit_log_is_exported_by_command(college: House, tmp_path: Path) -> None:
    college.stages()
    person = cli(college, "erase", "lms:ADA-4711", *ERASING, "--json").result["person_id"]
    lines = cli(college, "audit").stdout.splitlines()
    entries: list[dict[str, Any]] = [json.loads(line) for line in lines]
    assert {entry["log"] for entry in entries} == {"event", "action"}
    assert [entry["at"] for entry in entries] == sorted(entry["at"] for entry in entries)
    assert not any(text in line for text in ERASED for line in lines)
    about = cli(college, "audit", "--subject", f"person:{person}", "--json").result["entries"]
    assert [entry["kind"] for entry in about] == ["issued", "published", "withdrawn", "erased"]
    assert (about[-1]["actor"], about[-1]["reason"]) == ("registrar", "request 17")
    output = tmp_path / "audit.jsonl"
    told = cli(college, "audit", "--output", str(output), "--json")
    assert told.result == {"entries": len(entries), "output": str(output)}
    assert output.read_text().splitlines() == lines
    assert cli(college, "audit", "--until", "2000-01-01").stdout == ""
    assert cli(college, "audit", "--subject", "nonsense").code == 2


def test_every_version_in_a_bucket_that_keeps_versions_goes(bucket: Bucket, tmp_path: Path) -> None:
    client = bucket.server.client()
    client.put_bucket_versioning(Bucket=bucket.name, VersioningConfiguration={"Status": "Enabled"})
    store = open_store(f"s3://{bucket.name}/site", tmp_path, options=bucket.server.options)
    for path in ("credentials/a.json", "credentials/a.json.b"):
        for n in range(3):
            store.put(path, str(n).encode())
    store.delete("credentials/a.json")
    assert len(client.list_object_versions(Bucket=bucket.name)["Versions"]) == 6
    store.delete_every_version("credentials/a.json")
    found = client.list_object_versions(Bucket=bucket.name)
    assert {version["Key"] for version in found["Versions"]} == {"site/credentials/a.json.b"}
    assert len(found["Versions"]) == 3
    assert found.get("DeleteMarkers", []) == []
    assert store.get("credentials/a.json.b") == b"2"


def test_a_bucket_without_versions_needs_nothing_else(bucket: Bucket, tmp_path: Path) -> None:
    store = open_store(f"s3://{bucket.name}/site", tmp_path, options=bucket.server.options)
    store.put("credentials/a.json", b"a")
    store.delete_every_version("credentials/a.json")
    assert store.get("credentials/a.json") is None
    store.delete_every_version("credentials/a.json")

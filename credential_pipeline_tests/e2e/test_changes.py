"""Credentials that change after they were issued: a registrar's commands in a shell, and who verifies then."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from credential_pipeline.credential.status_list import decode, is_set
from credential_pipeline.runtime import open_runtime, system_clock
from credential_pipeline_tests.e2e.college import CATALOGUE, GOOD, HEADER, write_college
from credential_pipeline_tests.e2e.conftest import House
from credential_pipeline_tests.e2e.lasting import lasting_houses
from credential_pipeline_tests.terminal import Told, call, shell

SAFETY = """\
  - id: safety
    name: Safety
    type: Certificate
    description: Safe at work.
    criteria: Passed C2.
    earned_by:
      - {dataset: lms.completions, where: {course: C2, outcome: passed}, awarded_on: done}
    occurrence: once
    status_purpose: suspension
"""
BASE = "https://badges.college.example"
SAID_BY = ("--actor", "registrar")


@dataclass(frozen=True)
class Registry:
    """A college that has issued; its commands, and what it has published."""

    house: House
    directory: Path

    @property
    def where(self) -> tuple[str, ...]:
        return "--institution", str(self.directory), "--home", str(self.house.settings.home)

    @property
    def database(self) -> str:
        return self.house.settings.database_url or ""

    def shell(self, *arguments: str) -> Told:
        """In a process of its own."""
        return shell(*arguments, *self.where, DATABASE_URL=self.database)

    def call(self, *arguments: str) -> Told:
        """In this process."""
        return call(*arguments, *self.where, DATABASE_URL=self.database)

    def credential(self, achievement: str, person: str) -> str:
        """The public id of a person's first version."""
        with open_runtime(self.house.settings) as runtime, runtime.engine.connect() as connection:
            found: str = connection.scalar(
                text(
                    "select c.public_id from ledger.credential c join identity.source_record r using (person_id)"
                    " where c.achievement = :achievement and r.source_key = :key and c.cause = 'issue'"
                ),
                {"achievement": achievement, "key": f"lms:{person}"},
            )
            return found

    def read(self, path: str) -> Any:
        return json.loads((self.house.site / path).read_bytes())

    def verify(self, public: str) -> dict[str, Any]:
        """The verdict on a published credential, and what each check says."""
        path = self.house.site / "credentials" / f"{public}.json"
        told = call("verify", str(path), "--json")
        if told.code == 0:
            return {"verdict": "valid"}
        [refused] = told.result["refused"]
        return dict(refused)

    def bit(self, public: str) -> bool:
        entry = self.read(f"credentials/{public}.json")["credentialStatus"]
        encoded = self.read(entry["statusListCredential"].removeprefix(f"{BASE}/"))["credentialSubject"]["encodedList"]
        return is_set(decode(encoded), int(entry["statusListIndex"]))

    def reconciled(self) -> Any:
        told = self.call("reconcile", "--json")
        assert told.code == 0, told.result["differences"]
        return told.result


@pytest.fixture(scope="module")
def registry(server_url: str, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """Ten first courses, and safety for U1 and U2."""
    top = tmp_path_factory.mktemp("changes")
    data = write_college(top / "college")
    (top / "college" / "catalogue" / "courses.yaml").write_text(CATALOGUE + SAFETY)
    rows = [*GOOD, *(f"U{n},C2,2025FA,2025-12-{n:02d},80,passed" for n in (1, 2))]
    (data / "completions.csv").write_text(HEADER + "\n".join(rows) + "\n")
    with lasting_houses(server_url, template, top) as make:
        house = make(top / "college")
        # The commands know no other clock than the machine's: what they meet must be published by it too.
        assert house.stages(as_of=system_clock()).counts.issued == 12
        yield Registry(house, top / "college")


def test_a_revoked_credential_is_revoked_for_whoever_verifies_it(registry: Registry) -> None:
    public = registry.credential("first-course", "U1")
    told = registry.shell("revoke", public, "--reason", "exam annulled", *SAID_BY, "--json")
    assert told.code == 0, told.stderr
    assert (told.result["state"], told.result["done"], told.result["published"]) == ("applied", 1, True)
    [line] = told.result["lines"]
    assert (line["url"], line["before"], line["after"]) == (f"{BASE}/credentials/{public}.json", "current", "revoked")
    assert f"{public}.json  first-course  current -> revoked" in told.stderr

    assert registry.verify(public)["verdict"] == "revoked"
    assert (registry.read(f"state/{public}.json")["state"], registry.bit(public)) == ("revoked", True)
    chain = registry.call("explain", public, "--json").result
    assert chain["credential"]["state"] == "revoked"
    assert [(e["kind"], e["actor"], e["reason"]) for e in chain["events"]][-1] == (
        "revoked", "registrar", "exam annulled",
    )  # fmt: skip
    again = registry.call("revoke", public, "--reason", "exam annulled", *SAID_BY)
    assert (again.code, again.stdout) == (0, "1 done before\nrevoke: nothing to do\n")
    registry.reconciled()


def test_a_corrected_credential_leads_to_its_successor(registry: Registry) -> None:
    public = registry.credential("first-course", "U2")
    before = registry.read(f"credentials/{public}.json")
    command = ("correct", public, "--name", "Right Name", "--result", "score=99", "--reason", "regraded", *SAID_BY)
    tried = registry.call(*command, "--dry-run")
    assert tried.code == 0
    assert "      result:score: 62 -> 99\n" in tried.stdout
    assert registry.verify(public)["verdict"] == "valid"

    told = registry.shell(*command, "--json")
    assert told.code == 0, told.stderr
    assert told.result["done"] == 1
    successor = told.result["lines"][0]["superseded_by"]
    found = registry.verify(public)
    assert found["verdict"] == "superseded"
    assert successor in json.dumps(found)
    assert (registry.read(f"state/{public}.json")["supersededBy"], registry.bit(public)) == (successor, True)

    by = successor.rpartition("/")[2].removesuffix(".json")
    after = registry.read(f"credentials/{by}.json")
    assert registry.verify(by)["verdict"] == "valid"
    assert not registry.bit(by)
    assert after["awardedDate"] == before["awardedDate"]
    assert [r["value"] for r in after["credentialSubject"]["result"]] == ["99"]
    assert "Right Name" in {i["identityHash"] for i in after["credentialSubject"]["identifier"]}
    chain = registry.call("explain", by, "--json").result
    assert chain["credential"]["cause"].startswith("correction:")
    assert (chain["plan_line"]["action"], chain["plan_line"]["created_by"]) == ("replace", "registrar")
    assert [row["file"] for row in chain["evidence"]] == ["completions.csv"]
    assert registry.read(f"credentials/{public}.json") == before
    registry.reconciled()


def test_suspended_is_no_more_valid_until_it_is_reinstated(registry: Registry) -> None:
    public = registry.credential("safety", "U1")
    seen = []
    for command in ("suspend", "reinstate", "suspend", "revoke"):
        told = registry.call(command, public, "--reason", "under investigation", *SAID_BY)
        assert told.code == 0, told.stderr
        assert told.stdout.endswith(f"{command}: 1 done, published\n")
        state = registry.read(f"state/{public}.json")["state"]
        seen.append((registry.verify(public)["verdict"], state, registry.bit(public)))
    assert seen == [
        ("suspended", "suspended", True), ("valid", "current", False), ("suspended", "suspended", True),
        ("revoked", "revoked", True),
    ]  # fmt: skip
    registry.reconciled()
    refused = registry.call("suspend", registry.credential("first-course", "U3"), "--reason", "x", *SAID_BY)
    assert (refused.code, refused.stdout) == (2, "")
    assert "its status list is for revocation" in refused.stderr


def test_files_and_queries_and_what_is_not_published_at_once(registry: Registry, tmp_path: Path) -> None:
    four, five = (registry.credential("first-course", f"U{n}") for n in (4, 5))
    (tmp_path / "right.csv").write_text(f"url,result:score\n{BASE}/credentials/{four}.json,90\n{five},101\n")
    told = registry.call(
        "correct", "--file", str(tmp_path / "right.csv"), "--reason", "regraded", *SAID_BY, "--no-publish", "--json"
    )
    assert told.code == 1
    assert (told.result["done"], told.result["published"]) == (1, None)
    assert list(told.result["refused"]) == ["right.csv:3: the result '101' of 'Score' is outside 0 to 100"]
    assert registry.read(f"state/{four}.json")["state"] == "current"
    told = registry.call(
        "revoke", "--achievement", "first-course", "--source-key", "lms:U5", "--awarded-to", "2025-12-31",
        "--reason", "x", *SAID_BY, "--json",
    )  # fmt: skip
    assert (told.code, told.result["done"]) == (0, 1)
    assert "lms:U5" not in told.result["scope"]
    assert {registry.read(f"state/{one}.json")["state"] for one in (four, five)} == {"superseded", "revoked"}
    registry.reconciled()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("revoke", "x", *SAID_BY), "Missing option '--reason'"),
        (("revoke", "x", "--reason", "r"), "Missing option '--actor'"),
        (("revoke", "--reason", "r", *SAID_BY), "say which credentials"),
        (("revoke", "abc", "--reason", "r", *SAID_BY), "no credential of this ledger is called 'abc' (argument 1)"),
        (("correct", "abc", "--reason", "r", *SAID_BY), "say what is right"),
        (("correct", "--reason", "r", *SAID_BY), "give a CREDENTIAL and what is right about it"),
        (("correct", "abc", "--result", "score", "--reason", "r", *SAID_BY), "write each result once, as ID=VALUE"),
    ],
)
def test_a_wrong_command_is_a_sentence_and_changes_nothing(
    registry: Registry, arguments: tuple[str, ...], told: str
) -> None:
    found = registry.call(*arguments)
    assert (found.code, found.stdout) == (2, "")
    assert told in found.stderr

"""The chain from a credential back to the line of a file: each link compared with the database, files and site."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from credential_pipeline.credential import identifiers
from credential_pipeline.errors import Terminal
from credential_pipeline.institution.load import load_institution
from credential_pipeline.report.explain import as_text, explain
from credential_pipeline.store.postgres import open_engine
from credential_pipeline_tests.e2e.college import CATALOGUE, HEADER, INSTITUTION, write_college
from credential_pipeline_tests.e2e.conftest import AS_OF, DAY, House
from credential_pipeline_tests.e2e.lasting import lasting_houses

STAFF = """\
  - id: hr
    kind: files
    system: hr
    name: Human Resources
    datasets:
      - id: employees
        role: people
        files: employees.csv
        columns: {person: number, full_name: name, staff: card}
        identifiers: {staff_card: staff}
        gate:
          checks:
            - {check: required, field: person}
            - {check: unique, fields: [person]}
"""
# The course's name is taken from another file, so that a row of evidence has rows it was completed from.
LOOKUP = """\
        derive:
          - {rule: lookup, field: title, dataset: lms.courses, match: {course: course}, take: title}
        gate:
          reject_limit"""

USERS = ("id,name,email,card,note", 'U2,Grace Hopper,grace@college.example,,"of two\nlines"',
         "U1,Ada Lovelace,ada@college.example,X-17,", "U3,Alan Turing,alan@college.example,,")  # fmt: skip
EMPLOYEES = ("number,name,card", "E9,Katherine Johnson,X-3", "E5,Ada Lovelace,x17")
COURSES = ("code,title", "C2,Second", "C1,First")
FIRST_FILE = ("U2,C1,2025FA,2025-12-02,62,passed", '"U3",C1,2025FA,2025-12-03,30,failed')
LATE_FILE = ("U3,C1,2026SP,2026-02-03,90,passed", '"U1","C1",2026SP,2026-02-01, 77 ,passed')


def write_explained_college(directory: Path) -> Path:
    """A person with two source records, evidence completed from another file, a record of two lines above hers."""
    data = write_college(directory)
    people = "columns: {person: id, full_name: name, email: email}"
    configured = (
        INSTITUTION.replace("FILES", "completions*.csv")
        .replace(people, "columns: {person: id, full_name: name, email: email, staff: card}\n        "
                         "identifiers: {staff_card: staff}")
        .replace("columns: {course: code}", "columns: {course: code, title: title}")
        .replace("        gate:\n          reject_limit", LOOKUP)
    )  # fmt: skip
    (directory / "institution.yaml").write_text(configured + STAFF)
    write_lines(data / "users.csv", *USERS)
    write_lines(data / "employees.csv", *EMPLOYEES)
    write_lines(data / "courses.csv", *COURSES)
    write_lines(data / "completions.csv", HEADER.strip(), *FIRST_FILE)
    return data


def write_lines(path: Path, *lines: str) -> None:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


@dataclass(frozen=True)
class Explained:
    """A college whose third run has issued Ada a credential, and the house it did that in."""

    house: House
    data: Path
    engine: Engine
    ada: str

    def chain(self, name: str | None = None) -> dict[str, Any]:
        return explain(self.engine, self.ada if name is None else name)

    def one(self, statement: str, **parameters: object) -> Any:
        with self.engine.connect() as connection:
            return connection.execute(text(statement), parameters).one()


@pytest.fixture(scope="module")
def explained(server_url: str, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Explained]:
    directory = tmp_path_factory.mktemp("explained")
    data = write_explained_college(directory / "college")
    with lasting_houses(server_url, template, directory) as new_house:
        house = new_house(directory / "college")
        house.stages(run_id="run-1")
        write_lines(data / "completions_late.csv", HEADER.strip(), *LATE_FILE)
        assert house.stages(run_id="run-2").counts.issued == 2
        # The catalogue of today is not the one that Ada's credential was issued by.
        catalogue = directory / "college" / "catalogue" / "courses.yaml"
        catalogue.write_text(CATALOGUE.replace("course: C1,", "course: [C1, C2],"))
        house.settings = replace(house.settings, institution=load_institution(directory / "college"))
        house.stages(run_id="run-3")
        engine = open_engine(str(house.settings.database_url))
        with engine.connect() as connection:
            ada = connection.scalar(
                text(
                    "select c.credential_id::text from ledger.credential c join identity.source_record s"
                    " using (person_id) where s.source_key = 'lms:U1'"
                )
            )
        yield Explained(house, data, engine, str(ada))
        engine.dispose()


def row_of_file(data: Path, file: str, number: int) -> dict[str, str]:
    """The n-th record below the header, read by another reader than the pipeline's."""
    with (data / file).open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))[number - 1]


def test_credential_and_plan_line(explained: Explained) -> None:
    chain = explained.chain()
    credential, line = chain["credential"], chain["plan_line"]
    published = explained.house.site / "credentials" / f"{credential['public_id']}.json"
    assert credential["document_sha256"] == hashlib.sha256(published.read_bytes()).hexdigest()
    document = json.loads(published.read_bytes())
    assert document["credentialSubject"]["achievement"]["id"].endswith(f"/{credential['achievement']}.json")
    assert document["credentialStatus"]["statusListIndex"] == str(credential["status_index"])
    assert document["credentialStatus"]["statusListCredential"].endswith(f"/{credential['list_number']}.json")
    assert (credential["as_of"], credential["state"], credential["run_id"]) == (AS_OF, "current", "run-2")
    assert (credential["occurrence"], str(credential["awarded_on"])) == ("2026SP", "2026-02-01")
    assert credential["award_id"] == identifiers.award_id(
        "college", chain["person"]["person_id"], "first-course", "2026SP"
    )
    assert credential["credential_id"] == identifiers.credential_id(credential["award_id"], "issue")

    stored = explained.one(
        "select p.hash, l.action, l.reasons, l.inputs, v.catalogue_version from ledger.credential c"
        " join ledger.plan_line l using (plan_id, ordinal) join ledger.plan p using (plan_id)"
        " join ledger.catalogue_version v using (catalogue_version) where c.credential_id = :id",
        id=explained.ada,
    )
    assert line["plan_hash"] == stored.hash.hex()
    assert (line["action"], line["reasons"], line["inputs"]) == (stored.action, stored.reasons, stored.inputs)
    assert (line["action"], line["reasons"], line["scope"], line["run_id"]) == (
        "create", ["earned"], f"day:{DAY}", "run-2",
    )  # fmt: skip
    assert [(a["kind"], a["approver"]) for a in line["approvals"]] == [
        ("catalogue", f"catalogue {stored.catalogue_version.hex()}")
    ]


def test_the_rule_is_the_one_of_the_catalogue_it_was_planned_with(explained: Explained, tmp_path: Path) -> None:
    rule = explained.chain()["rule"]
    now = load_institution(explained.house.settings.institution_dir).catalogue
    write_explained_college(tmp_path / "college")
    then = load_institution(tmp_path / "college").catalogue
    assert then.version != now.version
    assert rule["catalogue_version"] == then.version.hex()
    assert (rule["achievement"], rule["programme"]) == ("first-course", "courses")
    assert rule["earned_by"] == [r.model_dump(mode="json") for r in then.achievements["first-course"].earned_by]
    assert rule["earned_by"][0]["where"] == {"course": ["C1"], "outcome": ["passed"]}
    assert rule["occurrence"] == {"per": "term"}
    assert rule["approval"] == "auto"


def test_the_person_and_every_source_record_of_hers(explained: Explained) -> None:
    chain = explained.chain()
    person, records = chain["person"], chain["source_records"]
    assert person["person_id"] == identifiers.person_id("college", person["first_source_key"])
    assert (person["first_source_key"], person["first_day"], person["run_id"]) == ("hr:E5", DAY, "run-1")
    assert [(r["source_key"], r["link_rule"], r["file"], r["row"], r["run_id"]) for r in records] == [
        ("hr:E5", "first_sight", "employees.csv", 2, "run-1"),
        ("lms:U1", "shared_identifier", "users.csv", 2, "run-1"),
    ]
    assert {r["landed_on"] for r in records} == {DAY}
    for record, dataset, column in zip(records, ("hr.employees", "lms.users"), ("number", "id"), strict=True):
        cells = row_of_file(explained.data, record["file"], record["row"])
        assert record["source_key"].endswith(f":{cells[column]}")
        assert record["row_hash"] == identifiers.row_hash(dataset, cells).hex()


def test_the_row_that_earned_it_and_the_row_it_was_completed_from(explained: Explained) -> None:
    chain = explained.chain()
    assert [(e["part"], e["dataset"], e["file"], e["row"], e["run_id"]) for e in chain["evidence"]] == [
        ("earned by", "lms.completions", "completions_late.csv", 2, "run-2"),
        ("completed from", "lms.courses", "courses.csv", 2, "run-1"),
    ]
    for entry in chain["evidence"]:
        cells = row_of_file(explained.data, entry["file"], entry["row"])
        assert entry["row_hash"] == identifiers.row_hash(entry["dataset"], cells).hex()
    earned_by = chain["evidence"][0]
    cells = row_of_file(explained.data, earned_by["file"], earned_by["row"])
    assert (cells["user"], cells["course"], cells["term"]) == ("U1", "C1", "2026SP")
    assert chain["plan_line"]["inputs"]["row"] == earned_by["row_hash"]


def test_the_file_of_a_row_is_the_very_one_on_disk(explained: Explained) -> None:
    chain = explained.chain()
    for entry in (*chain["evidence"], *chain["source_records"]):
        digest = explained.one(
            "select f.digest from landed.file f join landed.row r using (file_id) where encode(r.row_hash, 'hex') = :h",
            h=entry["row_hash"],
        ).digest
        assert bytes(digest) == hashlib.sha256((explained.data / entry["file"]).read_bytes()).digest()


def test_its_events_in_order(explained: Explained) -> None:
    events = explained.chain()["events"]
    assert [(e["seq"], e["kind"], e["run_id"]) for e in events] == [(1, "issued", "run-2"), (2, "published", "run-2")]


def test_it_is_found_by_any_of_its_names(explained: Explained) -> None:
    chain = explained.chain()
    public_id = chain["credential"]["public_id"]
    base = explained.house.settings.institution.base_url
    for name in (
        public_id,
        f"{base}/credentials/{public_id}.json",
        f"{base}/c/{public_id}/",
        f" {explained.ada.upper()} ",
    ):
        assert explained.chain(name) == chain
    others = explained.one("select count(*) as n from ledger.credential where credential_id <> :id", id=explained.ada)
    assert others.n == 2


@pytest.mark.parametrize(
    "name",
    [
        "00000000-0000-0000-0000-000000000000",
        "a" * 26,
        "https://badges.college.example/credentials/x.json",
        "",
        "U1",
        "f" * 64,
        "completions.csv:99",
        "nothing.csv:1",
        "lms:U99",
        "2026-13-01x",
    ],
)
def test_a_name_of_nothing_is_told_what_to_give_instead(explained: Explained, name: str) -> None:
    with pytest.raises(Terminal) as caught:
        explained.chain(name)
    assert str(caught.value).startswith(f"nothing in this ledger is named {name!r}; give a credential (")


def test_as_text_each_link_is_named_and_nothing_personal_is_shown(explained: Explained) -> None:
    chain = explained.chain()
    told = as_text(chain)
    titles = [line for line in told.splitlines() if not line.startswith(" ")]
    assert titles == ["credential", "plan line", "rule", "person", "source records", "evidence", "events",
                      "publications"]  # fmt: skip
    assert "file=completions_late.csv  row=2" in told
    assert "source_key=lms:U1" in told
    for value in (chain["credential"]["public_id"], chain["rule"]["catalogue_version"], chain["plan_line"]["plan_hash"],
                  *(e["row_hash"] for e in chain["evidence"])):  # fmt: skip
        assert str(value) in told
    as_json = json.dumps(chain, default=str)
    for personal in ("Ada", "Lovelace", "ada@college.example", "X-17"):
        assert personal not in told
        assert personal not in as_json

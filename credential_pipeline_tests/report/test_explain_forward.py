"""Forward from a row, and the chains of person, batch and plan; all of it by index, however large the ledger is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import Engine, event, text

from credential_pipeline.issue.erase import erase_person
from credential_pipeline.report.explain import as_text, explain
from credential_pipeline.runtime import open_runtime
from credential_pipeline.store.postgres import open_engine
from credential_pipeline_tests.e2e.college import HEADER
from credential_pipeline_tests.e2e.conftest import AS_OF, DAY, House
from credential_pipeline_tests.e2e.lasting import lasting_houses
from credential_pipeline_tests.report.test_explain import write_explained_college

BIG = {"row", "file_row", "reason", "source_record", "person", "person_alias", "award", "decision", "plan_line",
       "hold", "credential", "credential_state", "event", "publication", "message", "action"}  # fmt: skip
"""Tables that grow with rows or credentials; the others have a row a file, plan, key or day."""


FIRST_PLAN = "select plan_id from ledger.plan order by recorded_at limit 1"
MORE = [f"U3,C1,{year}FA,{year}-12-03,90,passed" for year in range(2000, 2024)]


@dataclass(frozen=True)
class Told:
    house: House
    engine: Engine

    def one(self, statement: str, **parameters: object) -> Any:
        with self.engine.connect() as connection:
            return connection.execute(text(statement), parameters).scalar_one()

    def explain(self, name: str) -> dict[str, Any]:
        chain = explain(self.engine, name)
        for personal in ("Ada", "Lovelace", "Grace", "Hopper", "college.example", "X-17"):
            assert personal not in as_text(chain)
            assert personal not in json.dumps(chain, default=str)
        return chain


@pytest.fixture(scope="module")
def told(server_url: str, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    """Grace passed, Alan failed, and a third row has no date; Ada comes with a later file of the same day."""
    directory = tmp_path_factory.mktemp("forward")
    data = write_explained_college(directory / "college")
    completions = data / "completions.csv"
    completions.write_text(completions.read_text() + "U1,C1,2025FA,,50,passed\n" + "\n".join(MORE) + "\n")
    (data / "completions_late.csv").write_text(HEADER + '"U1","C1",2026SP,2026-02-01, 77 ,passed\n')
    with lasting_houses(server_url, template, directory) as new_house:
        house = new_house(directory / "college")
        house.stages(run_id="run-1")
        engine = open_engine(str(house.settings.database_url))
        yield Told(house, engine)
        engine.dispose()


def test_what_became_of_a_row_that_earned(told: Told) -> None:
    chain = told.explain("completions_late.csv:1")
    assert chain["row"]["verdict"] == "accepted"
    assert [(p["file"], p["row"], p["run_id"]) for p in chain["stands_in"]] == [("completions_late.csv", 1, "run-1")]
    assert [(r["dataset"], r["file"], r["row"]) for r in chain["completed_from"]] == [("lms.courses", "courses.csv", 2)]
    assert [(d["outcome"], d["achievement"]) for d in chain["decisions"]] == [("earning", "first-course")]
    assert [(n["action"], n["state"], n["scope"]) for n in chain["plan_lines"]] == [("create", "applied", f"day:{DAY}")]
    [credential] = chain["credentials"]
    assert (credential["state"], credential["occurrence"], credential["as_of"]) == ("current", "2026SP", AS_OF)
    assert [e["kind"] for e in chain["events"]] == ["issued", "published"]
    assert {(o["kind"], o["path"]) for o in chain["publications"]} == {
        ("credential", f"credentials/{credential['public_id']}.json"),
        ("state", f"state/{credential['public_id']}.json"),
    }
    assert "lms:U1" in {record["source_key"] for record in chain["source_records"]}
    assert "quarantine" not in chain


def test_what_became_of_a_row_that_earned_nothing_and_of_a_bad_one(told: Told) -> None:
    failed = told.explain("completions.csv:2")
    assert [(d["outcome"], d["reason"]) for d in failed["decisions"]] == [("skipped", "outcome=failed")]
    assert [(n["action"], n["state"]) for n in failed["plan_lines"]] == [("skip", "skipped")]
    assert not {"credentials", "events"} & set(failed)
    bad = told.explain("completions.csv:3")
    assert bad["row"]["verdict"] == "quarantined"
    assert [(q["code"], q["field"], q["resolved_at"]) for q in bad["quarantine"]] == [
        ("required_missing", "done", None)
    ]
    assert not {"accepted", "decisions", "plan_lines"} & set(bad)


def test_a_row_that_others_were_completed_from(told: Told) -> None:
    chain = told.explain("courses.csv:2")
    *rows, more = chain["completed_rows"]
    assert {(r["dataset"], r["file"]) for r in rows} == {("lms.completions", "completions.csv")}
    assert (len(rows), more) == (20, {"more": "yes"})


def test_a_row_is_found_by_its_hash_and_by_its_prefix(told: Told) -> None:
    chain = told.explain("completions_late.csv:1")
    assert told.explain(chain["row"]["row_hash"]) == chain
    assert told.explain("row:completions_late.csv:1") == chain


def test_the_newest_content_of_a_file_speaks(told: Told) -> None:
    """Another content under an old name: row 1 is another row, and what it was before is found by its hash."""
    told_before = told.explain("employees.csv:1")
    file = told.house.settings.data / "employees.csv"
    lines = file.read_text().splitlines()
    file.write_text("\n".join([lines[0], lines[2], lines[1]]) + "\n")
    try:
        told.house.stages(run_id="run-2")
        now = told.explain("employees.csv:1")
        assert now["row"]["row_hash"] != told_before["row"]["row_hash"]
        assert [p["row"] for p in now["stands_in"]] == [2, 1]
        assert [p["row"] for p in told.explain(told_before["row"]["row_hash"])["stands_in"]] == [1, 2]
    finally:
        file.write_text("\n".join(lines) + "\n")


def test_a_person_by_id_by_key_and_by_whom_it_was_merged_from(told: Told) -> None:
    chain = told.explain("lms:U1")
    assert told.explain(str(chain["person"]["person_id"])) == chain
    assert told.explain(f"person:{chain['person']['person_id']}") == chain
    assert [r["source_key"] for r in chain["source_records"]] == ["hr:E5", "lms:U1"]
    assert [(w["achievement"], w["occurrence"]) for w in chain["awards"]] == [("first-course", "2026SP")]
    assert [c["state"] for c in chain["credentials"]] == ["current"]
    assert told.explain(str(chain["awards"][0]["award_id"]))["credential"]["state"] == "current"


def test_the_batch_of_a_day(told: Told) -> None:
    chain = told.explain(str(DAY))
    assert told.explain(f"day:{DAY}") == chain
    assert ("lms.completions", "completions_late.csv", 1) in [
        (f["dataset"], f["file"], f["rows"]) for f in chain["files"]
    ]
    gate = {g["dataset"]: (g["landed"], g["accepted"], g["quarantined"]) for g in chain["gate"]}
    landed, accepted, quarantined = gate["lms.completions"]
    assert landed == accepted + quarantined
    assert [(p["kind"], p["approval"], p["state"]) for p in chain["plans"]] == [("issue", "auto", "applied")]
    assert chain["plans"][0]["counts"]["create"] == told.one("select count(*) from ledger.credential")


def test_a_plan_with_who_let_it_through(told: Told) -> None:
    plan = told.one(FIRST_PLAN)
    chain = told.explain(str(plan))
    assert chain["plan"]["state"] == "applied"
    assert chain["plan"]["hash"] == told.one("select encode(hash, 'hex') from ledger.plan order by recorded_at limit 1")
    assert [a["kind"] for a in chain["approvals"]] == ["catalogue"]
    assert chain["lines"][0]["ordinal"] == 0
    assert chain["status_blocks"][0]["purpose"] == "revocation"
    assert "open_lines" not in chain


def test_a_chain_with_thousands_shows_the_first_and_says_so(told: Told) -> None:
    chain = told.explain(str(told.one(FIRST_PLAN)))
    assert len(chain["lines"]) == 21
    assert chain["lines"][-1] == {"more": "yes"}


def names(told: Told) -> list[str]:
    """One name of each kind and form."""
    return [
        str(told.one("select credential_id from ledger.credential limit 1")),
        str(told.one("select public_id from ledger.credential limit 1")),
        str(told.one("select plan_id from ledger.plan limit 1")),
        str(told.one("select award_id from ledger.award limit 1")),
        str(told.one("select person_id from identity.person limit 1")),
        "lms:U1", str(DAY), "completions.csv:1", "completions.csv:3", "courses.csv:2", "users.csv:1",
        str(told.one("select encode(row_hash, 'hex') from landed.row limit 1")),
    ]  # fmt: skip


def test_no_query_reads_a_table_that_grows(told: Told) -> None:
    """With sequential scans forbidden the planner makes one only where no index helps: that would be minutes on a
    million.
    """
    asked: list[tuple[str, Any]] = []

    def note(_c: object, _u: object, statement: str, parameters: Any, *_: object) -> None:
        if statement.lstrip().startswith(("select", "\nselect")):
            asked.append((statement, parameters))

    event.listen(told.engine, "before_cursor_execute", note)
    try:
        for name in names(told):
            told.explain(name)
    finally:
        event.remove(told.engine, "before_cursor_execute", note)
    assert len(asked) > 80
    scanned = set()
    with told.engine.connect() as connection:
        connection.execute(text("set local enable_seqscan = off"))
        for statement, parameters in asked:
            [[plan]] = connection.exec_driver_sql(f"explain (format json) {statement}", parameters).all()
            scanned |= {(table, statement) for table in _scanned(plan[0]["Plan"]) if table in BIG}
    assert scanned == set()


def _scanned(node: dict[str, Any]) -> Iterator[str]:
    if node["Node Type"] == "Seq Scan":
        yield node["Relation Name"]
    for inner in node.get("Plans", ()):
        yield from _scanned(inner)


def test_what_is_told_after_an_erasure(told: Told) -> None:
    """Grace's rows are no other test's."""
    grace = told.explain("lms:U2")
    credential = grace["credentials"][0]["credential_id"]
    with open_runtime(told.house.settings, as_of=AS_OF) as runtime:
        erase_person(
            runtime.engine, runtime.institution, runtime.secrets, "lms:U2", reason="request 3", actor="registrar",
            run_id="erase-1",
        )  # fmt: skip
    row = told.explain("completions.csv:1")
    assert row["row"]["verdict"] == "quarantined"
    assert [q["code"] for q in row["quarantine"]] == ["erased"]
    assert [(c["state"], c["erased"]) for c in row["credentials"]] == [("withdrawn", "yes")]
    assert [e["reason"] for e in row["erasures"]] == ["request 3"]
    assert "source_records" not in row
    person = told.explain(str(grace["person"]["person_id"]))
    assert person["person"]["first_source_key"] == "erased"
    assert person["erasure"]["actor"] == "registrar"
    chain = told.explain(str(credential))
    assert (chain["credential"]["state"], chain["credential"]["erased"]) == ("withdrawn", "yes")
    assert [e["kind"] for e in chain["events"]] == ["issued", "published", "withdrawn"]
    assert told.explain("lms:U1")["source_records"]  # nobody else's went

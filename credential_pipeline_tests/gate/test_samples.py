"""Both sample institutions through their own gates: exactly the rows that are dirt, for exactly their reason."""

from __future__ import annotations

import json
from collections import Counter
from datetime import date
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from credential_pipeline.extract.files import extract_dataset
from credential_pipeline.gate.gate import GateResult, gate_dataset
from credential_pipeline.institution import Institution
from credential_pipeline_tests.oulad import write_oulad

NORTHFIELD = Path(__file__).parent.parent.parent / "samples" / "northfield"
DAY = date(2025, 9, 1)


def run(engine: Engine, institution: Institution, data: Path, day: date = DAY) -> dict[str, GateResult]:
    results = {}
    for dataset in institution.datasets:
        extract_dataset(engine, dataset, data, day, "run-1")
        results[dataset.name] = gate_dataset(engine, institution, dataset, day, "run-1")
    return results


def test_northfield(engine: Engine, northfield: Institution) -> None:
    truth = json.loads((NORTHFIELD / "truth.json").read_text(encoding="utf-8"))
    results = run(engine, northfield, NORTHFIELD / "data")
    with engine.connect() as connection:
        found = Counter(
            (row.name, row.row_number, row.code)
            for row in connection.execute(
                text(
                    "select f.name, r.row_number, q.code from quarantine.reason q"
                    " join landed.row r using (row_id) join landed.file f using (file_id)"
                )
            )
        )
    assert found == Counter((dirt["file"], dirt["row"], dirt["code"]) for dirt in truth["dirt"])
    evidence = [results[dataset.name] for dataset in northfield.datasets_of("evidence")]
    assert sum(result.landed for result in evidence) == truth["expected"]["landed"]
    assert sum(result.accepted for result in evidence) == truth["expected"]["accepted"]
    assert sum(result.quarantined for result in evidence) == truth["expected"]["quarantined"]
    assert not any(result.breach for result in results.values())


@pytest.mark.parametrize("full", [False, True])
def test_open_university(engine: Engine, open_university: Institution, tmp_path: Path, full: bool) -> None:
    facts = write_oulad(tmp_path, seed=3, registrations=300, full=full)
    results = run(engine, open_university, tmp_path)
    assert {name: result.quarantined for name, result in results.items()} == dict.fromkeys(results, 0)
    assert results["ou.registrations"].accepted == facts.landed
    with engine.connect() as connection:
        marks = {
            (row.fields["person"], row.fields["module"], row.fields["presentation"]): row.fields.get("mark")
            for row in connection.execute(
                text("select fields from accepted.row where dataset = 'ou.registrations' order by row_id")
            )
        }
    assert marks == facts.marks

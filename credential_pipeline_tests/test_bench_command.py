"""`bench proofs`: one JSON object, from an installed package, without a home, a database or an institution."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from credential_pipeline.bench.rows import facts_by_row, synthetic_rows
from credential_pipeline.cli import commands
from credential_pipeline.credential.document import open_badge_credential

KEYS = {
    *("rdfc_per_core_per_s", "dual_per_core_per_s", "pyld_per_s", "pyld_ratio", "limit_ratio"),
    *("verify_jcs_per_s", "verify_rdfc_per_s"),
}


def test_rates_and_ratios_are_the_last_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    told = CliRunner().invoke(commands, ["bench", "proofs", "--count", "200", "--json"], catch_exceptions=False)
    assert told.exit_code == 0
    found = json.loads(told.stdout.splitlines()[-1])
    assert {key for key in KEYS if not found[key] > 0} == set()
    assert 2800 < found["document_bytes"] < 3500
    # 100 on a quiet machine; the reference keeps contexts, and is twice as fast as pyld.
    assert found["pyld_ratio"] > (10 if found["implementation"] == "compiled" else 1)
    assert 0 < found["limit_ratio"] < 1
    assert list(tmp_path.iterdir()) == []


def test_the_made_up_rows_follow_from_the_seed_and_say_what_they_should() -> None:
    rows = synthetic_rows(100, seed=3, achievements=4)
    assert rows == synthetic_rows(100, seed=3, achievements=4)
    assert rows != synthetic_rows(100, seed=4, achievements=4)
    assert len({row.public_id for row in rows}) == 100
    document = open_badge_credential(facts_by_row()(rows[5]))
    subject = document["credentialSubject"]
    assert subject["achievement"]["id"].endswith("course-1.json")
    assert len(subject["result"]) == len(subject["achievement"]["alignment"]) == 2
    assert document["evidence"]

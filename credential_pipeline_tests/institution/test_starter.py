"""The starter is a whole institution: it loads, its rows go through, and it never overwrites anything."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pytest

from credential_pipeline.errors import Terminal
from credential_pipeline.institution.load import load_institution
from credential_pipeline.institution.starter import write_starter


def test_it_loads_and_is_a_real_institution(tmp_path: Path) -> None:
    written = write_starter(tmp_path / "a" / "Riverside College")
    institution = load_institution(tmp_path / "a" / "Riverside College")
    assert institution.id == "riverside-college"
    assert institution.base_url == "https://credentials.riverside-college.example"
    assert not institution.sample
    assert sorted(written) == sorted(p for p in (tmp_path / "a").rglob("*") if p.is_file())
    assert not [p for p in written if "your-organisation" in p.read_text(encoding="utf-8")]


def test_its_readme_counts_its_rows_rightly_and_names_the_passphrase(tmp_path: Path) -> None:
    write_starter(tmp_path / "college")
    with (tmp_path / "college" / "data" / "completions.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    fates = Counter(
        "quarantined" if float(row["score"] or 0) > 100 else "earns" if row["outcome"] == "completed" else "skipped"
        for row in rows
    )
    assert fates == {"earns": 5, "skipped": 1, "quarantined": 1}
    readme = (tmp_path / "college" / "README.md").read_text(encoding="utf-8")
    assert "Of the 7 invented completions 5 earn a credential, 1 was failed and is skipped, and 1 " in readme
    assert "CREDENTIAL_PIPELINE_PASSPHRASE" in readme


def test_every_mapped_column_and_every_file_is_there(tmp_path: Path) -> None:
    write_starter(tmp_path / "college")
    institution = load_institution(tmp_path / "college")
    for dataset in institution.datasets:
        (path,) = (tmp_path / "college" / institution.data).glob(dataset.dataset.files)
        header = path.read_text(encoding="utf-8").splitlines()[0].split(",")
        assert set(dataset.dataset.columns.values()) == set(header)


def test_it_is_the_same_each_time(tmp_path: Path) -> None:
    one, two = (write_starter(tmp_path / name, id="same_one") for name in ("one", "two"))
    assert [p.read_bytes() for p in one] == [p.read_bytes() for p in two]
    assert load_institution(tmp_path / "one").issuer_did == "did:web:credentials.same-one.example"


def test_an_empty_directory_will_do(tmp_path: Path) -> None:
    (tmp_path / "2024 intake").mkdir()
    write_starter(tmp_path / "2024 intake")
    assert load_institution(tmp_path / "2024 intake").id == "your-organisation"  # an id begins with a letter


def test_a_directory_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(Terminal, match="is not empty; name a new directory"):
        write_starter(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


def test_a_file_in_the_way_and_an_impossible_id_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    with pytest.raises(Terminal, match="cannot write"):
        write_starter(tmp_path / "file")
    with pytest.raises(Terminal, match="cannot be the id of an institution; write lower-case"):
        write_starter(tmp_path / "new", id="My College")
    assert not (tmp_path / "new").exists()

"""The OULAD-shaped generator against its own files, read back with other arithmetic."""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest

from credential_pipeline_tests.oulad import Facts, Registration, coursework_mark, is_earned, write_oulad

NAMES = ("assessments", "courses", "studentAssessment", "studentInfo", "studentRegistration")
Made = tuple[Facts, dict[str, list[dict[str, str]]]]


@pytest.fixture(scope="module", params=[False, True], ids=["reduced", "full"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    directory = tmp_path_factory.mktemp("oulad")
    return write_oulad(directory, seed=5, registrations=800, full=request.param), read(directory)


def read(directory: Path) -> dict[str, list[dict[str, str]]]:
    files = {}
    for name in NAMES:
        with (directory / f"{name}.csv").open(encoding="utf-8", newline="") as stream:
            files[name] = list(csv.DictReader(stream))
    return files


def test_same_seed_same_bytes(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_oulad(tmp_path / name, seed=seed, registrations=40)
    a, b, c = ({p.name: p.read_bytes() for p in (tmp_path / name).iterdir()} for name in "abc")
    assert a == b
    assert a != c
    assert set(a) == {f"{name}.csv" for name in NAMES}


def test_counts_are_those_of_the_files(made: Made) -> None:
    facts, files = made
    info = files["studentInfo"]
    results = Counter(row["final_result"] for row in info)
    assert facts.landed == len(info) == len(files["studentRegistration"]) == 800
    assert facts.earned == results["Pass"] + results["Distinction"]
    assert facts.skipped == {name: n for name, n in results.items() if not is_earned(name)}
    assert facts.holders == len({row["id_student"] for row in info if is_earned(row["final_result"])}) < facts.earned
    assert facts.results == {registration(row): row["final_result"] for row in info}
    modules = Counter((row["id_student"], row["code_module"]) for row in info)
    assert set(modules.values()) == {1}
    lengths = {(r["code_module"], r["code_presentation"]): r["module_presentation_length"] for r in files["courses"]}
    assert {offer: str(days) for offer, days in facts.ended_days.items()} == lengths


def registration(row: dict[str, str]) -> Registration:
    return row["id_student"], row["code_module"], row["code_presentation"]


def test_marks_are_those_of_the_files(made: Made) -> None:
    facts, files = made
    assessments = {row["id_assessment"]: row for row in files["assessments"]}
    scored = defaultdict(list)
    for row in files["studentAssessment"]:
        assessment = assessments[row["id_assessment"]]
        if row["score"] not in {"", "?"}:
            key = (row["id_student"], assessment["code_module"], assessment["code_presentation"])
            scored[key].append((Fraction(assessment["weight"]), Fraction(row["score"])))
    for key, mark in facts.marks.items():
        weights = sum(weight for weight, _ in scored[key])
        if not scored[key]:
            assert mark is None, key
            continue
        mean = (
            Fraction(sum(weight * score for weight, score in scored[key]), weights)
            if weights
            else Fraction(sum(score for _, score in scored[key]), len(scored[key]))
        )
        assert mark is not None, key
        assert Fraction(mark) == Fraction(round(mean * 10), 10), key  # round() of a fraction is half to even
        assert len(mark.partition(".")[2]) == 1, key


def test_the_quirks_are_there(made: Made) -> None:
    facts, files = made
    full = facts.skipped.get("Withdrawn", 0) > 0
    marks = files["studentAssessment"]
    scores = Counter(row["score"] for row in marks)
    assert scores["?" if full else ""] > 0
    assert not scores["" if full else "?"]
    assert {row["is_banked"] for row in marks} == {"0", "1"}
    assert len({(row["id_assessment"], row["id_student"]) for row in marks}) == len(marks)
    weights = defaultdict(list)
    for row in files["assessments"]:
        weights[row["code_module"], row["code_presentation"]].append(Decimal(row["weight"]))
    assert any(sum(w) == 0 for w in weights.values())
    assert any(0 < sum(w) < 100 or sum(w) > 100 for w in weights.values())
    assert facts.earned_without_mark >= 2
    assert any(row["assessment_type"] == "Exam" for row in files["assessments"]) == full
    assert any(row["code_presentation"].endswith("B") for row in files["courses"]) == full
    left = {
        row["id_student"] for row in files["studentRegistration"] if row["date_unregistration"].lstrip("-").isdigit()
    }
    assert bool(left) == full


@pytest.mark.parametrize(
    ("scored", "mark"),
    [
        ([], None),
        ([("10", "70"), ("20", "71")], "70.7"),
        ([("0", "70"), ("0", "71")], "70.5"),
        ([("1", "50"), ("3", "50.2"), ("0", "100")], "50.2"),  # 50.15: the even neighbour is above
        ([("1", "50"), ("1", "50.1")], "50.0"),  # 50.05: the even neighbour is below
        ([("12.5", "100"), ("17.5", "100")], "100.0"),
        ([("10", "0")], "0.0"),
    ],
)
def test_coursework_mark(scored: list[tuple[str, str]], mark: str | None) -> None:
    assert coursework_mark([(Decimal(weight), Decimal(score)) for weight, score in scored]) == mark

"""The sample generator against its own files: everything the truth claims is found again by reading them."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from datetime import date
from itertools import combinations
from pathlib import Path

import pytest

from samples.northfield.generator import EVIDENCE, PEOPLE, Truth, generate

NORTHFIELD = Path(__file__).parents[2] / "samples" / "northfield"
KEYS = {
    EVIDENCE["lms"]: ("user_id", "course_code", "term"),
    EVIDENCE["sis"]: ("student_id", "degree_code"),
    EVIDENCE["hr"]: ("employee_id", "course_code", "completed_on"),
}
COURSES = {
    EVIDENCE["lms"]: {"DATA-101", "DATA-201", "WEB-110", "STAT-210", "HIST-120", "ART-100", "LANG-ES1", "CYBER-150"},
    EVIDENCE["sis"]: {"BSC-CS", "BA-HIST", "MSC-DATA", "MD"},
    EVIDENCE["hr"]: {"SAFE-101", "GDPR-101", "ETHICS-101", "LAB-201"},
}
REQUIRED = {
    EVIDENCE["lms"]: ("user_id", "course_code", "term", "completed_on", "outcome"),
    EVIDENCE["sis"]: ("student_id", "degree_code", "conferred_on"),
    EVIDENCE["hr"]: ("employee_id", "course_code", "period", "completed_on", "outcome"),
}
CHOICES = {
    "outcome": {"completed", "failed", "incomplete", "passed"},
    "honours": {"none", "cum laude", "magna cum laude", "summa cum laude"},
    "status": {"active", "left"},
}
LARGEST = {"score": 100, "gpa": 4, "hours": 200}
NICKNAMES = {
    frozenset(name.lower() for name in pair)
    for pair in json.loads((NORTHFIELD / "generator" / "recipe.json").read_text("utf-8"))["name_pairs"]["nickname"]
}

Row = dict[str, str]
Files = dict[str, list[Row]]
Found = dict[tuple[str, int], set[str]]


def read(data: Path) -> Files:
    files: Files = {}
    for name in (*PEOPLE.values(), *EVIDENCE.values()):
        with (data / name).open(encoding="utf-8", newline="") as stream:
            files[name] = list(csv.DictReader(stream))
    return files


Made = tuple[Truth, Files]


@pytest.fixture(scope="module", params=[(50, 1), (400, 11), (2000, 7)], ids=lambda p: f"{p[0]}-people")
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    people, seed = request.param
    out = tmp_path_factory.mktemp("northfield") / "data"
    return generate(people, seed, out), read(out)


def contents(directory: Path) -> dict[str, bytes]:
    return {str(p.relative_to(directory)): p.read_bytes() for p in sorted(directory.rglob("*")) if p.is_file()}


def test_same_seed_same_bytes_other_seed_other_people(tmp_path: Path) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        generate(60, seed, tmp_path / name / "data")
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert len(contents(tmp_path / "a")) == 8
    a, c = contents(tmp_path / "a"), contents(tmp_path / "c")
    assert {name for name in a if a[name] == c[name]} == {"data/lms/courses.csv"}


def test_the_command_makes_the_data_of_the_repository(tmp_path: Path) -> None:
    # -S: no installed packages, only the standard library
    command = [sys.executable, "-S", str(NORTHFIELD / "generate.py"), "--out", str(tmp_path / "data")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert contents(tmp_path / "data") == contents(NORTHFIELD / "data"), "run samples/northfield/generate.py again"
    truth = (tmp_path / "truth.json").read_bytes()
    assert truth == (NORTHFIELD / "truth.json").read_bytes()
    assert json.loads(done.stdout) == json.loads(truth)["expected"]
    assert sum(map(len, contents(tmp_path).values())) < 1_500_000


def test_too_few_people_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least 50"):
        generate(49, 1, tmp_path / "data")
    assert not list(tmp_path.iterdir())


def test_truth_file_holds_the_truth(tmp_path: Path) -> None:
    truth = generate(80, 5, tmp_path / "data", tmp_path / "t.json")
    told = json.loads((tmp_path / "t.json").read_text("utf-8"))
    assert set(told) == {"seed", "people", "rows", "expected", "dirt", "humans", "links", "uncertain", "impostors"}
    assert told["rows"] == dict(truth.rows)
    assert told["expected"] == truth.expected
    assert told["dirt"] == [{"file": d.file, "row": d.row, "code": d.code} for d in truth.dirt]
    for name in ("humans", "links", "uncertain", "impostors"):
        assert told[name] == [list(entry) for entry in getattr(truth, name)]


def test_every_dirty_row_has_its_dirt_and_no_other_row_has_any(made: Made) -> None:
    truth, files = made
    found = audit(files)
    assert {place: codes for place, codes in found.items() if len(codes) > 1} == {}
    assert {(file, row, code) for (file, row), (code,) in found.items()} == set(truth.dirt)
    assert len(truth.dirt) == len(set(truth.dirt))


def test_every_code_is_there_and_no_file_is_near_the_limit_of_rejection(made: Made) -> None:
    truth, _ = made
    codes = Counter(dirt.code for dirt in truth.dirt)
    assert set(codes) == {
        "required_missing", "malformed_date", "date_out_of_range", "number_out_of_range", "not_a_number", "not_in_set",
        "unknown_reference", "duplicate_row", "contradicting_rows", "control_characters", "too_long", "malformed_email",
    }  # fmt: skip
    share = Counter(dirt.file for dirt in truth.dirt)
    assert max(share[file] / truth.rows[file] for file in share) < 0.19
    if truth.people == 2000:
        assert (codes["malformed_date"], codes["contradicting_rows"], codes["too_long"]) == (20, 32, 6)
        assert 0.03 < truth.expected["quarantined"] / truth.expected["landed"] < 0.05


def test_rows_and_sums_are_those_of_the_files(made: Made) -> None:
    truth, files = made
    assert {name: len(rows) for name, rows in files.items()} == {n: truth.rows[n] for n in files}
    expected = truth.expected
    assert expected["landed"] == expected["accepted"] + expected["quarantined"]
    assert expected["accepted"] == sum(expected["earning"].values()) + sum(expected["skipped"].values())
    earning, skipped, _ = awards(truth, files)
    assert sum(earning.values()) == sum(expected["earning"].values())
    assert dict(skipped) == expected["skipped"]
    assert earning["MD"] == expected["earning"]["doctor-of-medicine"] == max(1, round(truth.people * 0.0075))
    assert earning["LANG-ES1"] == expected["earning"]["lang-es1"]


def test_humans_are_the_clean_people_rows(made: Made) -> None:
    truth, files = made
    keys = [key for human in truth.humans for key in human]
    assert len(keys) == len(set(keys))
    assert set(keys) == set(records(truth, files))
    pairs = {pair for human in truth.humans for pair in combinations(human, 2)}
    assert set(truth.links) | set(truth.uncertain) == pairs
    assert not set(truth.links) & set(truth.uncertain)
    assert not set(truth.impostors) & pairs
    assert len(truth.impostors) >= 6


def test_strict_rules_applied_to_the_files_find_the_links_and_nothing_else(made: Made) -> None:
    """A second reading of the rules, over every pair that shares an e-mail or an identifier, whoever they are."""
    truth, files = made
    people = records(truth, files)
    person = {key: key for key in people}
    for a, b in candidates(people):
        if linked(people[a], people[b]):
            person = (
                {key: person[a] if p == person[b] else p for key, p in person.items()}
                if person[a] != person[b]
                else person
            )
    members = defaultdict(list)
    for key, p in person.items():
        members[p].append(key)
    found = {frozenset(pair) for group in members.values() for pair in combinations(group, 2)}
    assert found == {frozenset(pair) for pair in truth.links}
    assert not found & {frozenset(pair) for pair in [*truth.uncertain, *truth.impostors]}
    assert len(members) == truth.persons
    _, _, earned = awards(truth, files)
    of_person = [set().union(*(earned[key] for key in group)) for group in members.values()]
    assert truth.earners == sum(map(bool, of_person))
    assert truth.holders == sum(bool(codes - {"MD"}) for codes in of_person)


def test_an_employee_passes_a_course_once_a_period(made: Made) -> None:
    truth, files = made
    name = EVIDENCE["hr"]
    dirty = {(dirt.file, dirt.row) for dirt in truth.dirt}
    clean = [row for n, row in enumerate(files[name], 1) if (name, n) not in dirty]
    passed = Counter((r["employee_id"], r["course_code"], r["period"]) for r in clean if r["outcome"] == "passed")
    assert set(passed.values()) == {1}
    assert all(row["completed_on"].startswith(row["period"]) for row in clean)


def test_dates_stay_in_the_range_of_the_evidence(made: Made) -> None:
    truth, files = made
    dirty = {(dirt.file, dirt.row) for dirt in truth.dirt}
    for name in EVIDENCE.values():
        days = [day(row) for n, row in enumerate(files[name], 1) if (name, n) not in dirty]
        assert min(days) >= "2023-09-01"
        assert max(days) <= "2025-07-31"


def test_names_come_in_every_script_and_every_way_of_typing_them() -> None:
    files = read(NORTHFIELD / "data")
    names = [row["full_name"] for row in files[PEOPLE["lms"]]]
    text = "".join(names)
    for script in ("GREEK", "CYRILLIC", "ARABIC", "HEBREW", "DEVANAGARI", "CJK", "HANGUL SYLLABLE", "COMBINING"):
        assert any(unicodedata.name(c, "").startswith(script) for c in set(text)), script
    kinds: dict[str, Callable[[str], bool]] = {
        "decomposed": lambda n: unicodedata.normalize("NFC", n) != n,
        "double space": lambda n: "  " in n,
        "capitals": lambda n: n.isupper(),
        "small letters": lambda n: n.islower(),
        "curly apostrophe": lambda n: "’" in n,
        "straight apostrophe": lambda n: "'" in n,
        "hyphen": lambda n: "-" in n,
        "mononym": lambda n: " " not in n,
        "single letter": lambda n: bool(re.search(r" [ey] ", n)),
    }
    assert [kind for kind, holds in kinds.items() if not any(map(holds, names))] == []
    births = [row["birth_date"] for row in files[PEOPLE["lms"]]]
    assert 0.2 < births.count("") / len(births) < 0.4
    assert any(birth.endswith("-01-01") for birth in births)


def day(row: Row) -> str:
    return row.get("completed_on", row.get("conferred_on", ""))


def audit(files: Files) -> Found:
    """Every code that a gate with the contract's checks could give a row, without reading the truth."""
    found: Found = defaultdict(set)
    accepted: dict[str, set[str]] = {}
    for name in PEOPLE.values():
        rows = list(once(files[name], name, found))
        for n, row in rows:
            found[name, n] |= set(people_codes(row))
        accepted[name] = {next(iter(row.values())) for n, row in rows if not found[name, n]}
    for system, name in EVIDENCE.items():
        by_key = defaultdict(list)
        for n, row in once(files[name], name, found):
            found[name, n] |= set(evidence_codes(name, row, accepted[PEOPLE[system]]))
            by_key[tuple(row[column] for column in KEYS[name])].append(n)
        for numbers in by_key.values():
            if len(numbers) > 1:
                for n in numbers:
                    found[name, n].add("contradicting_rows")
    return {place: codes for place, codes in found.items() if codes}


def once(rows: list[Row], name: str, found: Found) -> Iterator[tuple[int, Row]]:
    seen: set[tuple[str, ...]] = set()
    for n, row in enumerate(rows, 1):
        if tuple(row.values()) in seen:
            found[name, n].add("duplicate_row")
        else:
            seen.add(tuple(row.values()))
            yield n, row


def people_codes(row: Row) -> Iterator[str]:
    identifier, *_ = row.values()
    assert re.fullmatch(r"[LSE]\d{6,9}", identifier)
    yield from common_codes(row)
    for column, value in row.items():
        if "email" in column and value and not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", value):
            yield "malformed_email"
        if column.endswith("name") and len(value) > 200:
            yield "too_long"
        if column in {"full_name", "name", "family_name"} and not value:
            yield "required_missing"
    if row["birth_date"]:
        yield from date_codes(row["birth_date"], "1900-01-01")


def evidence_codes(name: str, row: Row, known: set[str]) -> Iterator[str]:
    person, course, *_ = KEYS[name]
    yield from common_codes(row)
    if not all(row[column] for column in REQUIRED[name]):
        yield "required_missing"
    if (row[person] and row[person] not in known) or (row[course] and row[course] not in COURSES[name]):
        yield "unknown_reference"
    if day(row):
        yield from date_codes(day(row), "2000-01-01")
    for column in LARGEST.keys() & row.keys():
        if row[column] and not re.fullmatch(r"-?\d+(\.\d+)?", row[column]):
            yield "not_a_number"
        elif row[column] and not 0 <= float(row[column]) <= LARGEST[column]:
            yield "number_out_of_range"


def common_codes(row: Row) -> Iterator[str]:
    if any(unicodedata.category(c) == "Cc" for value in row.values() for c in value):
        yield "control_characters"
    for column in CHOICES.keys() & row.keys():
        if row[column] and row[column] not in CHOICES[column]:
            yield "not_in_set"


def date_codes(value: str, first: str) -> Iterator[str]:
    try:
        date.fromisoformat(value)
    except ValueError:
        yield "malformed_date"
        return
    if not first <= value <= "2026-01-01":
        yield "date_out_of_range"


def awards(truth: Truth, files: Files) -> tuple[Counter[str], Counter[str], dict[str, set[str]]]:
    """Earning rows by code, skipped ones by reason, and codes earned by source key, of the rows that are not dirt."""
    dirty = {(dirt.file, dirt.row) for dirt in truth.dirt}
    earning, skipped, earned = Counter[str](), Counter[str](), defaultdict[str, set[str]](set)
    for system, name in EVIDENCE.items():
        person, course, *_ = KEYS[name]
        for row in (row for n, row in enumerate(files[name], 1) if (name, n) not in dirty):
            key = f"{system}:{row[person]}"
            if row.get("outcome", "passed") not in {"passed", "completed"}:
                skipped[f"outcome={row['outcome']}"] += 1
            elif row[course] == "LANG-ES1" and "LANG-ES1" in earned[key]:
                skipped["already_earned"] += 1
            else:
                earning[row[course]] += 1
                earned[key].add(row[course])
    return earning, skipped, earned


def records(truth: Truth, files: Files) -> dict[str, Row]:
    """People rows that are not dirt, by source key, brought to one form: whole, given, family, email, birth, ids."""
    dirty = {(dirt.file, dirt.row) for dirt in truth.dirt}
    people: dict[str, Row] = {}
    for system, name in PEOPLE.items():
        for row in (row for n, row in enumerate(files[name], 1) if (name, n) not in dirty):
            identifier, *_ = row.values()
            if system == "lms":
                given, _, family = row["full_name"].partition(" ")
            elif system == "hr":
                family, _, given = row["name"].partition(",")
            else:
                given, family = row["given_name"], row["family_name"]
            people[f"{system}:{identifier}"] = {
                "whole": fold(given + family),
                "given": fold(given),
                "family": fold(family),
                "email": row.get("email") or row.get("work_email", ""),
                "birth": "" if row["birth_date"].endswith("-01-01") else row["birth_date"],
                "national_id": row.get("national_id", ""),
                "lms": identifier if system == "lms" else row.get("lms_user_id", ""),
            }
    return people


def fold(name: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFKD", name).casefold() if c.isalnum())


def candidates(people: dict[str, Row]) -> set[tuple[str, str]]:
    sharing = defaultdict(list)
    for key, one in people.items():
        for column in ("email", "national_id", "lms"):
            if one[column]:
                sharing[column, one[column]].append(key)
    return {pair for keys in sharing.values() for pair in combinations(sorted(keys), 2)}


def linked(a: Row, b: Row) -> bool:
    if any(a[c] and b[c] and a[c] != b[c] for c in ("national_id", "lms", "birth")):
        return False
    givens = {a["given"], b["given"]}
    initial = any(len(g) == 1 for g in givens) and len({g[:1] for g in givens}) == 1
    if a["whole"] != b["whole"] and len(givens) > 1 and not initial and frozenset(givens) not in NICKNAMES:
        return False
    identifier = any(a[c] and a[c] == b[c] for c in ("national_id", "lms"))
    mail, born = a["email"] == b["email"], a["birth"] != "" and a["birth"] == b["birth"]
    if identifier and (a["whole"] == b["whole"] or a["family"] == b["family"]):
        return True
    if mail and born and a["whole"] == b["whole"]:
        return True
    return born and (identifier or mail) and len(givens) == 1 and a["given"] != ""

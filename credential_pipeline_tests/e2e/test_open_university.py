"""The Open University institution on OULAD-shaped files: what is issued, to whom, with which mark, always the same."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from credential_pipeline_tests.accept import Expected, expected_of, identity_hash, wrong_credentials
from credential_pipeline_tests.e2e.conftest import AS_OF, DAY, Flow, House
from credential_pipeline_tests.e2e.lasting import lasting_houses
from credential_pipeline_tests.oulad import Facts, is_earned, write_oulad

ALL_MODULES = ("AAA", "BBB", "CCC", "DDD", "EEE", "FFF", "GGG")
NEVER_HELD = {
    *(("AAA", p) for p in ("2013B", "2014B")),
    *(("CCC", p) for p in ("2013B", "2013J")),
    *((module, "2013B") for module in ("EEE", "GGG")),
}
"""Of the 28 presentations of 7 modules in 4 half-years, what the public dataset does not have."""


@dataclass(frozen=True)
class Run:
    """A dataset, what is known about it, and what came of it."""

    data: Path
    facts: Facts
    new_house: Callable[..., House]
    house: House
    first: Flow
    credentials: Mapping[str, bytes]

    @property
    def expected(self) -> Expected:
        return expected_of(self.data)

    @property
    def documents(self) -> list[dict[str, Any]]:
        return [json.loads(data) for data in self.credentials.values()]


@pytest.fixture(scope="module", params=["reduced", "full"])
def run(
    request: pytest.FixtureRequest, server_url: str, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Run]:
    directory = tmp_path_factory.mktemp("oulad")
    data = directory / "data"
    if request.param == "full":
        facts = write_oulad(data, seed=11, registrations=420, modules=ALL_MODULES, full=True)
        facts = without_presentations(data, facts, NEVER_HELD)
    else:
        facts = write_oulad(data, seed=11, registrations=240)
    with lasting_houses(server_url, template, directory) as new_house:
        house = new_house("open_university", data=data)
        first = house.stages(run_id="first")
        yield Run(data, facts, new_house, house, first, house.credentials())


def without_presentations(data: Path, facts: Facts, dropped: set[tuple[str, str]]) -> Facts:
    """Take presentations out of the files and of the facts about them."""
    assessments = set()
    for name in ("assessments", "courses", "studentInfo", "studentRegistration", "studentAssessment"):
        path = data / f"{name}.csv"
        with path.open(encoding="utf-8", newline="") as stream:
            reader = csv.DictReader(stream)
            header, rows = list(reader.fieldnames or ()), list(reader)
        if name == "studentAssessment":
            kept = [row for row in rows if row["id_assessment"] in assessments]
        else:
            kept = [row for row in rows if (row["code_module"], row["code_presentation"]) not in dropped]
            assessments |= {row["id_assessment"] for row in kept if name == "assessments"}
        with path.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, header, lineterminator="\n")
            writer.writeheader()
            writer.writerows(kept)
    results = {entry: result for entry, result in facts.results.items() if entry[1:] not in dropped}
    earners = [entry for entry, result in results.items() if is_earned(result)]
    return Facts(
        landed=len(results),
        earned=len(earners),
        holders=len({student for student, *_ in earners}),
        skipped=dict(Counter(result for result in results.values() if not is_earned(result))),
        marks={entry: facts.marks[entry] for entry in results},
        results=results,
        ended_days={offer: days for offer, days in facts.ended_days.items() if offer not in dropped},
    )


def test_counts_are_the_facts(run: Run) -> None:
    counts, facts = run.first.counts, run.facts
    assert (counts.landed, counts.accepted, counts.quarantined) == (facts.landed, facts.landed, 0)
    assert counts.earned == counts.issued == counts.published == facts.earned == len(run.credentials)
    assert (counts.already_issued, counts.held) == (0, 0)
    assert counts.holders == facts.holders
    assert counts.skipped == sum(facts.skipped.values())
    assert run.first.reasons.skipped == {f"final_result={result}": n for result, n in facts.skipped.items()}
    assert counts.persons == len({student for student, *_ in facts.results})
    assert run.first.reconciliation.differences == ()


def test_each_credential_has_the_holder_result_mark_and_date_that_the_files_say(run: Run) -> None:
    """Counted again from the CSV files, the mark in fractions; the holder by the salted hash of the number."""
    expected = run.expected
    assert expected.issued == run.facts.earned
    assert wrong_credentials(expected, dict(run.credentials)) == []
    assert expected.without_mark == run.facts.earned_without_mark > 0
    marks = Counter(run.facts.marks[entry] for entry, result in run.facts.results.items() if is_earned(result))
    assert Counter(result_of(document, "coursework-mark") for document in run.documents) == marks


def result_of(document: Mapping[str, Any], name: str) -> str | None:
    results = document["credentialSubject"]["result"]
    return next((r["value"] for r in results if r["resultDescription"].endswith(f"#{name}")), None)


def test_the_comparison_with_the_files_finds_a_credential_of_somebody_else(run: Run) -> None:
    first, *others = run.credentials.items()
    document = json.loads(first[1])
    identifier = document["credentialSubject"]["identifier"][0]
    identifier["identityHash"] = identity_hash("0", identifier["salt"])
    assert wrong_credentials(run.expected, {first[0]: json.dumps(document).encode(), **dict(others)}) == [first[0]]
    (value,) = (r for r in document["credentialSubject"]["result"] if r["resultDescription"].endswith("#final-result"))
    value["value"] = "Fail"
    assert wrong_credentials(run.expected, {first[0]: json.dumps(document).encode()}) == [first[0]]
    assert wrong_credentials(run.expected, {"one": first[1], "two": first[1]}) == ["two"]


def test_distinction_shows(run: Run) -> None:
    results = Counter(result_of(document, "final-result") for document in run.documents)
    assert results == Counter(result for result in run.facts.results.values() if is_earned(result))
    assert results["Distinction"] > 0


def test_nobody_is_named_and_each_salt_is_its_own(run: Run) -> None:
    salts = set()
    students = {student for student, *_ in run.facts.results}
    for document in run.documents:
        subject = document["credentialSubject"]
        assert "id" not in subject
        (identifier,) = subject["identifier"]
        assert (identifier["identityType"], identifier["hashed"]) == ("sisSourcedId", True)
        salts.add(identifier["salt"])
        matching = [s for s in students if identity_hash(s, identifier["salt"]) == identifier["identityHash"]]
        assert len(matching) == 1
        assert f'"{matching[0]}"' not in json.dumps(document)
    assert len(salts) == len(run.credentials)


def test_the_dataset_has_the_shape_it_stands_for(run: Run) -> None:
    """So that the other tests speak for the public dataset, and for the reduced copy of it."""
    full = "Withdrawn" in run.facts.skipped
    offers = {
        (d["credentialSubject"]["achievement"]["humanCode"], d["credentialSubject"]["term"]) for d in run.documents
    }
    assert len(run.facts.ended_days) == (22 if full else 8)
    assert offers <= run.facts.ended_days.keys()
    assert full or run.facts.holders < run.facts.earned  # somebody has passed two modules
    if full:
        assert offers == run.facts.ended_days.keys()
        assert b",?\n" in (run.data / "studentAssessment.csv").read_bytes()
        begun = {document["awardedDate"][:4] for document in run.documents}
        assert begun == {"2013", "2014", "2015"}  # a presentation of February 2013 ends in 2013


def test_the_same_day_and_a_later_one_issue_nothing(run: Run) -> None:
    settled = replace(run.first.counts, issued=0, already_issued=run.facts.earned)
    assert run.house.stages(run_id="again").counts == settled
    later = run.house.stages(day=DAY + timedelta(days=1), as_of=AS_OF + timedelta(days=1), run_id="later")
    assert later.counts == settled
    assert later.reconciliation.differences == ()
    assert run.house.credentials() == run.credentials


def test_another_home_and_database_with_the_same_secrets_issue_the_same_bytes(run: Run) -> None:
    other = run.new_house("open_university", data=run.data).with_secrets_of(run.house)
    assert other.settings.database_url != run.house.settings.database_url
    assert other.stages(run_id="other").counts == run.first.counts
    assert other.credentials() == run.credentials

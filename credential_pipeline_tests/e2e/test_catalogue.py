"""All that a catalogue can say of an achievement, from its file to the credential and the site."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from credential_pipeline.credential.canonical import rdfc, rdfc_second_opinion
from credential_pipeline_tests.e2e.college import INSTITUTION, write_college
from credential_pipeline_tests.e2e.conftest import Flow, House
from credential_pipeline_tests.e2e.lasting import lasting_houses

BASE = "https://badges.college.example"
CARE = f"{BASE}/achievements/care.json"
CATALOGUE = """\
id: care
name: Care
achievements:
  - id: care
    name: Patient Care
    type: Certification
    description: Cares for patients.
    criteria: Passed C1 and its clinic.
    criteria_url: https://college.example/care
    image: https://college.example/care.png
    field_of_study: Nursing
    specialization: Wards
    edition: '2026'
    language: en
    translations:
      - {language: cy, name: Gofal Cleifion, description: Gofalu am gleifion., criteria: Pasio C1.}
      - {language: de-AT, name: Pflege, description: Pflegt Kranke., criteria: C1 bestanden.}
    credits: 2.5
    tags: [care, clinic]
    code: C1
    alignments:
      - {target_name: Care, target_url: 'https://case.example.org/CFItems/1', target_type: CFItem, target_code: C.1}
      - {target_name: provide care, target_url: 'https://esco.example.eu/skill/2d1e', target_framework: ESCO}
    earned_by:
      - {dataset: lms.completions, where: {course: C1, outcome: passed}, awarded_on: done}
    occurrence: {per: term}
    results:
      - {id: score, name: Score, type: Percent, field: score, min: '0', max: '100', required: '50'}
      - {id: outcome, name: Outcome, type: Status, field: outcome, statuses: {passed: Completed, failed: Failed}}
      - id: bedside
        name: Bedside
        type: RubricCriterionLevel
        field: bedside
        levels:
          - {id: novice, name: Novice, value: '1', points: '1', description: Needs help.}
          - id: able
            name: Able
            value: '2'
            level: Proficient
            alignments: [{target_name: Bedside, target_url: 'https://case.example.org/CFRubricCriterionLevels/2'}]
        required_level: able
    evidence:
      - {field: report, name: Report, narrative: On the ward., genre: Report, audience: Examiners}
    narrative: did
"""
HEADER = "user,course,term,done,score,outcome,bedside,report,did\n"
ROWS = """\
U1,C1,2025FA,2025-12-01,61,passed,2,https://work.example/1,"Cared for two wards, at night"
U2,C1,2025FA,2025-12-02,62,passed,,,
U3,C1,2025FA,2025-12-03,63,passed,2,work/3,
U4,C1,2025FA,2025-12-04,64,passed,3,,
"""


@pytest.fixture(scope="module")
def clinic(server_url: str, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[House, Flow]]:
    """A college with one rich achievement, after a pass through the stages."""
    top = tmp_path_factory.mktemp("clinic")
    data = write_college(top / "college")
    more = "outcome: outcome, bedside: bedside, report: report, did: did}"
    institution = INSTITUTION.replace("FILES", "completions*.csv").replace("outcome: outcome}", more)
    (top / "college" / "institution.yaml").write_text(institution)
    (top / "college" / "catalogue" / "courses.yaml").write_text(CATALOGUE)
    (data / "completions.csv").write_text(HEADER + ROWS)
    with lasting_houses(server_url, template, top) as make:
        house = make(top / "college")
        yield house, house.stages()


def of(house: House, score: str) -> dict[str, Any]:
    """The credential of the row with this score."""
    found = [json.loads(x) for x in house.credentials().values()]
    (one,) = [x for x in found if x["credentialSubject"]["result"][0]["value"] == score]
    return dict(one)


def test_what_the_catalogue_says_is_in_the_credential(clinic: tuple[House, Flow]) -> None:
    house, flow = clinic
    assert flow.reconciliation.balanced
    assert len(house.credentials()) == 2

    ada = of(house, "61")
    subject = ada["credentialSubject"]
    assert subject["narrative"] == "Cared for two wards, at night"
    assert subject["creditsEarned"] == subject["achievement"]["creditsAvailable"] == 2.5
    assert ada["evidence"] == [
        {
            "id": "https://work.example/1",
            "type": ["Evidence"],
            "name": "Report",
            "narrative": "On the ward.",
            "genre": "Report",
            "audience": "Examiners",
        }
    ]
    assert subject["result"] == [
        {"type": ["Result"], "value": "61", "resultDescription": f"{CARE}#score"},
        {"type": ["Result"], "value": "passed", "resultDescription": f"{CARE}#outcome", "status": "Completed"},
        {
            "type": ["Result"],
            "value": "2",
            "resultDescription": f"{CARE}#bedside",
            "achievedLevel": f"{CARE}#bedside.able",
        },
    ]
    achievement = subject["achievement"]
    assert (achievement["fieldOfStudy"], achievement["specialization"]) == ("Nursing", "Wards")
    assert (achievement["version"], achievement["inLanguage"]) == ("2026", "en")
    assert achievement["criteria"]["id"] == "https://college.example/care"
    assert achievement["image"] == {"id": "https://college.example/care.png", "type": "Image"}
    assert [x["targetUrl"] for x in achievement["alignment"]] == [
        "https://case.example.org/CFItems/1",
        "https://esco.example.eu/skill/2d1e",
    ]
    bedside = achievement["resultDescription"][2]
    assert bedside["allowedValue"] == ["1", "2"]
    assert bedside["requiredLevel"] == f"{CARE}#bedside.able"
    assert [x["id"] for x in bedside["rubricCriterionLevel"]] == [f"{CARE}#bedside.novice", f"{CARE}#bedside.able"]
    assert rdfc(ada) == rdfc_second_opinion(ada)

    plain = of(house, "62")
    assert "evidence" not in plain
    assert "narrative" not in plain["credentialSubject"]
    assert len(plain["credentialSubject"]["result"]) == 2


def test_rows_that_no_document_could_say_wait(clinic: tuple[House, Flow]) -> None:
    assert clinic[1].reasons.held == {"evidence_no_url": 1, "result_outside_limits": 1}


def test_an_achievement_can_be_read_in_each_of_its_languages(clinic: tuple[House, Flow]) -> None:
    read = {path.name: json.loads(path.read_bytes()) for path in (clinic[0].site / "achievements").glob("*.json")}
    assert sorted(read) == ["care.cy.json", "care.de-AT.json", "care.json"]
    for name, document in read.items():
        assert document["id"] == f"{BASE}/achievements/{name}"
        others = {x["id"] for x in document["related"]}
        assert others == {f"{BASE}/achievements/{x}" for x in read} - {document["id"]}
    assert [read[name]["name"] for name in sorted(read)] == ["Gofal Cleifion", "Pflege", "Patient Care"]
    assert [read[name]["inLanguage"] for name in sorted(read)] == ["cy", "de-AT", "en"]
    assert read["care.cy.json"]["related"][0] == {"id": CARE, "type": ["Related"], "inLanguage": "en"}

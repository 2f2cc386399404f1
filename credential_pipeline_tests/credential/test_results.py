"""Results, rubrics, competencies and other languages: what they look like, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from credential_pipeline.credential.document import (
    Alignment,
    BuildError,
    Related,
    Result,
    ResultDescription,
    RubricCriterionLevel,
    open_badge_credential,
)
from credential_pipeline_tests.credential.building import achieving, crediting, describing
from credential_pipeline_tests.credential.forms import BASE, COURSE, FORMS, RICH, SKILL


def test_rubrics_alignments_and_other_languages() -> None:
    subject = open_badge_credential(FORMS["skilled"])["credentialSubject"]
    achievement = subject["achievement"]
    assert [(x.get("targetType"), x.get("targetFramework")) for x in achievement["alignment"]] == [
        ("CFItem", "State standards"),
        ("ceterms:Credential", None),
        (None, "ESCO"),
        ("ext:onet", None),
    ]
    assert achievement["related"] == [
        {"id": f"{BASE}/achievements/care.cy.json", "type": ["Related"], "inLanguage": "cy"},
        {
            "id": f"{BASE}/achievements/care.zh-Hant-TW.json",
            "type": ["Related"],
            "inLanguage": "zh-Hant-TW",
            "version": "2",
        },
    ]
    care = achievement["resultDescription"][0]
    assert care["requiredLevel"] == care["rubricCriterionLevel"][1]["id"] == f"{SKILL.id}#care.able"
    assert care["rubricCriterionLevel"][0] == {
        "id": f"{SKILL.id}#care.novice",
        "type": ["RubricCriterionLevel"],
        "name": "Novice",
        "level": "Beginning",
        "points": "1",
        "description": "Needs\nhelp.",
    }
    assert subject["result"] == [
        {"type": ["Result"], "resultDescription": f"{SKILL.id}#outcome", "status": "Completed"},
        {
            "type": ["Result"],
            "value": "3.7",
            "resultDescription": f"{SKILL.id}#gpa",
            "alignment": [{"type": ["Alignment"], "targetName": "E", "targetUrl": "https://case.example.org/4"}],
        },
        {
            "type": ["Result"],
            "resultDescription": f"{SKILL.id}#care",
            "achievedLevel": f"{SKILL.id}#care.novice",
        },
    ]


MARK = RICH.result_descriptions[0]
REFUSALS: list[tuple[str, Callable[[], Any], str]] = [
    ("alignment URL", achieving(alignments=(Alignment("a", "b"),)), "alignment.targetUrl"),
    ("alignment type", achieving(alignments=(Alignment("a", BASE, "Skill"),)), "alignment.targetType"),
    ("same alignment", achieving(alignments=(Alignment("a", BASE), Alignment("a", BASE))), "twice"),
    ("same result id", achieving(result_descriptions=(MARK, MARK)), "twice"),
    ("result type", achieving(result_descriptions=(ResultDescription(BASE, "a", "Mark"),)), "resultType"),
    ("result id", achieving(result_descriptions=(ResultDescription("#mark", "a", "Percent"),)), "resultDescription.id"),
    ("dangling result", crediting(results=(Result("1", MARK.id),)), "does not list"),
    ("honours undescribed", crediting(honors=("cum laude",)), "honors_description"),
    ("result too high", crediting(achievement=RICH, results=(Result("140", MARK.id),)), "outside 0 to 100"),
    ("result not a number", crediting(achievement=RICH, results=(Result("A+", MARK.id),)), "not numbers"),
    ("result NaN", crediting(achievement=RICH, results=(Result("NaN", MARK.id),)), "not numbers"),
    (
        "result not allowed",
        crediting(achievement=RICH, results=(Result("F", RICH.result_descriptions[1].id),)),
        "not one of",
    ),
    ("empty result", crediting(results=(Result(""),)), "result.value is empty"),
    ("result status", crediting(results=(Result("1", status="Done"),)), "result.status"),
    ("result level", crediting(results=(Result("1", achieved_level="2"),)), "achievedLevel"),
    ("result that says nothing", crediting(results=(Result(),)), "says nothing"),
    (
        "level of another rubric",
        crediting(achievement=SKILL, results=(Result("3", f"{SKILL.id}#gpa", achieved_level=f"{SKILL.id}#care.able"),)),
        "no rubric level of its result description",
    ),
    ("same alignment of a result", crediting(results=(Result("1", alignments=(Alignment("a", BASE),) * 2),)), "twice"),
    ("required level of no rubric", describing(requiredLevel=f"{BASE}#x"), "none of its rubric levels"),
    ("required value that is not allowed", describing(allowedValue=("A",), requiredValue="B"), "not one of A"),
    ("least above greatest", describing(valueMin="5", valueMax="1"), "outside"),
    ("same rubric level", describing(rubricCriterionLevel=(RubricCriterionLevel(BASE, "a"),) * 2), "twice"),
    (
        "rubric level without a name",
        describing(rubricCriterionLevel=(RubricCriterionLevel(BASE, ""),)),
        "name is empty",
    ),
    ("same related", achieving(related=(Related(f"{BASE}/x"),) * 2), "twice"),
    ("related to itself", achieving(related=(Related(COURSE.id),)), "twice"),
    ("related language", achieving(related=(Related(f"{BASE}/x", "Welsh"),)), "B.3 LanguageCode"),
    ("same result", crediting(results=(Result("1"), Result("1"))), "twice"),
]


@pytest.mark.parametrize(("build", "reason"), [(b, r) for _, b, r in REFUSALS], ids=[n for n, _, _ in REFUSALS])
def test_what_a_standard_refuses_is_refused(build: Callable[[], Any], reason: str) -> None:
    with pytest.raises(BuildError, match=reason):
        build()

"""A create line into the facts of its document, and whether a signed document says what its line planned."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from itertools import product
from typing import Any
from uuid import UUID

import pytest

from credential_pipeline.credential import identifiers
from credential_pipeline.credential.document import open_badge_credential
from credential_pipeline.credential.text import BuildError, serialize
from credential_pipeline.issue.compose import CheckError, Composer, CreateLine, Versioned, compare
from credential_pipeline_tests.issue.desk import ACHIEVEMENTS, AS_OF, achievement, institution

IDS, SALTS = Versioned(1, b"i" * 32), Versioned(4, b"s" * 32)
SCHOOL = institution(*ACHIEVEMENTS, achievement("bare", occurrence="once"))

FACTS: dict[str, Any] = {
    "awarded_on": "2026-02-01",
    "occurrence": "2026SP",
    "identifiers": [{"type": "emailAddress", "value": "ada@mail.example"}, {"type": "systemId", "value": "U1"}],
    "name": "Ada Learner",
    "results": [{"id": "score", "value": "70"}],
    "valid_until": "2027-02-01T05:00:00+00:00",
}
LINE = CreateLine(
    ordinal=0,
    award_id=UUID(int=1),
    credential_id=UUID(int=2),
    cause="issue",
    person_id=UUID(int=3),
    achievement="knots",
    facts=FACTS,
    list_number=7,
    status_index=131_071,
)


def composer(ids: Versioned = IDS, salts: Versioned = SALTS) -> Composer:
    return Composer(SCHOOL, SCHOOL.catalogue.achievements, AS_OF, ids, salts)


def document(line: CreateLine = LINE, by: Composer | None = None) -> dict[str, Any]:
    """The line's document, read back from its bytes as a reader gets it."""
    return dict(json.loads(serialize(open_badge_credential((by or composer()).facts(line)))))


def nothings(value: Any, where: str = "$") -> Iterator[str]:
    """Where a value is null, or an array, object or text is empty."""
    if value is None or (isinstance(value, list | dict | str) and not value):
        yield where
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, member in members:
        yield from nothings(member, f"{where}.{name}")


OPTIONAL = ("name", "results", "valid_until")


@pytest.mark.parametrize("kind", ["knots", "safety", "bare"])
def test_no_combination_of_absent_facts_leaves_a_null_or_something_empty(kind: str) -> None:
    for present in product([True, False], repeat=len(OPTIONAL)):
        kept = {name for name, there in zip(OPTIONAL, present, strict=True) if there}
        facts = {name: value for name, value in FACTS.items() if name not in OPTIONAL or name in kept}
        if kind != "knots":
            facts.pop("results", None)
        for occurrence in ("once", "2026SP"):
            line = replace(LINE, achievement=kind, facts=facts | {"occurrence": occurrence})
            made = document(line)
            assert list(nothings(made)) == []
            assert ("validUntil" in made) == ("valid_until" in facts)
            assert ("result" in made["credentialSubject"]) == ("results" in facts)
            assert made["credentialSubject"].get("term") == (None if occurrence == "once" else occurrence)


NOTHING: dict[str, dict[str, Any]] = {
    "no identifier": {"identifiers": []},
    "an identifier without a value": {"identifiers": [{"type": "systemId", "value": ""}]},
    "an identifier that is null": {"identifiers": [{"type": "systemId", "value": None}]},
    "an empty name": {"name": ""},
    "a name of blanks": {"name": "  "},
    "a result without a value": {"results": [{"id": "score", "value": ""}]},
    "a result that is null": {"results": [{"id": "score", "value": None}]},
    "an empty term": {"occurrence": ""},
}


@pytest.mark.parametrize("case", NOTHING)
def test_nothing_is_refused_where_something_is_meant(case: str) -> None:
    with pytest.raises((BuildError, TypeError)):
        document(replace(LINE, facts=FACTS | NOTHING[case]))


def test_the_document_says_what_the_line_planned() -> None:
    made = document()
    public = identifiers.public_id(IDS.value, LINE.credential_id)
    base = "https://badges.school.example"
    assert made["id"] == f"{base}/credentials/{public}.json"
    assert made["refreshService"]["id"] == f"{base}/state/{public}.json"
    assert made["validFrom"] == "2026-03-02T10:00:00Z"
    assert made["validUntil"] == "2027-02-01T05:00:00Z"
    assert made["awardedDate"] == "2026-02-01T00:00:00Z"
    assert made["credentialStatus"]["statusListCredential"] == f"{base}/status/7.json"
    assert made["credentialStatus"]["statusListIndex"] == "131071"
    subject = made["credentialSubject"]
    assert subject["achievement"]["id"] == f"{base}/achievements/knots.json"
    assert [r["value"] for r in subject["result"]] == ["70"]
    assert [(i["identityType"], i["hashed"]) for i in subject["identifier"]] == [
        ("emailAddress", True),
        ("systemId", True),
        ("name", False),
    ]
    assert "ada@mail.example" not in json.dumps(made)


def test_the_status_purpose_and_the_credits_are_the_achievements() -> None:
    made = document(replace(LINE, achievement="safety", facts={**FACTS, "results": []}))
    assert made["credentialStatus"]["statusPurpose"] == "suspension"
    assert made["credentialSubject"]["creditsEarned"] == 1.5


def test_a_salt_is_of_one_identifier_in_one_credential() -> None:
    lines = [LINE, replace(LINE, credential_id=UUID(int=9))]
    salts = [i["salt"] for line in lines for i in document(line)["credentialSubject"]["identifier"] if i["hashed"]]
    assert len(set(salts)) == 4
    assert salts[0] == identifiers.salt(SALTS.value, LINE.credential_id, "emailAddress")


def subject(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = document["credentialSubject"]
    return found


TAMPERED: dict[str, tuple[str, Callable[[dict[str, Any]], Any]]] = {
    "another credential": ("id", lambda d: d.update(id=d["id"][:-6] + "x.json")),
    "another achievement": ("achievement", lambda d: subject(d)["achievement"].update(id="https://x.example/a")),
    "another day": ("awardedDate", lambda d: d.update(awardedDate="2026-02-02T00:00:00Z")),
    "a later end": ("validUntil", lambda d: d.update(validUntil="2028-02-01T05:00:00Z")),
    "no end": ("validUntil", lambda d: d.pop("validUntil")),
    "another holder": ("identifiers", lambda d: subject(d)["identifier"][0].update(identityHash="sha256$00")),
    "another name": ("identifiers", lambda d: subject(d)["identifier"][2].update(identityHash="Eve Learner")),
    "one more holder": ("identifiers", lambda d: subject(d)["identifier"].append({"identityHash": "Eve"})),
    "no name": ("identifiers", lambda d: subject(d)["identifier"].pop()),
    "another result": ("results", lambda d: subject(d)["result"][0].update(value="71")),
    "no result": ("results", lambda d: subject(d).pop("result")),
    "another list": ("status", lambda d: d["credentialStatus"].update(statusListCredential="https://x.example/1")),
    "another index": ("status", lambda d: d["credentialStatus"].update(statusListIndex="0")),
}


def test_an_untouched_document_passes() -> None:
    compare(document(), LINE, composer().facts(LINE))


@pytest.mark.parametrize("case", TAMPERED)
def test_a_document_that_differs_from_its_line_is_refused_by_the_members_name(case: str) -> None:
    member, tamper = TAMPERED[case]
    made = document()
    tamper(made)
    with pytest.raises(CheckError, match=rf"differs from its plan line in {member}; nothing of this chunk"):
        compare(made, LINE, composer().facts(LINE))


def test_a_document_made_with_another_secret_is_not_the_lines() -> None:
    made = document(by=composer(ids=Versioned(2, b"j" * 32), salts=Versioned(2, b"t" * 32)))
    with pytest.raises(CheckError, match="in id, identifiers;"):
        compare(made, LINE, composer().facts(LINE))


def test_a_day_is_the_institutions_whatever_the_hour_of_the_plan() -> None:
    """`awardedDate` carries the calendar day that was planned; no conversion to another zone moves it."""
    late = datetime(2026, 3, 3, 4, 59, tzinfo=UTC)  # 23:59 of 2 March in New York
    by = Composer(SCHOOL, SCHOOL.catalogue.achievements, late, IDS, SALTS)
    made = document(replace(LINE, facts=FACTS | {"awarded_on": "2026-03-02"}), by)
    assert (made["awardedDate"], made["validFrom"]) == ("2026-03-02T00:00:00Z", "2026-03-03T04:59:00Z")

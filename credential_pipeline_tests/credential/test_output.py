"""Whatever builders are given, they write whole documents: no null, nothing empty, no IRI that is none.

Hypothesis gives members that may be there, texts of every plane and addresses that are none; a BuildError is an answer
too, a document that a reader would trip over is not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from credential_pipeline.credential.canonical import jcs, rdfc, rdfc_second_opinion
from credential_pipeline.credential.clr import Association
from credential_pipeline.credential.document import (
    Achievement,
    Alignment,
    BuildError,
    Evidence,
    HashedIdentifier,
    Related,
    Result,
    ResultDescription,
    RubricCriterionLevel,
    StatusEntry,
    open_badge_credential,
    serialize,
)
from credential_pipeline_tests.credential.forms import AS_OF, BASE, FORMS, OUTCOME, SKILL, facts
from credential_pipeline_tests.credential.record_forms import endorsement, record, record_forms

IRI_MEMBERS = frozenset(
    [
        "id", "url", "targetUrl", "achievedLevel", "resultDescription", "requiredLevel", "statusListCredential",
        "sourceId", "targetId",
    ]
)  # fmt: skip
ABSOLUTE = re.compile(r"(https?://[^\s/]+|did:[a-z]+:|urn:|x:)[^\s<>\"{}|^`\\]*\Z")

WORDS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(["Ada", "87.5", "B", "en-GB", "", " ", "a\nb", "\u2028", "e\u0308", "🎓", "𠮷"]),
)
ADDRESSES = st.one_of(
    st.builds("https://x.example/{}".format, st.text(max_size=6)),
    st.sampled_from(
        [BASE, f"{BASE}/a#b", "relative", "//x.example", "urn:uuid:1", "x:y", "https://", "did:web:x.example"]
    ),
)


def some(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


def few(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(strategy, max_size=2).map(tuple)


ALIGNMENTS = st.builds(
    Alignment, WORDS, ADDRESSES, some(st.just("CTDL") | WORDS), some(WORDS), some(WORDS), some(WORDS)
)
LEVELS = st.builds(RubricCriterionLevel, ADDRESSES, WORDS, some(WORDS), some(WORDS), some(WORDS), few(ALIGNMENTS))
DESCRIPTIONS = st.builds(
    ResultDescription,
    ADDRESSES,
    WORDS,
    st.sampled_from(["Percent", "RubricCriterionLevel", "Status", "ext:x", "Mark"]),
    some(st.sampled_from(["0", "5", "x"])),
    some(st.sampled_from(["100", "1"])),
    few(WORDS),
    some(WORDS),
    few(LEVELS),
    some(ADDRESSES),
    few(ALIGNMENTS),
)
ACHIEVEMENTS = st.builds(
    Achievement,
    id=ADDRESSES,
    name=WORDS,
    description=WORDS,
    achievement_type=st.sampled_from(["Course", "Award", "ext:x", "Kurs"]),
    criteria_narrative=some(WORDS),
    criteria_url=some(ADDRESSES),
    alignments=few(ALIGNMENTS),
    result_descriptions=few(DESCRIPTIONS),
    credits_available=some(st.floats() | st.integers(-1, 10)),
    tags=few(WORDS),
    human_code=some(WORDS),
    in_language=some(st.sampled_from(["en", "zh-Hant-TW", "english"])),
    image_url=some(ADDRESSES),
    version=some(WORDS),
    related=few(st.builds(Related, ADDRESSES, some(st.just("cy")), some(WORDS))),
)
CHANGES: dict[str, st.SearchStrategy[Any]] = {
    "achievement": ACHIEVEMENTS,
    "identifiers": few(st.builds(HashedIdentifier, st.sampled_from(["sourcedId", "emailAddress", "x"]), WORDS, WORDS)),
    "name": some(WORDS),
    "holder": some(ADDRESSES),
    "narrative": some(WORDS),
    "role": some(WORDS),
    "license_number": some(WORDS),
    "term": some(WORDS),
    "activity": some(st.tuples(st.dates(date(1, 1, 1)), st.dates())),
    "evidence": few(st.builds(Evidence, some(ADDRESSES), some(WORDS), some(WORDS), some(WORDS), some(WORDS))),
    "results": few(st.builds(Result, some(WORDS), some(st.just(OUTCOME.result_description)), some(st.just("Failed")))),
    "honors": few(WORDS),
    "credits_earned": some(st.floats() | st.decimals(allow_nan=True)),
    "valid_until": some(st.integers(-2, 5).map(lambda days: AS_OF + timedelta(days=days))),
    "status": st.builds(StatusEntry, ADDRESSES, st.integers(-1, 9), st.sampled_from(["revocation", "suspension", "x"])),
    "refresh_url": ADDRESSES,
    "url": ADDRESSES,
}
ENDORSEMENT: dict[str, st.SearchStrategy[Any]] = {
    "endorsed": ADDRESSES,
    "name": WORDS,
    "comment": some(WORDS),
    "description": some(WORDS),
    "url": ADDRESSES,
    "refresh_url": some(ADDRESSES),
}
RECORD: dict[str, st.SearchStrategy[Any]] = {
    "name": WORDS,
    "holder": some(ADDRESSES),
    "person_name": some(WORDS),
    "achievements": few(ACHIEVEMENTS | st.just(SKILL)),
    "associations": few(st.builds(Association, st.sampled_from(["isPartOf", "x"]), st.just(SKILL.id), ADDRESSES)),
    "partial": st.booleans(),
    "description": some(WORDS),
    "url": ADDRESSES,
}


def changing(changes: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """A few members at a time: with all of them at once hardly a document would come about."""
    one = st.sampled_from(sorted(changes)).flatmap(lambda member: st.tuples(st.just(member), changes[member]))
    return st.lists(one, max_size=4).map(dict)


def leaves(value: Any, member: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from leaves(inner, key)
    elif isinstance(value, list) and value:
        for inner in value:
            yield from leaves(inner, member)
    else:
        yield member, value


def assert_whole(document: dict[str, Any]) -> None:
    for member, value in leaves(document):
        assert value is not None, member
        assert value not in ("", [], {}), member
        if member in IRI_MEMBERS:
            assert ABSOLUTE.match(value), (member, value)
    assert jcs(document)
    serialize(document)
    assert rdfc(document) == rdfc_second_opinion(document)


def build_or_refuse(build: Any, changes: dict[str, Any]) -> None:
    try:
        document = build(**changes)
    except BuildError:
        event("refused")
        return
    event("built")
    assert_whole(document)


THOROUGH = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@THOROUGH
@given(changing(CHANGES))
def test_a_credential(changes: dict[str, Any]) -> None:
    build_or_refuse(
        lambda **given: open_badge_credential(facts(achievement=given.pop("achievement", SKILL), **given)), changes
    )


@settings(THOROUGH, max_examples=60)
@given(changing(ENDORSEMENT))
def test_an_endorsement(changes: dict[str, Any]) -> None:
    build_or_refuse(endorsement, changes)


@settings(THOROUGH, max_examples=40)
@given(changing(RECORD))
def test_a_record(changes: dict[str, Any]) -> None:
    build_or_refuse(record, changes)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_credential(form: str) -> None:
    assert_whole(open_badge_credential(FORMS[form]))


@pytest.mark.parametrize("form", record_forms())
def test_every_form_of_a_record(form: str) -> None:
    assert_whole(record_forms()[form])

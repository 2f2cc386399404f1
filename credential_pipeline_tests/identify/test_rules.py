from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from credential_pipeline.identify.names import parse_name
from credential_pipeline.identify.rules import (
    CHANGED_SURNAME,
    CROSS_REFERENCE,
    EMAIL_NAME_BIRTH_DATE,
    SHARED_IDENTIFIER,
    Record,
    comparable_identifier,
    known_birth_date,
    likeness,
    strict_rule,
    veto,
)

BORN = date(1990, 5, 17)


def record(key: str, name: str = "", **changes: Any) -> Record:
    """`name` is "Given|Family" or a full name."""
    given, bar, family = name.partition("|")
    parsed = parse_name(given=given, family=family) if bar else parse_name(full=name)
    return Record(key, parsed, **{k: v for k, v in changes.items() if v is not None})


def mail(key: str, name: str, born: date | None = BORN, **changes: Any) -> Record:
    return record(key, name, email="x@mail.example", birth_date=born, **changes)


def nid(key: str, name: str, value: str = "1", **changes: Any) -> Record:
    return record(key, name, identifiers=(("national_id", value),), **changes)


def refers(key: str, name: str, other: str, **changes: Any) -> Record:
    return record(key, name, refers_to=frozenset({other}), **changes)


PAIRS = [
    # what it is, a, b, rule, veto, likeness
    ("a reference", refers("s:1", "Robert|Hughes", "l:1"), record("l:1", "Bob Hughes"), CROSS_REFERENCE, None),
    ("two refer to one", refers("s:1", "Ann|Lee", "l:1"), refers("h:1", "Ann|Lee", "l:1"), CROSS_REFERENCE, None),
    ("a bare record", refers("s:1", "Robert|Hughes", "l:1"), record("l:1"), CROSS_REFERENCE, None),
    ("a wrong reference", refers("s:1", "Ann|Hughes", "l:1"), record("l:1", "Paul Novak"), None, "given_name_differs"),
    ("an identifier", nid("s:1", "Robert|Hughes"), nid("h:1", "R.|Hughes"), SHARED_IDENTIFIER, None),
    ("an identifier and no name", nid("s:1", "Robert|Hughes"), nid("h:1", ""), None, None),
    ("a borrowed identifier", nid("s:1", "Anna|Hughes"), nid("h:1", "Peter|Novak"), None, "given_name_differs"),
    ("an identifier, birth dates differ", nid("s:1", "Ann|Lee", birth_date=BORN),
     nid("h:1", "Ann|Lee", birth_date=date(1991, 5, 17)), SHARED_IDENTIFIER, "birth_date_differs"),
    ("married, an identifier", nid("s:1", "Ann|Lee", birth_date=BORN), nid("h:1", "Ann|Novak", birth_date=BORN),
     CHANGED_SURNAME, None),
    ("married, an identifier, no birth date", nid("s:1", "Ann|Lee"), nid("h:1", "Ann|Novak"), None, None),
    ("married and a nickname", nid("s:1", "Robert|Lee", birth_date=BORN), nid("h:1", "Bob|Novak", birth_date=BORN),
     None, None),
    ("mail, name, birth date", mail("l:1", "Ann Lee"), mail("s:1", "Ann|Lee"), EMAIL_NAME_BIRTH_DATE, None),
    ("the same, other identifiers", mail("h:1", "Ann|Lee", identifiers=(("national_id", "2"),)),
     mail("s:1", "Ann|Lee", identifiers=(("national_id", "1"),)), EMAIL_NAME_BIRTH_DATE, "national_id_differs"),
    ("mail, nickname, birth date", mail("l:1", "Bob Lee"), mail("s:1", "Robert|Lee"), None, None),
    ("married, the mail", mail("l:1", "Ann Novak"), mail("s:1", "Ann|Lee"), CHANGED_SURNAME, None),
    ("mail and name, no birth date", mail("l:1", "Ann Lee", None), mail("s:1", "Ann|Lee"), None, None),
    ("father and son", mail("l:1", "Ed Lee"), mail("l:2", "Ed Lee", date(1960, 3, 2)), None, "birth_date_differs"),
    ("twins", mail("l:1", "Ann Lee"), mail("l:2", "Eve Lee"), None, "given_name_differs"),
    ("namesakes", record("l:1", "Ann Lee", birth_date=BORN), record("s:1", "Ann|Lee", birth_date=BORN), None, None),
    ("one name, nothing else", record("l:1", "Ann Lee"), record("s:1", "Ann|Lee"), None, None),
    ("two types", nid("s:1", "Ann|Lee"), record("h:1", "Ann|Lee", identifiers=(("tax", "1"),)), None, None),
    ("mononyms", mail("l:1", "Suharto"), mail("s:1", "|Suharto"), EMAIL_NAME_BIRTH_DATE, None),
    ("two families, no given name", nid("l:1", "|Suharto", birth_date=BORN), nid("s:1", "|Sukarno", birth_date=BORN),
     None, "given_name_differs"),
    ("bare records", record("l:1"), record("s:1"), None, None),
]  # fmt: skip


@pytest.mark.parametrize(("a", "b", "rule", "forbidden"), [p[1:] for p in PAIRS], ids=[p[0] for p in PAIRS])
def test_rules_and_vetoes(a: Record, b: Record, rule: str | None, forbidden: str | None) -> None:
    assert strict_rule(a, b) == strict_rule(b, a) == rule
    assert veto(a, b) == veto(b, a) == forbidden


LOOKS = {
    "mail and name, no birth date": "same_email_and_name",
    "mail, nickname, birth date": "same_email_and_name",
    "namesakes": "same_name_and_birth_date",
    "a borrowed identifier": "shared_identifier:given_name_differs",
    "married, an identifier, no birth date": "shared_identifier:name_unproven",
    "a wrong reference": "cross_reference:given_name_differs",
    "father and son": None,
    "twins": None,
    "one name, nothing else": None,
    "the same, other identifiers": None,
}


@pytest.mark.parametrize("case", LOOKS)
def test_likeness(case: str) -> None:
    a, b = next(p[1:3] for p in PAIRS if p[0] == case)
    assert likeness(a, b) == likeness(b, a) == LOOKS[case]


def test_first_of_january_is_no_birth_date() -> None:
    assert known_birth_date(date(1990, 1, 1)) is None
    assert known_birth_date(date(1990, 1, 2)) == date(1990, 1, 2)
    assert known_birth_date(None) is None


def test_identifiers_are_compared_without_case_and_punctuation() -> None:
    assert comparable_identifier(" NX-40 0002") == comparable_identifier("nx400002") == "nx400002"
    assert comparable_identifier(" - ") == ""

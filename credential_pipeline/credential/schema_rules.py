"""Which members a credential has to have, and of which type: the rules behind 1EdTech's JSON schemas, as a reader's.

Belongs here: the classes of Open Badges 3.0 (appendix B) and CLR 2.0 (appendix B) as a table, and walking a stranger's
document by it. Does not belong here: building (document.py), and what any member means. Members that the table does
not know are left alone: the standards let issuers extend (Open Badges 3.0, 8.1).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from credential_pipeline.credential.text import BuildError, FormError, iri, parse_instant

MAX_ITEMS = 1000
"""Of one array: a transcript has some hundred."""


@dataclass(frozen=True, slots=True)
class _Class:
    """`type`: what the member `type` has to name, if anything. Rules: see _check."""

    type: str | None
    required: Mapping[str, str]
    optional: Mapping[str, str] = field(default_factory=dict)


_CLASSES: Mapping[str, _Class] = {
    "Achievement": _Class(
        "Achievement",
        {"id": "iri", "name": "words", "description": "words", "criteria": "Criteria"},
        {
            "achievementType": "text",
            "alignment": "*Alignment",
            "creator": "ProfileRef",
            "creditsAvailable": "number",
            "endorsement": "*object",
            "fieldOfStudy": "text",
            "humanCode": "text",
            "image": "Image",
            "inLanguage": "text",
            "otherIdentifier": "*IdentifierEntry",
            "related": "*Related",
            "resultDescription": "*ResultDescription",
            "specialization": "text",
            "tag": "*text",
            "version": "text",
        },
    ),
    "AchievementSubject": _Class(
        "AchievementSubject",
        {"achievement": "Achievement"},
        {
            "id": "iri",
            "activityStartDate": "instant",
            "activityEndDate": "instant",
            "creditsEarned": "number",
            "identifier": "*IdentityObject",
            "image": "Image",
            "licenseNumber": "text",
            "narrative": "text",
            "result": "*Result",
            "role": "text",
            "source": "ProfileRef",
            "term": "text",
        },
    ),
    "Alignment": _Class(
        "Alignment",
        {"targetName": "words", "targetUrl": "iri"},
        {"targetCode": "text", "targetDescription": "words", "targetFramework": "text", "targetType": "text"},
    ),
    "Association": _Class("Association", {"associationType": "text", "sourceId": "iri", "targetId": "iri"}),
    "ClrSubject": _Class(
        "ClrSubject",
        {"verifiableCredential": "*object"},
        {"id": "iri", "achievement": "*Achievement", "association": "*Association", "identifier": "*IdentityObject"},
    ),
    "Criteria": _Class(None, {}, {"id": "iri", "narrative": "words"}),
    "EndorsementSubject": _Class("EndorsementSubject", {"id": "iri"}, {"endorsementComment": "words"}),
    "Evidence": _Class(
        "Evidence",
        {},
        {
            "id": "iri",
            "audience": "text",
            "description": "words",
            "genre": "text",
            "name": "words",
            "narrative": "words",
        },
    ),
    "IdentifierEntry": _Class("IdentifierEntry", {"identifier": "text", "identifierType": "text"}),
    "IdentityObject": _Class(
        "IdentityObject", {"hashed": "flag", "identityHash": "text", "identityType": "text"}, {"salt": "text"}
    ),
    "Image": _Class("Image", {"id": "iri"}, {"caption": "text"}),
    "Profile": _Class(
        "Profile",
        {"id": "iri"},
        {
            "description": "words",
            "email": "text",
            "endorsement": "*object",
            "image": "Image",
            "name": "words",
            "otherIdentifier": "*IdentifierEntry",
            "phone": "text",
            "url": "iri",
        },
    ),
    "Related": _Class("Related", {"id": "iri"}),
    "Result": _Class(
        "Result",
        {},
        {
            "achievedLevel": "iri",
            "alignment": "*Alignment",
            "resultDescription": "iri",
            "status": "text",
            "value": "text",
        },
    ),
    "ResultDescription": _Class(
        "ResultDescription",
        {"id": "iri", "name": "words", "resultType": "text"},
        {
            "alignment": "*Alignment",
            "allowedValue": "*text",
            "requiredLevel": "iri",
            "requiredValue": "text",
            "rubricCriterionLevel": "*RubricCriterionLevel",
            "valueMax": "text",
            "valueMin": "text",
        },
    ),
    "RubricCriterionLevel": _Class(
        "RubricCriterionLevel",
        {"id": "iri", "name": "words"},
        {"alignment": "*Alignment", "description": "words", "level": "text", "points": "text"},
    ),
    "Typed": _Class(None, {"id": "iri", "type": "*text"}),
}

_CREDENTIAL: Mapping[str, str] = {
    "id": "iri",
    "type": "*text",
    "issuer": "Profile",
    "validFrom": "instant",
}
_OF_CREDENTIAL: Mapping[str, str] = {
    "validUntil": "instant",
    "awardedDate": "instant",
    "name": "words",
    "description": "words",
    "credentialSchema": "*Typed",
    "credentialStatus": "Typed",
    "endorsement": "*object",
    "evidence": "*Evidence",
    "image": "Image",
    "refreshService": "Typed",
}
SUBJECTS: Mapping[str, str] = {
    "OpenBadgeCredential": "AchievementSubject",
    "EndorsementCredential": "EndorsementSubject",
    "ClrCredential": "ClrSubject",
}
"""The credentials that are known, and what each says something about."""
_ALIASES = {"AchievementCredential": "OpenBadgeCredential"}  # Open Badges 3.0 B.1: two names of one IRI


def credential_class(document: dict[str, Any]) -> str:
    """The key of SUBJECTS that the document's `type` names; raises FormError for none and for several."""
    named = document.get("type")
    types = {_ALIASES.get(x, x) for x in named if isinstance(x, str)} if isinstance(named, list) else set()
    known = sorted(types & set(SUBJECTS))
    if "VerifiableCredential" not in types or len(known) != 1:
        raise FormError(f"type does not name VerifiableCredential and one of {', '.join(SUBJECTS)}")
    return known[0]


def check_schema(document: dict[str, Any], kind: str) -> None:
    """Checks the members of a credential of class `kind`, down to its leaves; raises FormError, naming the member."""
    credential = _Class(None, {**_CREDENTIAL, "credentialSubject": SUBJECTS[kind]}, _OF_CREDENTIAL)
    _check_members(document, credential, kind)
    subject = document["credentialSubject"]
    if kind == "OpenBadgeCredential" and "id" not in subject and "identifier" not in subject:
        raise FormError("credentialSubject has neither id nor identifier: nobody holds it (B.1 AchievementSubject)")


def _check_members(value: dict[str, Any], of: _Class, where: str) -> None:
    if of.type is not None:
        named = value.get("type")
        if of.type != named and not (isinstance(named, list) and of.type in named):
            raise FormError(f"{where}.type is {'missing' if named is None else f'not {of.type}'}")
    for member, rule in of.required.items():
        if member not in value:
            raise FormError(f"{where}.{member} is missing")
        _check(value[member], rule, f"{where}.{member}")
    for member, rule in of.optional.items():
        if member in value:
            _check(value[member], rule, f"{where}.{member}")


def _check(value: Any, rule: str, where: str) -> None:
    """`rule`: a name of _LEAVES or _CLASSES; with `*` before it, one of them or an array of at least one."""
    if rule[0] == "*":
        rule = rule[1:]
        if isinstance(value, list):
            if not 0 < len(value) <= MAX_ITEMS:
                raise FormError(f"{where} has {len(value)} items: 1 to {MAX_ITEMS} are read")
            for number, item in enumerate(value):
                _check(item, rule, f"{where}[{number}]")
            return
    if rule in _LEAVES:
        _LEAVES[rule](value, where)
    elif isinstance(value, dict):
        _check_members(value, _CLASSES[rule], where)
    else:
        raise FormError(f"{where} is not an object")


def _text(value: Any, where: str) -> None:
    if not isinstance(value, str):
        raise FormError(f"{where} is not a string")


def _iri(value: Any, where: str) -> None:
    _text(value, where)
    if not _is_iri(value):
        raise FormError(f"{where} is {value[:80]!r}, which is not an absolute IRI")


@lru_cache(maxsize=4096)  # credentials of one achievement name the same ones: half of the walk's time
def _is_iri(value: str) -> bool:
    try:
        iri(value, "id")
    except BuildError:
        return False
    return True


def _instant(value: Any, where: str) -> None:
    _text(value, where)
    parse_instant(value, where)


def _words(value: Any, where: str) -> None:
    """A string, or one with its language, or several of those (VC Data Model 2.0, 11.1)."""
    if value == []:
        raise FormError(f"{where} is an empty array")
    for item in value if isinstance(value, list) else [value]:
        _text(item.get("@value") if isinstance(item, dict) else item, where)


def _number(value: Any, where: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise FormError(f"{where} is not a number")


def _flag(value: Any, where: str) -> None:
    if not isinstance(value, bool):
        raise FormError(f"{where} is neither true nor false")


def _object(value: Any, where: str) -> None:
    if not isinstance(value, dict):
        raise FormError(f"{where} is not an object")


def _profile_ref(value: Any, where: str) -> None:
    """A Profile, or only its id (B.1 ProfileRef)."""
    if isinstance(value, str):
        _iri(value, where)
    else:
        _check(value, "Profile", where)


_LEAVES: Mapping[str, Callable[[Any, str], None]] = {
    "text": _text,
    "iri": _iri,
    "instant": _instant,
    "words": _words,
    "number": _number,
    "flag": _flag,
    "object": _object,
    "ProfileRef": _profile_ref,
}

"""Who issues and what can be earned: Profile and Achievement (Open Badges 3.0, appendix B.1).

Belongs here: the typed facts of an issuer and of an achievement, and their JSON. Does not belong here: who earned it
(document.py) and where the catalogue lies.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from credential_pipeline.credential.contexts import OB3, VC2
from credential_pipeline.credential.text import BuildError, credit_number, did_web, iri, text, url

# Open Badges 3.0 appendix B, enumerations; each is open for `ext:` values.
ACHIEVEMENT_TYPES = frozenset(
    [
        "Achievement",
        "ApprenticeshipCertificate",
        "Assessment",
        "Assignment",
        "AssociateDegree",
        "Award",
        "Badge",
        "BachelorDegree",
        "Certificate",
        "CertificateOfCompletion",
        "Certification",
        "CommunityService",
        "Competency",
        "Course",
        "CoCurricular",
        "Degree",
        "Diploma",
        "DoctoralDegree",
        "Fieldwork",
        "GeneralEducationDevelopment",
        "JourneymanCertificate",
        "LearningProgram",
        "License",
        "Membership",
        "ProfessionalDoctorate",
        "QualityAssuranceCredential",
        "MasterCertificate",
        "MasterDegree",
        "MicroCredential",
        "ResearchDoctorate",
        "SecondarySchoolDiploma",
    ]
)
RESULT_TYPES = frozenset(
    [
        "GradePointAverage",
        "LetterGrade",
        "Percent",
        "PerformanceLevel",
        "PredictedScore",
        "RawScore",
        "Result",
        "RubricCriterion",
        "RubricCriterionLevel",
        "RubricScore",
        "ScaledScore",
        "Status",
    ]
)
ALIGNMENT_TYPES = frozenset(
    [
        "ceasn:Competency",
        "ceterms:Credential",
        "CFItem",
        "CFRubric",
        "CFRubricCriterion",
        "CFRubricCriterionLevel",
        "CTDL",
    ]
)
_EXTENSION = re.compile(r"ext:[A-Za-z0-9._-]+\Z")
_LANGUAGE = re.compile(r"[a-z]{2,4}(-[A-Z][a-z]{3})?(-([A-Z]{2}|[0-9]{3}))?\Z")  # B.3 LanguageCode
_EMAIL = re.compile(r"[^\s@<>\"]+@[^\s@<>\"]+\Z")


@dataclass(frozen=True, slots=True)
class Issuer:
    """The organisation that signs: `id` is a did:web, `url` its home page, `image` the URL of a logo."""

    id: str
    name: str
    url: str
    description: str | None = None
    email: str | None = None
    image: str | None = None


@dataclass(frozen=True, slots=True)
class Alignment:
    """One node of a competency framework that the achievement covers; members are spelled as in the standard."""

    targetName: str  # noqa: N815
    targetUrl: str  # noqa: N815
    targetType: str | None = None  # noqa: N815
    targetFramework: str | None = None  # noqa: N815
    targetCode: str | None = None  # noqa: N815
    targetDescription: str | None = None  # noqa: N815


@dataclass(frozen=True, slots=True)
class ResultDescription:
    """What one result of the achievement can be; `id` is an absolute IRI, values are strings as in the standard."""

    id: str
    name: str
    resultType: str  # noqa: N815
    valueMin: str | None = None  # noqa: N815
    valueMax: str | None = None  # noqa: N815
    allowedValue: tuple[str, ...] = ()  # noqa: N815
    requiredValue: str | None = None  # noqa: N815


@dataclass(frozen=True, slots=True, kw_only=True)
class Achievement:
    """What can be earned; `id` is the URL where it can be read. Criteria need a narrative, a URL or both."""

    id: str
    name: str
    description: str
    achievement_type: str
    criteria_narrative: str | None = None
    criteria_url: str | None = None
    alignments: tuple[Alignment, ...] = ()
    result_descriptions: tuple[ResultDescription, ...] = ()
    credits_available: Decimal | float | None = None
    tags: tuple[str, ...] = ()
    human_code: str | None = None
    field_of_study: str | None = None
    specialization: str | None = None
    in_language: str | None = None
    image_url: str | None = None
    version: str | None = None


def honors_description(achievement_id: str) -> ResultDescription:
    """The result description that `CredentialFacts.honors` refer to; the achievement has to list it."""
    return ResultDescription(f"{achievement_id}#honors", "Honours", "Result")


def issuer_profile(issuer: Issuer) -> dict[str, Any]:
    """The issuer as a Profile (B.1 Profile); raises BuildError."""
    profile: dict[str, Any] = {
        "id": did_web(issuer.id, "issuer.id"),
        "type": ["Profile"],
        "name": text(issuer.name, "issuer.name"),
        "url": url(issuer.url, "issuer.url"),
    }
    if issuer.description is not None:
        profile["description"] = text(issuer.description, "issuer.description", multiline=True)
    if issuer.email is not None:
        if not _EMAIL.match(issuer.email):
            raise BuildError(f"issuer.email is {issuer.email!r}: an address is needed (B.1 Profile, email)")
        profile["email"] = text(issuer.email, "issuer.email")
    if issuer.image is not None:
        profile["image"] = _image(issuer.image, "issuer.image")
    return profile


def published_issuer(issuer: Issuer) -> dict[str, Any]:
    """The issuer as the document at /issuer.json."""
    return {"@context": [VC2, OB3]} | issuer_profile(issuer)


def achievement_document(achievement: Achievement, issuer: Issuer) -> dict[str, Any]:  # noqa: ARG001
    """The achievement as it stands inside a credential (B.1 Achievement); raises BuildError.

    The creator is left out: inside a credential it is the issuer beside it.
    """
    a = achievement
    built: dict[str, Any] = {
        "id": url(a.id, "achievement.id"),
        "type": ["Achievement"],
        "achievementType": _one_of(a.achievement_type, ACHIEVEMENT_TYPES, "achievement.achievementType"),
        "name": text(a.name, "achievement.name"),
        "description": text(a.description, "achievement.description", multiline=True),
        "criteria": _criteria(a),
    }
    for member, value in (
        ("humanCode", a.human_code),
        ("fieldOfStudy", a.field_of_study),
        ("specialization", a.specialization),
        ("version", a.version),
    ):
        if value is not None:
            built[member] = text(value, f"achievement.{member}")
    if a.in_language is not None:
        if not _LANGUAGE.match(a.in_language):
            raise BuildError(f"achievement.inLanguage is {a.in_language!r}: a BCP 47 code such as en-GB is needed")
        built["inLanguage"] = a.in_language
    if a.credits_available is not None:
        built["creditsAvailable"] = credit_number(a.credits_available, "achievement.creditsAvailable")
    if a.image_url is not None:
        built["image"] = _image(a.image_url, "achievement.image")
    if a.tags:
        built["tag"] = distinct([text(tag, "achievement.tag") for tag in a.tags], "achievement.tag")
    if a.alignments:
        built["alignment"] = distinct([_alignment(x) for x in a.alignments], "achievement.alignment")
    if a.result_descriptions:
        distinct([x.id for x in a.result_descriptions], "achievement.resultDescription.id")
        built["resultDescription"] = [_result_description(x) for x in a.result_descriptions]
    return built


def published_achievement(achievement: Achievement, issuer: Issuer) -> dict[str, Any]:
    """The achievement as the document at its own URL: with context and its creator's Profile."""
    return {
        "@context": [VC2, OB3],
        **achievement_document(achievement, issuer),
        "creator": issuer_profile(issuer),
    }


def distinct(items: list[Any], where: str) -> list[Any]:
    """`items` unchanged if no two are equal: a JSON-LD set holds nothing twice, and equal blank nodes cost RDFC."""
    for i, item in enumerate(items):
        if item in items[:i]:
            raise BuildError(f"{where} holds {item!r} twice: remove one (JSON-LD 1.1, 4.3.2: sets)")
    return items


def _criteria(a: Achievement) -> dict[str, Any]:
    criteria: dict[str, Any] = {}
    if a.criteria_url is not None:
        criteria["id"] = url(a.criteria_url, "achievement.criteria.id")
    if a.criteria_narrative is not None:
        criteria["narrative"] = text(a.criteria_narrative, "achievement.criteria.narrative", multiline=True)
    if not criteria:
        raise BuildError("achievement.criteria has neither a narrative nor a URL (B.1 Achievement, criteria)")
    return criteria


def _alignment(a: Alignment) -> dict[str, Any]:
    built: dict[str, Any] = {
        "type": ["Alignment"],
        "targetName": text(a.targetName, "alignment.targetName"),
        "targetUrl": url(a.targetUrl, "alignment.targetUrl"),
    }
    if a.targetType is not None:
        built["targetType"] = _one_of(a.targetType, ALIGNMENT_TYPES, "alignment.targetType")
    for member, value in (("targetFramework", a.targetFramework), ("targetCode", a.targetCode)):
        if value is not None:
            built[member] = text(value, f"alignment.{member}")
    if a.targetDescription is not None:
        built["targetDescription"] = text(a.targetDescription, "alignment.targetDescription", multiline=True)
    return built


def _result_description(d: ResultDescription) -> dict[str, Any]:
    built: dict[str, Any] = {
        "id": iri(d.id, "resultDescription.id"),
        "type": ["ResultDescription"],
        "name": text(d.name, "resultDescription.name"),
        "resultType": _one_of(d.resultType, RESULT_TYPES, "resultDescription.resultType"),
    }
    if d.allowedValue:
        built["allowedValue"] = distinct(
            [text(value, "resultDescription.allowedValue") for value in d.allowedValue],
            "resultDescription.allowedValue",
        )
    for member, value in (
        ("requiredValue", d.requiredValue),
        ("valueMax", d.valueMax),
        ("valueMin", d.valueMin),
    ):
        if value is not None:
            built[member] = text(value, f"resultDescription.{member}")
    return built


def _image(value: str, where: str) -> dict[str, Any]:
    return {"id": url(value, where), "type": "Image"}


def _one_of(value: str, allowed: Sequence[str] | frozenset[str], where: str) -> str:
    if value not in allowed and not _EXTENSION.match(value):
        raise BuildError(f"{where} is {value!r}: use ext:NAME or one of {', '.join(sorted(allowed))} (appendix B)")
    return value

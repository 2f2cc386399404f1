"""Who issues and what can be earned: Profile and Achievement (Open Badges 3.0, appendix B.1).

Belongs here: the typed facts of an issuer and of an achievement, and their JSON. Does not belong here: what its results
can be (results.py), who earned it (document.py) and where the catalogue lies.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from credential_pipeline.credential.contexts import OB3, VC2
from credential_pipeline.credential.results import (
    Alignment,
    ResultDescription,
    alignments,
    honors_description,
    result_descriptions,
)
from credential_pipeline.credential.text import (
    BuildError,
    credit_number,
    did_web,
    distinct,
    language,
    one_of,
    text,
    url,
)

__all__ = [
    "ACHIEVEMENT_TYPES",
    "Achievement",
    "Alignment",
    "Issuer",
    "Related",
    "ResultDescription",
    "achievement_document",
    "honors_description",
    "issuer_profile",
    "published_achievement",
    "published_issuer",
]

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
class Related:
    """The same achievement in another language or version, by the URL where it can be read (B.1 Related).

    This is how Open Badges 3.0 says a name in several languages: its contexts give `name` and `description` no
    language, and its schema wants them to be plain strings.
    """

    id: str
    in_language: str | None = None
    version: str | None = None


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
    related: tuple[Related, ...] = ()


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


def achievement_document(achievement: Achievement, issuer: Issuer) -> dict[str, Any]:  # noqa: ARG001 - as builders are
    """The achievement as it stands inside a credential (B.1 Achievement); raises BuildError.

    The creator is left out: inside a credential it is the issuer beside it.
    """
    a = achievement
    built: dict[str, Any] = {
        "id": url(a.id, "achievement.id"),
        "type": ["Achievement"],
        "achievementType": one_of(a.achievement_type, ACHIEVEMENT_TYPES, "achievement.achievementType"),
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
        built["inLanguage"] = language(a.in_language, "achievement.inLanguage")
    if a.credits_available is not None:
        built["creditsAvailable"] = credit_number(a.credits_available, "achievement.creditsAvailable")
    if a.image_url is not None:
        built["image"] = _image(a.image_url, "achievement.image")
    if a.tags:
        built["tag"] = distinct([text(tag, "achievement.tag") for tag in a.tags], "achievement.tag")
    if a.alignments:
        built["alignment"] = alignments(a.alignments, "achievement")
    if a.result_descriptions:
        built["resultDescription"] = result_descriptions(a.result_descriptions)
    if a.related:
        distinct([a.id, *(x.id for x in a.related)], "achievement.related.id")
        built["related"] = [_related(x) for x in a.related]
    return built


def published_achievement(achievement: Achievement, issuer: Issuer) -> dict[str, Any]:
    """The achievement as the document at its own URL: with context and its creator's Profile."""
    return {
        "@context": [VC2, OB3],
        **achievement_document(achievement, issuer),
        "creator": issuer_profile(issuer),
    }


def _criteria(a: Achievement) -> dict[str, Any]:
    criteria: dict[str, Any] = {}
    if a.criteria_url is not None:
        criteria["id"] = url(a.criteria_url, "achievement.criteria.id")
    if a.criteria_narrative is not None:
        criteria["narrative"] = text(a.criteria_narrative, "achievement.criteria.narrative", multiline=True)
    if not criteria:
        raise BuildError("achievement.criteria has neither a narrative nor a URL (B.1 Achievement, criteria)")
    return criteria


def _related(related: Related) -> dict[str, Any]:
    built: dict[str, Any] = {"id": url(related.id, "related.id"), "type": ["Related"]}
    if related.in_language is not None:
        built["inLanguage"] = language(related.in_language, "related.inLanguage")
    if related.version is not None:
        built["version"] = text(related.version, "related.version")
    return built


def _image(value: str, where: str) -> dict[str, Any]:
    return {"id": url(value, where), "type": "Image"}

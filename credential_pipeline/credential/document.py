"""The credential itself: facts in, an unsigned Open Badges 3.0 document out (with the VC Data Model 2.0 around it).

Belongs here: who earned what, when, with which result, and where its status is. Does not belong here: signing
(proof.py), where the facts come from, and what is published beside a credential (site_documents.py). The names of
achievement.py and site_documents.py are at hand here too, so that a caller imports one module.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from credential_pipeline.credential.achievement import (
    Achievement,
    Alignment,
    Issuer,
    ResultDescription,
    achievement_document,
    distinct,
    honors_description,
    issuer_profile,
    published_achievement,
    published_issuer,
)
from credential_pipeline.credential.contexts import OB3, OB3_EXTENSIONS, VC2
from credential_pipeline.credential.site_documents import (
    STATES,
    KeyPeriod,
    did_document,
    keys_document,
    state_document,
    status_list_credential,
)
from credential_pipeline.credential.text import BuildError, credit_number, instant, iri, midnight, serialize, text, url

__all__ = [
    "STATES",
    "Achievement",
    "Alignment",
    "BuildError",
    "CredentialFacts",
    "HashedIdentifier",
    "Issuer",
    "KeyPeriod",
    "Result",
    "ResultDescription",
    "StatusEntry",
    "achievement_document",
    "did_document",
    "honors_description",
    "identity_hash",
    "issuer_profile",
    "keys_document",
    "open_badge_credential",
    "published_achievement",
    "published_issuer",
    "serialize",
    "state_document",
    "status_list_credential",
]

CONTEXTS = (VC2, OB3, OB3_EXTENSIONS)
"""In this order (VC Data Model 2.0, 4.3); the extensions define the types of credentialSchema and refreshService."""
CREDENTIAL_SCHEMA = "https://purl.imsglobal.org/spec/ob/v3p0/schema/json/ob_v3p0_achievementcredential_schema.json"

IDENTITY_TYPES = frozenset(
    [
        "name",
        "sourcedId",
        "systemId",
        "productId",
        "userName",
        "accountId",
        "emailAddress",
        "nationalIdentityNumber",
        "isbn",
        "issn",
        "lisSourcedId",
        "oneRosterSourcedId",
        "sisSourcedId",
        "ltiContextId",
        "ltiDeploymentId",
        "ltiToolId",
        "ltiPlatformId",
        "ltiUserId",
        "identifier",
    ]
)
RESULT_STATUSES = frozenset(["Completed", "Enrolled", "Failed", "InProgress", "OnHold", "Provisional", "Withdrew"])


@dataclass(frozen=True, slots=True)
class HashedIdentifier:
    """An identifier of the holder that is published as a salted hash only (B.1 IdentityObject)."""

    identity_type: str
    value: str
    salt: str


@dataclass(frozen=True, slots=True)
class Result:
    """One result; `result_description` is the id of one that the achievement lists."""

    value: str
    result_description: str | None = None
    status: str | None = None
    achieved_level: str | None = None


@dataclass(frozen=True, slots=True)
class StatusEntry:
    """The credential's place in a status list; purpose `revocation` or `suspension`."""

    list_url: str
    index: int
    purpose: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialFacts:
    """All that one credential says. `as_of` becomes validFrom and `created` of the proofs: aware, in whole seconds."""

    url: str
    as_of: datetime
    awarded_on: date
    issuer: Issuer
    achievement: Achievement
    identifiers: tuple[HashedIdentifier, ...]
    status: StatusEntry
    refresh_url: str
    valid_until: datetime | None = None
    name: str | None = None
    results: tuple[Result, ...] = ()
    credits_earned: Decimal | float | None = None
    term: str | None = None
    honors: tuple[str, ...] = ()
    """Each becomes a result of `honors_description(achievement.id)`: a Result may hold any text, a credential no other
    member for it (B.1 AchievementSubject)."""


def identity_hash(value: str, salt: str) -> str:
    """`sha256$` + hex SHA-256 of the identifier followed by the salt (Open Badges 3.0, B.2 IdentityHash)."""
    return "sha256$" + hashlib.sha256((value + salt).encode("utf-8")).hexdigest()


def open_badge_credential(facts: CredentialFacts) -> dict[str, Any]:
    """The unsigned OpenBadgeCredential of `facts` (B.1 AchievementCredential); raises BuildError."""
    starts = instant(facts.as_of, "as_of")
    awarded = midnight(facts.awarded_on, "awarded_on")
    if awarded > facts.as_of:
        raise BuildError(
            f"awardedDate {facts.awarded_on} is after validFrom {starts}: nothing is awarded ahead of time"
        )
    credential: dict[str, Any] = {
        "@context": list(CONTEXTS),
        "id": url(facts.url, "credential.id"),
        "type": ["VerifiableCredential", "OpenBadgeCredential"],
        "name": text(facts.achievement.name, "achievement.name"),
        "issuer": issuer_profile(facts.issuer),
        "validFrom": starts,
        "awardedDate": instant(awarded, "awarded_on"),
    }
    if facts.valid_until is not None:
        credential["validUntil"] = instant(facts.valid_until, "valid_until")
        if facts.valid_until <= facts.as_of:
            raise BuildError(f"validUntil {credential['validUntil']} is not after validFrom {starts} (VC 2.0, 4.9)")
    credential["credentialSubject"] = _subject(facts)
    credential["credentialStatus"] = _status(facts.status)
    credential["credentialSchema"] = [{"id": CREDENTIAL_SCHEMA, "type": "1EdTechJsonSchemaValidator2019"}]
    credential["refreshService"] = {
        "id": url(facts.refresh_url, "refreshService.id"),
        "type": "1EdTechCredentialRefresh",
    }
    return credential


def _subject(facts: CredentialFacts) -> dict[str, Any]:
    if not facts.identifiers:
        raise BuildError(
            "credentialSubject has neither id nor identifier: give one identifier (B.1 AchievementSubject)"
        )
    identifiers = [_identity(x) for x in facts.identifiers]
    if facts.name is not None:
        identifiers.append(
            {
                "type": "IdentityObject",
                "identityHash": text(facts.name, "name"),
                "identityType": "name",
                "hashed": False,
            }
        )
    subject: dict[str, Any] = {
        "type": ["AchievementSubject"],
        "identifier": distinct(identifiers, "credentialSubject.identifier"),
        "achievement": achievement_document(facts.achievement, facts.issuer),
    }
    if facts.credits_earned is not None:
        subject["creditsEarned"] = credit_number(facts.credits_earned, "credentialSubject.creditsEarned")
    if facts.term is not None:
        subject["term"] = text(facts.term, "credentialSubject.term")
    described = {x.id: x for x in facts.achievement.result_descriptions}
    honors = tuple(Result(honor, honors_description(facts.achievement.id).id) for honor in facts.honors)
    if results := [_result(x, described) for x in (*facts.results, *honors)]:
        subject["result"] = distinct(results, "credentialSubject.result")
    return subject


def _identity(identifier: HashedIdentifier) -> dict[str, Any]:
    kind = identifier.identity_type
    if kind not in IDENTITY_TYPES and not kind.startswith("ext:"):
        raise BuildError(
            f"identityType is {kind!r}: use ext:NAME or one of {', '.join(sorted(IDENTITY_TYPES))} (B.1 IdentityObject)"
        )
    return {
        "type": "IdentityObject",
        "identityHash": identity_hash(text(identifier.value, kind), text(identifier.salt, "salt")),
        "identityType": text(kind, "identityType"),
        "hashed": True,
        "salt": identifier.salt,
    }


def _result(result: Result, described: dict[str, ResultDescription]) -> dict[str, Any]:
    built: dict[str, Any] = {"type": ["Result"], "value": text(result.value, "result.value")}
    if result.result_description is not None:
        description = described.get(result.result_description)
        if description is None:
            raise BuildError(
                f"result.resultDescription is {result.result_description!r}, which the achievement does not list: add"
                " it to its result descriptions (B.1 Result; for honours: honors_description)"
            )
        built["resultDescription"] = description.id
        refuse_outside(result.value, description)
    if result.status is not None:
        if result.status not in RESULT_STATUSES:
            raise BuildError(f"result.status is {result.status!r}: use one of {', '.join(sorted(RESULT_STATUSES))}")
        built["status"] = result.status
    if result.achieved_level is not None:
        built["achievedLevel"] = iri(result.achieved_level, "result.achievedLevel")
    return built


def refuse_outside(value: str, description: ResultDescription) -> None:
    """Raises BuildError unless the value lies in allowedValue, or between valueMin and valueMax (B.1)."""
    if description.allowedValue and value not in description.allowedValue:
        raise BuildError(
            f"the result {value!r} of {description.name!r} is not one of {', '.join(description.allowedValue)}"
        )
    if description.valueMin is None and description.valueMax is None:
        return
    try:
        number = Decimal(value)
        low = number if description.valueMin is None else Decimal(description.valueMin)
        high = number if description.valueMax is None else Decimal(description.valueMax)
        outside = not low <= number <= high  # comparing NaN raises too
    except InvalidOperation as cause:
        raise BuildError(f"the result {value!r} of {description.name!r} or its limits are not numbers") from cause
    if outside:
        raise BuildError(f"the result {value!r} of {description.name!r} is outside {low} to {high}")


def _status(entry: StatusEntry) -> dict[str, Any]:
    if entry.purpose not in ("revocation", "suspension"):
        raise BuildError(
            f"statusPurpose is {entry.purpose!r}: use revocation or suspension (Bitstring Status List 2.1)"
        )
    if entry.index < 0:
        raise BuildError(f"statusListIndex is {entry.index}: it counts from 0 (Bitstring Status List 2.1)")
    return {
        "id": f"{url(entry.list_url, 'statusListCredential')}#{entry.index}",
        "type": "BitstringStatusListEntry",
        "statusPurpose": entry.purpose,
        "statusListIndex": str(entry.index),
        "statusListCredential": entry.list_url,
    }

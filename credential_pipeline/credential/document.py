"""The credential itself: facts in, an unsigned Open Badges 3.0 document out (with the VC Data Model 2.0 around it).

Belongs here: who earned what, when, with which result, and where its status is. Does not belong here: signing
(proof.py), where the facts come from, and what is published beside a credential (site_documents.py). The names of
achievement.py and site_documents.py are at hand here too, so that a caller imports one module.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from credential_pipeline.credential.achievement import (
    Achievement,
    Alignment,
    Issuer,
    Related,
    ResultDescription,
    achievement_document,
    honors_description,
    issuer_profile,
    published_achievement,
    published_issuer,
)
from credential_pipeline.credential.contexts import OB3, OB3_EXTENSIONS, VC2
from credential_pipeline.credential.results import Result, RubricCriterionLevel, refuse_outside, result
from credential_pipeline.credential.site_documents import (
    STATES,
    KeyPeriod,
    did_document,
    keys_document,
    state_document,
    status_list_credential,
)
from credential_pipeline.credential.text import (
    BuildError,
    credit_number,
    distinct,
    instant,
    iri,
    midnight,
    one_of,
    serialize,
    text,
    url,
    validity,
)

__all__ = [
    "CONTEXTS",
    "STATES",
    "Achievement",
    "Alignment",
    "BuildError",
    "CredentialFacts",
    "Evidence",
    "HashedIdentifier",
    "Issuer",
    "KeyPeriod",
    "Related",
    "Result",
    "ResultDescription",
    "RubricCriterionLevel",
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
    "refuse_outside",
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


# Frozen as the achievement is, what one credential says would cost 2.3 us more to make, of 48 to its last byte.
@dataclass(unsafe_hash=True, slots=True)
class HashedIdentifier:
    """An identifier of the holder that is published as a salted hash only (B.1 IdentityObject)."""

    identity_type: str
    value: str
    salt: str


@dataclass(unsafe_hash=True, slots=True)
class Evidence:
    """What shows that the achievement was earned (B.1 Evidence); `url` is where it can be seen. One member at least."""

    url: str | None = None
    name: str | None = None
    narrative: str | None = None
    description: str | None = None
    genre: str | None = None
    audience: str | None = None


@dataclass(unsafe_hash=True, slots=True)
class StatusEntry:
    """The credential's place in a status list; purpose `revocation` or `suspension`."""

    list_url: str
    index: int
    purpose: str


@dataclass(unsafe_hash=True, slots=True, kw_only=True)
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
    evidence: tuple[Evidence, ...] = ()
    narrative: str | None = None
    """What this holder did; may have several lines."""
    role: str | None = None
    license_number: str | None = None
    activity: tuple[date, date] | None = None
    """First and last day of what was done for it."""
    holder: str | None = None
    """A DID or another IRI of the holder, which a wallet can show to be its own."""


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
        credential["validUntil"] = validity(facts.as_of, facts.valid_until)
    credential["credentialSubject"] = _subject(facts)
    if facts.evidence:
        credential["evidence"] = distinct([_evidence(x) for x in facts.evidence], "evidence")
    credential["credentialStatus"] = status_entry(facts.status)
    credential["credentialSchema"] = schema(CREDENTIAL_SCHEMA)
    credential["refreshService"] = refresh_service(facts.refresh_url)
    return credential


def _subject(facts: CredentialFacts) -> dict[str, Any]:
    if not facts.identifiers and facts.holder is None:
        raise BuildError(
            "credentialSubject has neither id nor identifier: give one identifier (B.1 AchievementSubject)"
        )
    subject: dict[str, Any] = {} if facts.holder is None else {"id": iri(facts.holder, "credentialSubject.id")}
    subject["type"] = ["AchievementSubject"]
    if found := identity_objects(facts.identifiers, facts.name):
        subject["identifier"] = found
    subject["achievement"] = achievement_document(facts.achievement, facts.issuer)
    if facts.credits_earned is not None:
        subject["creditsEarned"] = credit_number(facts.credits_earned, "credentialSubject.creditsEarned")
    for member, value in (("term", facts.term), ("role", facts.role), ("licenseNumber", facts.license_number)):
        if value is not None:
            subject[member] = text(value, f"credentialSubject.{member}")
    if facts.narrative is not None:
        subject["narrative"] = text(facts.narrative, "credentialSubject.narrative", multiline=True)
    if facts.activity is not None:
        subject |= _activity(*facts.activity)
    described = {x.id: x for x in facts.achievement.result_descriptions}
    honors = tuple(Result(honor, honors_description(facts.achievement.id).id) for honor in facts.honors)
    if results := [result(x, described) for x in (*facts.results, *honors)]:
        subject["result"] = distinct(results, "credentialSubject.result")
    return subject


def _activity(first: date, last: date) -> dict[str, str]:
    if last < first:
        raise BuildError(f"activityEndDate {last} is before activityStartDate {first} (B.1 AchievementSubject)")
    members = (("activityStartDate", first), ("activityEndDate", last))
    return {member: instant(midnight(day, member), member) for member, day in members}


def identity_objects(identifiers: Iterable[HashedIdentifier], name: str | None) -> list[dict[str, Any]]:
    """The `identifier` of a subject: hashed identifiers, and the name in clear (B.1 IdentityObject)."""
    found = [_identity(x) for x in identifiers]
    if name is not None:
        found.append(
            {
                "type": "IdentityObject",
                "identityHash": text(name, "name"),
                "identityType": "name",
                "hashed": False,
            }
        )
    return distinct(found, "credentialSubject.identifier")


def _identity(identifier: HashedIdentifier) -> dict[str, Any]:
    kind = one_of(identifier.identity_type, IDENTITY_TYPES, "identityType")
    return {
        "type": "IdentityObject",
        "identityHash": identity_hash(text(identifier.value, kind), text(identifier.salt, "salt")),
        "identityType": kind,
        "hashed": True,
        "salt": identifier.salt,
    }


def _evidence(evidence: Evidence) -> dict[str, Any]:
    built: dict[str, Any] = {"type": ["Evidence"]}
    if evidence.url is not None:
        built = {"id": url(evidence.url, "evidence.id")} | built
    for member in ("name", "narrative", "description", "genre", "audience"):
        value = getattr(evidence, member)
        if value is not None:
            built[member] = text(value, f"evidence.{member}", multiline=member in ("narrative", "description"))
    if len(built) == 1:
        raise BuildError("evidence says nothing: give it a URL, a name or a narrative (B.1 Evidence)")
    return built


def schema(address: str) -> list[dict[str, str]]:
    """The `credentialSchema` that names one of 1EdTech's JSON schemas (Open Badges 3.0, B.1 CredentialSchema)."""
    return [{"id": address, "type": "1EdTechJsonSchemaValidator2019"}]


def refresh_service(address: str) -> dict[str, str]:
    """The `refreshService`: where a holder learns whether this is the current version (B.1 RefreshService)."""
    return {"id": url(address, "refreshService.id"), "type": "1EdTechCredentialRefresh"}


def status_entry(entry: StatusEntry) -> dict[str, Any]:
    """The `credentialStatus` (Bitstring Status List 2.1); raises BuildError."""
    if entry.purpose not in ("revocation", "suspension"):
        raise BuildError(
            f"statusPurpose is {entry.purpose!r}: use revocation or suspension (Bitstring Status List 2.1)"
        )
    if entry.index < 0:
        raise BuildError(f"statusListIndex is {entry.index}: it counts from 0 (Bitstring Status List 2.1)")
    if "#" in url(entry.list_url, "statusListCredential"):
        raise BuildError(
            f"statusListCredential is {entry.list_url!r}: give the list's own URL, the entry's id is a fragment of it"
            " (Bitstring Status List 2.1; RFC 3986 3.5)"
        )
    return {
        "id": f"{entry.list_url}#{entry.index}",
        "type": "BitstringStatusListEntry",
        "statusPurpose": entry.purpose,
        "statusListIndex": str(entry.index),
        "statusListCredential": entry.list_url,
    }

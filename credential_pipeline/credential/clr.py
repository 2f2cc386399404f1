"""The learner record: signed credentials of one person in one signed document (CLR 2.0, ClrCredential).

Belongs here: facts and signed members in, an unsigned ClrCredential out; and the members of one as they were signed.
Does not belong here: signing and verifying (proof.py, verify.py), whose credentials belong together, publication. A
grade point average is a result of the member that earned the programme. A record holds the name and the identifiers of
a person once more: whoever keeps one keeps personal data, and an erasure has to reach it.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from credential_pipeline.credential.achievement import Achievement, Issuer, achievement_document, issuer_profile
from credential_pipeline.credential.contexts import CLR2, OB3, OB3_EXTENSIONS, VC2
from credential_pipeline.credential.document import (
    HashedIdentifier,
    StatusEntry,
    identity_objects,
    refresh_service,
    schema,
    status_entry,
)
from credential_pipeline.credential.text import (
    BuildError,
    FormError,
    distinct,
    instant,
    iri,
    parse_instant,
    text,
    url,
    validity,
)

CLR_CONTEXTS = (VC2, CLR2, OB3, OB3_EXTENSIONS)
"""In this order (CLR 2.0, ClrCredential @context); the extensions define the type of credentialSchema."""
CLR_SCHEMA = "https://purl.imsglobal.org/spec/clr/v2p0/schema/json/clr_v2p0_clrcredential_schema.json"

ASSOCIATION_TYPES = frozenset(
    ["exactMatchOf", "isChildOf", "isParentOf", "isPartOf", "isPeerOf", "isRelatedTo", "precedes", "replacedBy"]
)
"""CLR 2.0, AssociationType; not open for others."""
_MEMBER_TYPES = frozenset(["OpenBadgeCredential", "AchievementCredential", "EndorsementCredential"])


@dataclass(frozen=True, slots=True)
class Association:
    """How one achievement of the record stands to another, by their ids: a course `isPartOf` a programme."""

    type: str
    source: str
    target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClrFacts:
    """All that a record says beside its members. `as_of` becomes validFrom: aware, in whole seconds.

    `members`: signed credentials, embedded as they are. `achievements`: those that nobody has earned yet, such as the
    rest of a programme; an association may lead to them. `partial`: the issuer knows of more than it says here.
    """

    url: str
    as_of: datetime
    issuer: Issuer
    name: str
    members: Sequence[Mapping[str, Any]]
    identifiers: tuple[HashedIdentifier, ...] = ()
    holder: str | None = None
    person_name: str | None = None
    achievements: tuple[Achievement, ...] = ()
    associations: tuple[Association, ...] = ()
    partial: bool = False
    description: str | None = None
    valid_until: datetime | None = None
    status: StatusEntry | None = None
    refresh_url: str | None = None


def clr_credential(facts: ClrFacts) -> dict[str, Any]:
    """The unsigned ClrCredential of `facts` (CLR 2.0, ClrCredential and ClrSubject); raises BuildError.

    Members are copied, so that the record stays what it was when somebody changes one of them later.
    """
    credential: dict[str, Any] = {
        "@context": list(CLR_CONTEXTS),
        "id": url(facts.url, "credential.id"),
        "type": ["VerifiableCredential", "ClrCredential"],
        "name": text(facts.name, "credential.name"),
    }
    if facts.description is not None:
        credential["description"] = text(facts.description, "credential.description", multiline=True)
    if facts.partial:
        credential["partial"] = True
    credential["issuer"] = issuer_profile(facts.issuer)
    credential["validFrom"] = instant(facts.as_of, "as_of")
    if facts.valid_until is not None:
        credential["validUntil"] = validity(facts.as_of, facts.valid_until)
    credential["credentialSubject"] = _subject(facts)
    if facts.status is not None:
        credential["credentialStatus"] = status_entry(facts.status)
    credential["credentialSchema"] = schema(CLR_SCHEMA)
    if facts.refresh_url is not None:
        credential["refreshService"] = refresh_service(facts.refresh_url)
    return credential


def members_of(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The embedded credentials of a ClrCredential, each as it was signed: it verifies alone. None are copied."""
    members: list[dict[str, Any]] = record["credentialSubject"]["verifiableCredential"]
    return members


def _subject(facts: ClrFacts) -> dict[str, Any]:
    subject: dict[str, Any] = {} if facts.holder is None else {"id": iri(facts.holder, "credentialSubject.id")}
    subject["type"] = ["ClrSubject"]
    if found := identity_objects(facts.identifiers, facts.person_name):
        subject["identifier"] = found
    if not found and facts.holder is None:
        raise BuildError("credentialSubject has neither id nor identifier: say whose record it is (CLR 2.0 ClrSubject)")
    if facts.achievements:
        subject["achievement"] = [achievement_document(x, facts.issuer) for x in facts.achievements]
    subject["verifiableCredential"] = _members(facts)
    if facts.associations:
        known = {x.id for x in facts.achievements} | _earned(facts.members)
        subject["association"] = distinct([_association(x, known) for x in facts.associations], "association")
    distinct([x.id for x in facts.achievements], "credentialSubject.achievement.id")
    return subject


def _members(facts: ClrFacts) -> list[dict[str, Any]]:
    if not facts.members:
        raise BuildError("a record has no members: embed one signed credential at least (CLR 2.0 ClrSubject)")
    members = [copy.deepcopy(dict(member)) for member in facts.members]
    for number, member in enumerate(members):
        _refuse_unfit(member, facts, f"verifiableCredential[{number}]")
    distinct([facts.url, *(member["id"] for member in members)], "verifiableCredential.id")
    return members


def _refuse_unfit(member: Mapping[str, Any], facts: ClrFacts, where: str) -> None:
    """What would not stand on its own once it is taken out again."""
    contexts = member.get("@context")
    if not isinstance(contexts, list) or contexts[:1] != [VC2] or not all(isinstance(x, str) for x in contexts):
        raise BuildError(f"{where}.@context does not begin with {VC2}: it could not be verified alone (VC 2.0, 4.3)")
    if not _MEMBER_TYPES & set(member.get("type", [])):
        raise BuildError(f"{where}.type is none of {', '.join(sorted(_MEMBER_TYPES))} (CLR 2.0 ClrSubject)")
    if not member.get("proof"):
        raise BuildError(f"{where} is not signed: members are verifiable credentials (CLR 2.0 ClrSubject)")
    url(str(member.get("id", "")), f"{where}.id")
    subject = member.get("credentialSubject")
    if not isinstance(subject, dict):
        raise BuildError(f"{where}.credentialSubject is not an object (Open Badges 3.0, B.1 AchievementCredential)")
    if _starts(member, where) > facts.as_of:
        raise BuildError(f"{where}.validFrom is after that of the record: take a later instant (VC 2.0, 4.9)")
    holder = subject.get("id")
    badge = "EndorsementCredential" not in member["type"]
    if badge and None not in (holder, facts.holder) and holder != facts.holder:
        raise BuildError(f"{where} is about somebody else: {holder!r} and not {facts.holder!r} (CLR 2.0 ClrSubject)")


def _starts(member: Mapping[str, Any], where: str) -> datetime:
    try:
        return parse_instant(str(member.get("validFrom")), f"{where}.validFrom")
    except FormError as cause:
        raise BuildError(f"{cause} (VC 2.0, 4.9)") from cause


def _earned(members: Sequence[Mapping[str, Any]]) -> set[str]:
    subjects = [member["credentialSubject"] for member in members]
    return {subject["achievement"]["id"] for subject in subjects if "achievement" in subject}


def _association(association: Association, known: set[str]) -> dict[str, str]:
    if association.type not in ASSOCIATION_TYPES:
        raise BuildError(
            f"associationType is {association.type!r}: use one of {', '.join(sorted(ASSOCIATION_TYPES))}"
            " (CLR 2.0 AssociationType)"
        )
    for end in (association.source, association.target):
        if end not in known:
            raise BuildError(f"an association leads to {end!r}, an achievement that is not in the record (CLR 2.0)")
    if association.source == association.target:
        raise BuildError(f"an association leads from {association.source!r} to itself (CLR 2.0 Association)")
    return {
        "type": "Association",
        "associationType": association.type,
        "sourceId": iri(association.source, "association.sourceId"),
        "targetId": iri(association.target, "association.targetId"),
    }

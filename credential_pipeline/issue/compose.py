"""A plan line -> the facts of its document; and a signed document -> does it say what the line planned?

Belongs here: pure translation both ways. Does not belong here: SQL and the ledger (apply.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

from credential_pipeline.credential import identifiers
from credential_pipeline.credential.document import (
    CredentialFacts,
    HashedIdentifier,
    StatusEntry,
    identity_hash,
)
from credential_pipeline.credential.text import instant
from credential_pipeline.errors import Terminal
from credential_pipeline.institution import Institution
from credential_pipeline.institution.catalogue import Achievement
from credential_pipeline.institution.describe import achievement_of, evidence_of, issuer_of, results_of


class CheckError(Terminal):
    """A signed document is not what its plan line says; nothing of the chunk is recorded."""


@dataclass(frozen=True)
class Versioned:
    """A secret and the version it is stored under."""

    version: int
    value: bytes


@dataclass(frozen=True)
class CreateLine:
    """A create line as apply reads it, with its place in a status list."""

    ordinal: int
    award_id: UUID
    credential_id: UUID
    cause: str
    person_id: UUID
    achievement: str
    facts: Mapping[str, Any]
    list_number: int
    status_index: int
    prior_id: UUID | None = None


class Composer:
    """Turns create lines of one plan into facts; all that they share is worked out once."""

    def __init__(
        self,
        institution: Institution,
        achievements: Mapping[str, Achievement],
        as_of: datetime,
        ids: Versioned,
        salts: Versioned,
    ) -> None:
        self._base = institution.base_url
        self._institution = institution
        self._issuer = issuer_of(institution)
        self._achievements = achievements
        self._as_of = as_of
        self.salts = salts
        self.ids = ids
        self._described: dict[str, Any] = {}

    def public_id(self, credential: UUID) -> str:
        """The name a credential has in URLs."""
        return identifiers.public_id(self.ids.value, credential)

    def facts(self, line: CreateLine, public: str | None = None) -> CredentialFacts:
        """Everything the document of this line says; `public`: its public id, where it is at hand."""
        achievement = self._achievements[line.achievement]
        described = self._described.get(achievement.id)
        if described is None:
            described = self._described[achievement.id] = achievement_of(self._institution, achievement)
        public = public or self.public_id(line.credential_id)
        planned, salts = line.facts, self.salts.value
        valid_until = planned.get("valid_until")
        return CredentialFacts(
            url=f"{self._base}/credentials/{public}.json",
            as_of=self._as_of,
            awarded_on=_day(planned["awarded_on"]),
            valid_until=_instant(valid_until) if valid_until else None,
            issuer=self._issuer,
            achievement=described,
            identifiers=tuple(
                [
                    HashedIdentifier(i["type"], i["value"], identifiers.salt(salts, line.credential_id, i["type"]))
                    for i in planned["identifiers"]
                ]
            ),
            name=planned.get("name"),
            results=tuple(results_of(described.id, achievement.results, planned.get("results", ()))),
            evidence=evidence_of(achievement.evidence, planned.get("evidence", ())),
            narrative=planned.get("narrative"),
            credits_earned=achievement.credits,
            term=None if planned["occurrence"] == "once" else planned["occurrence"],
            status=StatusEntry(
                f"{self._base}/status/{line.list_number}.json", line.status_index, achievement.status_purpose
            ),
            refresh_url=f"{self._base}/state/{public}.json",
        )


def compare(document: Mapping[str, Any], line: CreateLine, planned: CredentialFacts) -> None:
    """Compare a document, read back from its final bytes, with its plan line and the facts made of it.

    Raises:
        CheckError: it names another credential, holder, achievement, date or status entry than the line.
    """
    subject, status = document["credentialSubject"], document["credentialStatus"]
    found = (
        document["id"],
        subject["achievement"]["id"],
        document["awardedDate"][:10],
        document.get("validUntil"),
        sorted([i["identityHash"] for i in subject["identifier"]]),
        [r["value"] for r in subject.get("result", ())],
        [e["id"] for e in document.get("evidence", ())],
        subject.get("narrative"),
        (status["statusListCredential"], status["statusListIndex"]),
    )
    hashes = [identity_hash(i.value, i.salt) for i in planned.identifiers]
    name = line.facts.get("name")
    expected = (
        planned.url,
        planned.achievement.id,
        line.facts["awarded_on"],
        _written(planned.valid_until) if planned.valid_until else None,
        sorted([*hashes, name] if name else hashes),
        [r["value"] for r in line.facts.get("results", ())],
        [e["url"] for e in line.facts.get("evidence", ())],
        line.facts.get("narrative"),
        (planned.status.list_url, str(line.status_index)),
    )
    if found != expected:
        differing = [member for member, a, b in zip(COMPARED, found, expected, strict=True) if a != b]
        raise CheckError(
            f"credential {line.credential_id} differs from its plan line in {', '.join(differing)}; nothing of this "
            "chunk was recorded. This is a fault of the pipeline: report it with the plan's id"
        )


COMPARED = (
    "id",
    "achievement",
    "awardedDate",
    "validUntil",
    "identifiers",
    "results",
    "evidence",
    "narrative",
    "status",
)


@lru_cache(maxsize=1000)
def _day(written: str) -> date:
    return date.fromisoformat(written)


@lru_cache(maxsize=1000)
def _instant(written: str) -> datetime:
    return datetime.fromisoformat(written)


@lru_cache(maxsize=1000)
def _written(valid_until: datetime) -> str:
    return instant(valid_until, "validUntil")

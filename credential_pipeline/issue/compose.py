"""A plan line -> the facts of its document; and a signed document -> does it say what the line planned?

Belongs here: pure translation both ways. Does not belong here: SQL and the ledger (apply.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from credential_pipeline.credential import identifiers
from credential_pipeline.credential.document import (
    CredentialFacts,
    HashedIdentifier,
    Result,
    StatusEntry,
    identity_hash,
)
from credential_pipeline.errors import Terminal
from credential_pipeline.institution import Institution
from credential_pipeline.institution.catalogue import Achievement
from credential_pipeline.institution.describe import achievement_of, issuer_of, result_description_id


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

    def facts(self, line: CreateLine) -> CredentialFacts:
        """Everything the document of this line says."""
        achievement = self._achievements[line.achievement]
        described = self._described.get(achievement.id)
        if described is None:
            described = self._described[achievement.id] = achievement_of(self._institution, achievement)
        public = self.public_id(line.credential_id)
        valid_until = line.facts.get("valid_until")
        return CredentialFacts(
            url=f"{self._base}/credentials/{public}.json",
            as_of=self._as_of,
            awarded_on=date.fromisoformat(line.facts["awarded_on"]),
            valid_until=datetime.fromisoformat(valid_until) if valid_until else None,
            issuer=self._issuer,
            achievement=described,
            identifiers=tuple(
                HashedIdentifier(
                    i["type"], i["value"], identifiers.salt(self.salts.value, line.credential_id, i["type"])
                )
                for i in line.facts["identifiers"]
            ),
            name=line.facts.get("name"),
            results=tuple(
                Result(value=r["value"], result_description=result_description_id(described.id, r["id"]))
                for r in line.facts.get("results", ())
            ),
            credits_earned=achievement.credits,
            term=None if line.facts["occurrence"] == "once" else line.facts["occurrence"],
            status=StatusEntry(
                f"{self._base}/status/{line.list_number}.json", line.status_index, achievement.status_purpose
            ),
            refresh_url=f"{self._base}/state/{public}.json",
        )


def compare(document: Mapping[str, Any], line: CreateLine, composer: Composer) -> None:
    """Compare a document, read back from its final bytes, with its plan line.

    Raises:
        CheckError: it names another credential, holder, achievement, date or status entry than the line.
    """
    planned = composer.facts(line)
    subject = document["credentialSubject"]
    found = {
        "id": document["id"],
        "achievement": subject["achievement"]["id"],
        "awardedDate": document["awardedDate"][:10],
        "validUntil": document.get("validUntil"),
        "identifiers": sorted(i["identityHash"] for i in subject["identifier"]),
        "results": [r["value"] for r in subject.get("result", ())],
        "status": (
            document["credentialStatus"]["statusListCredential"],
            document["credentialStatus"]["statusListIndex"],
        ),
    }
    hashes = [identity_hash(i.value, i.salt) for i in planned.identifiers]
    expected = {
        "id": planned.url,
        "achievement": planned.achievement.id,
        "awardedDate": planned.awarded_on.isoformat(),
        "validUntil": planned.valid_until.strftime("%Y-%m-%dT%H:%M:%SZ") if planned.valid_until else None,
        "identifiers": sorted([*hashes, *([planned.name] if planned.name else [])]),
        "results": [r.value for r in planned.results],
        "status": (planned.status.list_url, str(planned.status.index)),
    }
    if differing := [member for member in expected if expected[member] != found[member]]:
        raise CheckError(
            f"credential {line.credential_id} differs from its plan line in {', '.join(differing)}; nothing of this "
            "chunk was recorded. This is a fault of the pipeline: report it with the plan's id"
        )

"""Endorsements and learner records for the tests of this room, beside the credentials of forms.py."""

from __future__ import annotations

from datetime import timedelta
from functools import cache
from typing import Any

from credential_pipeline.credential.clr import Association, ClrFacts, clr_credential
from credential_pipeline.credential.document import HashedIdentifier, Issuer, Result, StatusEntry, open_badge_credential
from credential_pipeline.credential.endorsement import EndorsementFacts, endorsement_credential
from credential_pipeline.credential.proof import sign
from credential_pipeline_tests.credential.forms import (
    AS_OF,
    BASE,
    COURSE,
    ISSUER,
    NOW,
    OUTCOME,
    RICH,
    SIGNER,
    SKILL,
    SKILL_ID,
    facts,
)

BOARD = Issuer("did:web:board.example.org", "Board of Nursing", "https://board.example.org")
LEAST_ENDORSEMENT: dict[str, Any] = {
    "url": "https://board.example.org/endorsements/1.json",
    "as_of": AS_OF,
    "issuer": BOARD,
    "endorsed": SKILL_ID,
    "name": "Endorsement of Patient Care",
}
MEMBERS = (
    facts(31, name="Ada Lovelace"),
    facts(32, achievement=RICH, name="Ada Lovelace", results=(Result("87.5", RICH.result_descriptions[0].id),)),
    facts(33, achievement=SKILL, name="Ada Lovelace", results=(OUTCOME, Result("3.7", f"{SKILL_ID}#gpa"))),
    facts(34, name="Ada Lovelace", term="2024FA"),
)
LEAST_RECORD: dict[str, Any] = {
    "url": f"{BASE}/records/1.json",
    "as_of": NOW,
    "issuer": ISSUER,
    "name": "Transcript",
    "identifiers": (HashedIdentifier("sourcedId", "S1", "5a17" * 8),),
}


@cache
def signed_members() -> tuple[dict[str, Any], ...]:
    return tuple(sign(open_badge_credential(x), SIGNER, x.as_of) for x in MEMBERS)


@cache
def signed_endorsement() -> dict[str, Any]:
    return sign(
        endorsement_credential(EndorsementFacts(**LEAST_ENDORSEMENT, comment="A fine\nprogramme.")), SIGNER, NOW
    )


def endorsement(**changes: Any) -> dict[str, Any]:
    return endorsement_credential(EndorsementFacts(**(LEAST_ENDORSEMENT | changes)))


def record(**changes: Any) -> dict[str, Any]:
    return clr_credential(ClrFacts(**(LEAST_RECORD | {"members": signed_members()} | changes)))


def record_forms() -> dict[str, dict[str, Any]]:
    """Unsigned, by name."""
    until = NOW + timedelta(days=400)
    status = StatusEntry(f"{BASE}/status/1.json", 77, "revocation")
    return {
        "endorsement": endorsement(),
        "endorsement_of_an_issuer": endorsement(
            endorsed=ISSUER.id,
            comment="In good standing.\nSince 1850.",
            description="A yearly review.",
            valid_until=until,
            status=status,
            refresh_url="https://board.example.org/state/1.json",
        ),
        "record": record(members=signed_members()[:1]),
        "transcript": record(
            holder="did:example:ada",
            person_name="Ada Lovelace",
            description="All of it,\nso far.",
            achievements=(SKILL,),
            associations=(
                Association("isPartOf", COURSE.id, RICH.id),
                Association("precedes", RICH.id, SKILL.id),
            ),
            members=(*signed_members(), signed_endorsement()),
            partial=True,
            valid_until=until,
            status=status,
            refresh_url=f"{BASE}/state/1.json",
        ),
    }

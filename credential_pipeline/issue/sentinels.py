"""Documents about nobody: what an achievement's credentials look like, with invented persons, for a dictionary.

Belongs here: making them from the catalogue and a seed alone. Does not belong here: any row of a source; a dictionary
is kept for good, so nothing of a person may ever be in it.
"""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from credential_pipeline.credential.document import open_badge_credential
from credential_pipeline.credential.multikey import encode_base58btc
from credential_pipeline.credential.proof import BOTH, proof_config
from credential_pipeline.credential.text import BuildError, serialize
from credential_pipeline.institution import Institution
from credential_pipeline.institution.catalogue import Achievement
from credential_pipeline.institution.shown import ResultField
from credential_pipeline.issue.compose import Composer, CreateLine, Versioned
from credential_pipeline.store.document_form import train

SAMPLES = 24
"""More train no better dictionary (64 save another 0.5 %) and take longer: 24 take 8 ms."""
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_YEARS = datetime(2020, 1, 1, tzinfo=UTC)


def sentinel_dictionary(institution: Institution, achievement: Achievement) -> bytes | None:
    """A dictionary for the credentials of an achievement; None where no credential of it could be built."""
    try:
        return train(sentinel_documents(institution, achievement))
    except BuildError:  # what is wrong is told with a line, when one is made
        return None


def sentinel_documents(institution: Institution, achievement: Achievement) -> list[bytes]:
    """Documents as the ledger keeps them, with names, identifiers, results, days and proofs drawn by lot."""
    draw = random.Random(achievement.version)  # noqa: S311 - the same for everybody, by design
    return [_document(institution, achievement, draw) for _ in range(SAMPLES)]


def _document(institution: Institution, achievement: Achievement, draw: random.Random) -> bytes:
    as_of = _YEARS + timedelta(seconds=draw.randrange(10**9))
    line = CreateLine(
        ordinal=0,
        award_id=_id(draw),
        credential_id=_id(draw),
        cause="issue",
        person_id=_id(draw),
        achievement=achievement.id,
        facts=_facts(institution, achievement, as_of, draw),
        list_number=draw.randrange(1, 10**3),
        status_index=draw.randrange(10**5),
    )
    secrets = [Versioned(1, draw.randbytes(32)) for _ in range(2)]
    facts = Composer(institution, {achievement.id: achievement}, as_of, *secrets).facts(line)
    document = open_badge_credential(facts)
    method = f"{institution.issuer_did}#key-1"
    proofs = [
        proof_config(document, suite, method, as_of) | {"proofValue": encode_base58btc(draw.randbytes(64))}
        for suite in BOTH
    ]
    return serialize(document | {"proof": proofs})


def _facts(institution: Institution, achievement: Achievement, as_of: datetime, draw: random.Random) -> dict[str, Any]:
    awarded = (as_of - timedelta(days=draw.randrange(1, 100))).date()
    facts: dict[str, Any] = {
        "awarded_on": awarded.isoformat(),
        "occurrence": "once" if achievement.occurrence == "once" else _word(draw).upper(),
        "identifiers": [
            {"type": identifier.type, "value": _word(draw)} for identifier in institution.recipient.identifiers
        ],
    }
    if institution.recipient.name == "shown":
        facts["name"] = f"{_word(draw).title()} {_word(draw).title()}"
    if achievement.results:
        facts["results"] = [{"id": result.id, "value": _value(result, draw)} for result in achievement.results]
    if achievement.validity:
        facts["valid_until"] = (as_of + timedelta(days=draw.randrange(100, 1000))).isoformat()
    return facts


def _value(result: ResultField, draw: random.Random) -> str:
    if result.allowed:
        return draw.choice(result.allowed)
    return draw.choice([limit for limit in (result.min, result.max) if limit] or [str(draw.randrange(100))])


def _word(draw: random.Random) -> str:
    return "".join(draw.choices(_LETTERS, k=draw.randrange(5, 9)))


def _id(draw: random.Random) -> UUID:
    return UUID(int=draw.getrandbits(128))

"""Everything that hangs on a person: source records, merges, awards, credentials, holds, and their erasure.

Belongs here: reading that chain. Does not belong here: what a name means and how a chain is told (explain.py).
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from credential_pipeline.report.explain_credential import RECORDS
from credential_pipeline.report.explain_reading import (
    credentials_of,
    erasure_of,
    events_of,
    every,
    holds_of,
    one,
    some,
    without_nothing,
)

PERSON = "select person_id, first_source_key, first_day, run_id, recorded_at from identity.person where person_id = :id"

SURVIVOR = """
select person_id as merged_into, reason, merged_at, run_id from identity.person_alias where alias_id = :id
"""

ALIASES = """
select alias_id, reason, merged_at, run_id from identity.person_alias where person_id = :person_id order by merged_at
"""

AWARDS = """
select award_id, achievement, occurrence, awarded_on, duplicate_of, day as earned_on, run_id
from ledger.award where person_id = :person_id order by achievement, occurrence, award_id
"""

REVIEWS = """
select left_key, right_key, reason, state, decided_by, opened_at from identity.review_pair
where left_key = any(:keys) or right_key = any(:keys) order by opened_at
"""


def explain_person(connection: Connection, person_id: UUID) -> dict[str, Any]:
    """The chain of a person that is there; of somebody who was merged, the survivor's."""
    merged = one(connection, SURVIVOR, {"id": person_id})
    person = one(connection, PERSON, {"id": merged.get("merged_into", person_id)})
    records = every(connection, RECORDS, person)
    awards = some(connection, AWARDS, person)
    ids = [award["award_id"] for award in awards if "award_id" in award]
    credentials = credentials_of(connection, ids)
    return without_nothing(
        {
            "person": person,
            "merged": merged,
            "merged_into_this": every(connection, ALIASES, person),
            "source_records": records,
            "review_pairs": every(connection, REVIEWS, {"keys": [record["source_key"] for record in records]}),
            "awards": awards,
            "credentials": credentials,
            "holds": holds_of(connection, ids),
            "events": events_of(connection, [c["credential_id"] for c in credentials if "credential_id" in c]),
            "erasure": erasure_of(connection, person["person_id"]),
        }
    )

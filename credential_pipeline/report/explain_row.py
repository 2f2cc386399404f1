"""Forward from one source row: where it stands, what the gate and the catalogue made of it, and what came of that.

Belongs here: reading that chain. Does not belong here: what a name means and how a chain is told (explain.py).
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection

from credential_pipeline.report.explain_reading import (
    SHOWN,
    credentials_of,
    erasure_of,
    events_of,
    every,
    holds_of,
    objects_of,
    one,
    rows_of,
    some,
    without_nothing,
)

ROW = """
select r.dataset, encode(r.row_hash, 'hex') as row_hash, r.copy, r.problems, r.day as landed_on, r.run_id,
       case when a.row_id is not null then 'accepted'
            when exists (select from quarantine.reason q where q.row_id = r.row_id) then 'quarantined'
            else 'not judged yet' end as verdict
from landed.row r left join accepted.row a using (row_id) where r.row_id = :row
"""

PLACES = """
select f.name as file, p.row_number as row, encode(f.digest, 'hex') as file_digest, f.day as landed_on, f.run_id
from landed.file_row p join landed.file f using (file_id) where p.row_id = :row order by f.file_id, p.row_number
"""

ACCEPTED = """
select day as accepted_on, encode(fields_hash, 'hex') as fields_hash, recorded_at, run_id, lookup_rows
from accepted.row where row_id = :row
"""

# Not the bad value: it may be personal, and who may see it looks into quarantine.reason.
REASONS = """
select code, nullif(field, '') as field, remedy, opened_at, resolved_at, run_id
from quarantine.reason where row_id = :row order by opened_at, code, field
"""

RECORD = """
select s.source_key, s.person_id, s.link_rule, s.day as read_on, s.run_id
from identity.source_record s where s.row_id = :row or s.source_key = (
  select source_key from accepted.row where row_id = :row) order by s.source_key
"""

DECISIONS = """
select nullif(d.achievement, '') as achievement, d.outcome, d.reason, d.award_id, w.duplicate_of,
       encode(d.catalogue_version, 'hex') as catalogue_version, d.recorded_at, d.run_id
from ledger.decision d left join ledger.award w using (award_id) where d.row_id = :row order by d.achievement
"""

LINES = """
select p.plan_id, p.kind, p.scope, p.state as plan_state, l.ordinal, l.action, l.state, l.reasons, l.achievement,
       l.run_id
from ledger.plan_line l join ledger.plan p using (plan_id) where l.row_id = :row order by p.recorded_at, l.ordinal
"""

# One more than is shown, so that `rows_of` says that there are others.
COMPLETED = f"""
select a.row_id from accepted.row a where a.lookup_rows <> '{{}}' and a.lookup_rows @> array[cast(:row as bigint)]
limit {SHOWN + 1}
"""


def explain_row(connection: Connection, row_id: int) -> dict[str, Any]:
    """What became of a landed row that is there."""
    within = {"row": row_id}
    accepted = one(connection, ACCEPTED, within)
    decisions = every(connection, DECISIONS, within)
    awards = [d["award_id"] for d in decisions if d["award_id"]]
    credentials = credentials_of(connection, awards)
    ids = [c["credential_id"] for c in credentials if "credential_id" in c]
    persons = every(connection, RECORD, within)
    owners = {d["person_id"] for d in persons} | _owners(connection, awards)
    return without_nothing(
        {
            "row": one(connection, ROW, within),
            "stands_in": some(connection, PLACES, within),
            "accepted": {name: value for name, value in accepted.items() if name != "lookup_rows"},
            "completed_from": rows_of(connection, accepted.get("lookup_rows", [])),
            "quarantine": every(connection, REASONS, within),
            "source_records": persons,
            "decisions": decisions,
            "plan_lines": some(connection, LINES, within),
            "holds": holds_of(connection, awards),
            "credentials": credentials,
            "events": events_of(connection, ids),
            "publications": objects_of(connection, ids),
            "completed_rows": rows_of(connection, [found["row_id"] for found in every(connection, COMPLETED, within)]),
            "erasures": [found for owner in sorted(owners) if (found := erasure_of(connection, owner))],
        }
    )


def _owners(connection: Connection, awards: list[Any]) -> set[Any]:
    found = every(
        connection, "select distinct person_id from ledger.award where award_id = any(:awards)", {"awards": awards}
    )
    return {row["person_id"] for row in found}

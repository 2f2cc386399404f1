"""Backward from one credential: plan line -> rule -> person -> source records -> file, row, hash -> run.

Belongs here: reading that chain. Does not belong here: what a name means and how a chain is told (explain.py).
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from credential_pipeline.report.explain_reading import credentials_of, erasure_of, every, objects_of, one

CREDENTIAL = """
select c.credential_id, c.public_id, c.award_id, c.cause, c.achievement, w.occurrence, c.awarded_on, c.valid_until,
       c.as_of, s.state, s.version, s.changed_at, s.superseded_by, c.key_id, c.list_number, c.status_index, c.plan_id,
       c.ordinal, encode(c.document_sha256, 'hex') as document_sha256, c.run_id, c.recorded_at,
       case when c.document is null then 'yes' end as erased
from ledger.credential c join ledger.award w using (award_id) join ledger.credential_state s using (credential_id)
where c.credential_id = :id
"""

LINE = """
select p.plan_id, encode(p.hash, 'hex') as plan_hash, p.kind, p.scope, p.as_of, p.created_by, p.reason, p.run_id,
       l.ordinal, l.action, l.reasons, l.inputs, l.prior_id, l.row_id,
       encode(p.catalogue_version, 'hex') as catalogue_version
from ledger.plan_line l join ledger.plan p using (plan_id)
where p.plan_id = :plan_id and l.ordinal = :ordinal
"""

RULE = """
select p.value->>'id' as programme, a.value->'earned_by' as earned_by, a.value->'occurrence' as occurrence,
       a.value->>'approval' as approval
from ledger.catalogue_version v, jsonb_path_query(v.catalogue, '$.programmes[*]') as p(value),
     jsonb_path_query(p.value, '$.achievements[*]') as a(value)
where v.catalogue_version = decode(:version, 'hex') and a.value->>'id' = :achievement
"""

PERSON = """
select w.person_id, p.first_source_key, p.first_day, p.run_id
from ledger.award w join identity.person p using (person_id) where w.award_id = :award_id
"""

RECORDS = """
select s.source_key, s.link_rule, f.name as file, r.row_number as row, encode(r.row_hash, 'hex') as row_hash,
       r.day as landed_on, r.run_id
from identity.source_record s join landed.row r using (row_id) join landed.file f using (file_id)
where s.person_id = :person_id order by s.source_key
"""

# A plan line of a renewal or a correction cites no row: the one that earned the award did.
EARNED_BY = """
select row_id from ledger.decision where award_id = :award_id and outcome = 'earning' order by row_id limit 1
"""

# The row that earned it, and the rows its fields were completed from.
EVIDENCE = """
select case when r.row_id = :row then 'earned by' else 'completed from' end as part, r.dataset, f.name as file,
       r.row_number as row, encode(r.row_hash, 'hex') as row_hash, r.day as landed_on, r.run_id
from landed.row r join landed.file f using (file_id)
where r.row_id = any(array(select :row union all select unnest(lookup_rows) from accepted.row where row_id = :row))
order by (r.row_id <> :row), r.dataset, r.row_number
"""

EVENTS = """
select seq, kind, actor, reason, detail, happened_at, run_id from ledger.event
where credential_id = :credential_id order by seq
"""

APPROVALS = """
select kind, approver, approved_at, expires_at from ledger.approval where plan_id = :plan_id order by approval_id
"""


def explain_credential(connection: Connection, credential_id: UUID) -> dict[str, Any]:
    """The chain of a credential that is there."""
    credential = one(connection, CREDENTIAL, {"id": credential_id})
    line = one(connection, LINE, credential)
    rule = one(connection, RULE, {"version": line["catalogue_version"], "achievement": credential["achievement"]})
    person = one(connection, PERSON, credential)
    row = line.pop("row_id") or one(connection, EARNED_BY, credential).get("row_id")
    others = [
        version
        for version in credentials_of(connection, [credential["award_id"]])
        if version.get("credential_id") != credential_id
    ]
    version = line.pop("catalogue_version")
    chain: dict[str, Any] = {
        "credential": {name: value for name, value in credential.items() if name not in ("plan_id", "ordinal")},
        "plan_line": {**line, "approvals": every(connection, APPROVALS, credential)},
        "rule": {"achievement": credential["achievement"], "catalogue_version": version, **rule},
        "person": person,
        "source_records": every(connection, RECORDS, person),
        "evidence": every(connection, EVIDENCE, {"row": row}) if row else [],
        "events": every(connection, EVENTS, credential),
        "publications": objects_of(connection, [credential_id]),
    }
    if others:
        chain["other_versions"] = others
    if erased := erasure_of(connection, person["person_id"]):
        chain["erasure"] = erased
    return chain

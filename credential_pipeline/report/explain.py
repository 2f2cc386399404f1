"""The lineage of one credential: credential -> plan line -> rule -> person -> source records -> file, row, hash -> run.

Belongs here: reading the chain and telling it. Shows source keys and hashes, never a name or an address.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Engine, text

from credential_pipeline.errors import Terminal


def explain_credential(engine: Engine, name: str) -> dict[str, Any]:
    """The chain of the credential with this credential_id, public_id or URL, as one JSON-ready object.

    Raises:
        Terminal: no credential has this name.
    """
    with engine.connect() as connection:
        credential = _credential(connection, name)
        line = _one(
            connection,
            "select p.plan_id, encode(p.hash, 'hex') as plan_hash, p.scope, p.as_of, p.created_by, p.run_id,"
            " l.ordinal, l.action, l.reasons, l.inputs, l.row_id,"
            " encode(p.catalogue_version, 'hex') as catalogue_version"
            " from ledger.plan_line l join ledger.plan p using (plan_id)"
            " where p.plan_id = :plan_id and l.ordinal = :ordinal",
            credential,
        )
        rule = _one(
            connection,
            "select p.value->>'id' as programme, a.value->'earned_by' as earned_by,"
            " a.value->'occurrence' as occurrence, a.value->>'approval' as approval from ledger.catalogue_version v,"
            " jsonb_path_query(v.catalogue, '$.programmes[*]') as p(value),"
            " jsonb_path_query(p.value, '$.achievements[*]') as a(value)"
            " where v.catalogue_version = decode(:version, 'hex') and a.value->>'id' = :achievement",
            {"version": line["catalogue_version"], "achievement": credential["achievement"]},
        )
        approvals = _all(
            connection,
            "select kind, approver, approved_at from ledger.approval where plan_id = :plan_id order by approval_id",
            credential,
        )
        person = _one(
            connection,
            "select w.person_id, p.first_source_key, p.first_day, p.run_id from ledger.award w"
            " join identity.person p using (person_id) where w.award_id = :award_id",
            credential,
        )
        records = _all(
            connection,
            "select s.source_key, s.link_rule, f.name as file, r.row_number as row,"
            " encode(r.row_hash, 'hex') as row_hash, r.day as landed_on, r.run_id"
            " from identity.source_record s join landed.row r using (row_id) join landed.file f using (file_id)"
            " where s.person_id = :person_id order by s.source_key",
            person,
        )
        evidence = _evidence(connection, line["row_id"])
        events = _all(
            connection,
            "select seq, kind, actor, reason, happened_at, run_id from ledger.event"
            " where credential_id = :credential_id order by seq",
            credential,
        )
    for internal in ("plan_id", "ordinal"):
        credential.pop(internal)
    line.pop("row_id")
    rule = {"achievement": credential["achievement"], "catalogue_version": line.pop("catalogue_version"), **rule}
    return {
        "credential": credential,
        "plan_line": {**line, "approvals": approvals},
        "rule": rule,
        "person": person,
        "source_records": records,
        "evidence": evidence,
        "events": events,
    }


def _credential(connection: Connection, name: str) -> dict[str, Any]:
    found = re.search(r"([a-z2-7]{26})(?:\.json)?/?$", name.strip())
    try:
        wanted: dict[str, object] = {"id": UUID(name.strip()), "public": None}
    except ValueError:
        wanted = {"id": None, "public": found.group(1) if found else None}
    row = connection.execute(
        text(
            "select c.credential_id, c.public_id, c.award_id, c.cause, c.achievement, w.occurrence, c.awarded_on,"
            " c.valid_until, c.as_of, s.state, c.key_id, c.list_number, c.status_index, c.plan_id, c.ordinal,"
            " encode(c.document_sha256, 'hex') as document_sha256, c.run_id, c.recorded_at"
            " from ledger.credential c join ledger.award w using (award_id) join ledger.credential_state s"
            " using (credential_id) where c.credential_id = :id or c.public_id = :public"
        ),
        wanted,
    ).first()
    if row is None:
        raise Terminal(f"no credential {name!r} in this ledger; give its credential_id, its public id or its URL")
    return row._asdict()


def _evidence(connection: Connection, row_id: int) -> list[dict[str, Any]]:
    """The row that earned it, and the rows its fields were completed from."""
    return _all(
        connection,
        "select case when r.row_id = :row then 'earned by' else 'completed from' end as part, r.dataset,"
        " f.name as file, r.row_number as row, encode(r.row_hash, 'hex') as row_hash, r.day as landed_on, r.run_id"
        " from landed.row r join landed.file f using (file_id) where r.row_id = :row or r.row_id in ("
        "   select unnest(lookup_rows) from accepted.row where row_id = :row)"
        " order by (r.row_id <> :row), r.dataset, r.row_number",
        {"row": row_id},
    )


def _one(connection: Connection, statement: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    row = connection.execute(text(statement), dict(parameters)).first()
    return row._asdict() if row is not None else {}


def _all(connection: Connection, statement: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [row._asdict() for row in connection.execute(text(statement), dict(parameters))]


def as_text(chain: Mapping[str, Any]) -> str:
    """The chain for a person to read, from the credential back to the file."""
    lines = []
    for title, part in chain.items():
        lines.append(title.replace("_", " "))
        for entry in part if isinstance(part, list) else [part]:
            pairs = [(name, _told(value)) for name, value in entry.items() if value is not None]
            if isinstance(part, list):
                lines.append("  - " + "  ".join(f"{name}={value}" for name, value in pairs))
            else:
                lines.extend(f"  {name:<18} {value}" for name, value in pairs)
    return "\n".join(lines)


def _told(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {_told(member)}" for name, member in value.items())
    if isinstance(value, list | tuple):
        return "; ".join(map(_told, value)) or "none"
    return str(value)

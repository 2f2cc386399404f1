"""The two audit logs as one: events of credentials, and actions about everything else, in the order they happened.

Belongs here: reading and writing them out. Does not belong here: keeping them (`ledger.event` and `ledger.action` are
append-only by trigger and by grant). No personal data is in either; `actor` and `reason` are what staff wrote.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Engine, text

from credential_pipeline.errors import Terminal

KINDS = ("credential", "person", "plan", "award", "hold", "key")
"""Things that a subject can name: `KIND:ID`."""

# An entry of either log in one shape. `log` and `id` name the row; `seq` counts the events of a credential.
EVENTS = """
select happened_at, 'event' as log, event_id as id, 'credential:' || credential_id as subject, kind, actor, reason,
       detail, run_id, seq
from ledger.event e where {where}
"""

ACTIONS = """
select happened_at, 'action', action_id, subject, kind, actor, reason, detail, run_id, null
from ledger.action a where {where}
"""

# Which events belong to a subject that is not a credential, each by an index.
EVENTS_OF = {
    "credential": "e.credential_id = cast(:id as uuid)",
    "person": "e.credential_id in (select c.credential_id from ledger.credential c"
    " join (select cast(:id as uuid) as person_id union"
    "       select alias_id from identity.person_alias where person_id = cast(:id as uuid)) p using (person_id))",
    "plan": "e.credential_id in (select credential_id from ledger.credential where plan_id = cast(:id as uuid)"
    " union select prior_id from ledger.plan_line where plan_id = cast(:id as uuid))",
    "award": "e.credential_id in (select credential_id from ledger.credential where award_id = cast(:id as uuid))",
    "key": "e.credential_id in (select credential_id from ledger.credential where key_id = :id)",
}


def audit_entries(
    engine: Engine, *, since: datetime | None = None, until: datetime | None = None, subject: str | None = None
) -> Iterator[dict[str, Any]]:
    """Every entry from `since` on and before `until`, of all or of one subject (`KIND:ID`), oldest first.

    Streamed: any number of entries in the same memory.

    Raises:
        Terminal: the subject is not KIND:ID of a known kind.
    """
    kind, name = _subject(subject)
    in_time = (
        " and happened_at >= coalesce(cast(:since as timestamptz), '-infinity')"
        " and happened_at < coalesce(cast(:until as timestamptz), 'infinity')"
    )
    events, actions = ("true", "true") if kind is None else (EVENTS_OF.get(kind, "false"), "a.subject = :subject")
    statement = (
        EVENTS.format(where=events + in_time)
        + "union all"
        + ACTIONS.format(where=actions + in_time)
        + "order by happened_at, log, id"
    )
    parameters = {"since": since, "until": until, "id": name, "subject": subject}
    with engine.connect() as connection:
        rows = connection.execute(text(statement), parameters, execution_options={"yield_per": 2000})
        for row in rows:
            yield _entry(row._asdict())


def _subject(subject: str | None) -> tuple[str | None, str | None]:
    if subject is None:
        return None, None
    kind, _, name = subject.partition(":")
    if kind not in KINDS or not name:
        raise Terminal(f"{subject!r} is no subject; write {', '.join(f'{k}:ID' for k in KINDS)}")
    if kind != "key" and not re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", name):
        raise Terminal(f"{subject!r} is no subject; the id of a {kind} is a UUID in lower case, as `explain` shows it")
    return kind, name


def _entry(row: Mapping[str, Any]) -> dict[str, Any]:
    told = {"at": row["happened_at"], **{name: value for name, value in row.items() if name != "happened_at"}}
    return {name: value for name, value in told.items() if value is not None}


def as_json_line(entry: Mapping[str, Any]) -> str:
    """One entry as a line of JSON Lines."""
    return json.dumps(entry, ensure_ascii=False, default=_plain)


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(f"{type(value).__name__} in the audit log")

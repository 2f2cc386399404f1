"""Reading for the chains of `explain`: rows as JSON-ready members, and the parts that several chains share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

SHOWN = 20
"""Entries shown where there can be a million; `more` says that there are others."""


def one(connection: Connection, statement: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The first row, or nothing."""
    row = connection.execute(text(statement), dict(parameters)).first()
    return row._asdict() if row is not None else {}


def every(connection: Connection, statement: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All rows."""
    return [row._asdict() for row in connection.execute(text(statement), dict(parameters))]


def some(connection: Connection, statement: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The first rows of possibly very many."""
    found = every(connection, f"{statement} limit {SHOWN + 1}", parameters)
    return [*found[:SHOWN], {"more": "yes"}] if len(found) > SHOWN else found


CREDENTIALS = """
select c.credential_id, c.public_id, c.achievement, w.occurrence, c.cause, s.state, s.version, s.changed_at,
       s.superseded_by, c.awarded_on, c.valid_until, c.as_of, c.plan_id, c.run_id,
       case when c.document is null then 'yes' end as erased
from ledger.award w join ledger.credential c using (award_id) join ledger.credential_state s using (credential_id)
"""


def credentials_of(connection: Connection, awards: Sequence[UUID]) -> list[dict[str, Any]]:
    """All versions of some awards, with where each stands."""
    return some(
        connection,
        CREDENTIALS + " where w.award_id = any(:awards) order by c.achievement, w.occurrence, c.as_of, c.cause",
        {"awards": list(awards)},
    )


def holds_of(connection: Connection, awards: Sequence[UUID]) -> list[dict[str, Any]]:
    """What of some awards waits, or waited, for a person."""
    return some(
        connection,
        "select award_id, cause, action, state, reasons, plan_id, opened_at, decided_by, decided_at"
        " from ledger.hold where award_id = any(:awards) order by opened_at, award_id",
        {"awards": list(awards)},
    )


def events_of(connection: Connection, credentials: Sequence[UUID]) -> list[dict[str, Any]]:
    """What happened to some credentials, in order."""
    return some(
        connection,
        "select credential_id, seq, kind, actor, reason, detail, happened_at, run_id from ledger.event"
        " where credential_id = any(:credentials) order by happened_at, credential_id, seq",
        {"credentials": list(credentials)},
    )


def objects_of(connection: Connection, credentials: Sequence[UUID]) -> list[dict[str, Any]]:
    """Where some credentials and their states are published."""
    return some(
        connection,
        "select target, path, kind, version, published_at, run_id from ledger.publication"
        " where credential_id = any(:credentials) order by target, path",
        {"credentials": list(credentials)},
    )


def erasure_of(connection: Connection, person: UUID | None) -> dict[str, Any]:
    """That and when a person was erased."""
    return one(
        connection,
        "select erased_at, actor, reason, counts, run_id from ledger.erasure where person_id = :person",
        {"person": person},
    )


def rows_of(connection: Connection, rows: Sequence[int]) -> list[dict[str, Any]]:
    """Landed rows with the place where each was seen first."""
    return some(
        connection,
        "select r.dataset, f.name as file, r.row_number as row, encode(r.row_hash, 'hex') as row_hash,"
        " r.day as landed_on, r.run_id, case when r.problems ? 'erased' then 'yes' end as erased"
        " from landed.row r join landed.file f using (file_id) where r.row_id = any(:rows) order by 1, 2, 3",
        {"rows": list(rows)},
    )


def without_nothing(chain: Mapping[str, Any]) -> dict[str, Any]:
    """The chain without parts that are empty."""
    return {name: part for name, part in chain.items() if part not in ({}, [], None)}

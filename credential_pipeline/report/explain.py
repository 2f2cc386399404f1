"""Where something comes from and what became of it: credential, person, source row, batch of a day, plan.

Belongs here: which of them a name means. Does not belong here: the chains (explain_credential.py and its neighbours).
Source keys and hashes are shown, never a name or an address. Every query goes by an index, or over a table that stays
small (files, plans, catalogues): milliseconds on a million credentials.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Engine, text

from credential_pipeline.errors import Terminal
from credential_pipeline.report.explain_credential import explain_credential
from credential_pipeline.report.explain_person import explain_person
from credential_pipeline.report.explain_plan import explain_batch, explain_plan
from credential_pipeline.report.explain_row import explain_row

DAY = re.compile(r"\d{4}-\d\d-\d\d\Z")
ROW_HASH = re.compile(r"[0-9a-f]{64}\Z")
FILE_ROW = re.compile(r"(?P<file>.+):(?P<row>[1-9]\d*)\Z")
PREFIX = re.compile(r"(credential|person|row|batch|day|plan):(?P<rest>.+)\Z")


CHAINS: Mapping[str, Callable[[Connection, Any], dict[str, Any]]] = {
    "credential": explain_credential,
    "person": explain_person,
    "row": explain_row,
    "batch": explain_batch,
    "plan": explain_plan,
}


@dataclass(frozen=True)
class _Meant:
    kind: str
    value: Any


def explain(engine: Engine, name: str) -> dict[str, Any]:
    """The chain of whatever `name` names, as one JSON-ready object whose first member says what it is.

    A credential_id, public id or URL; a person_id or `SOURCE:KEY`; `FILE:ROW` or a row hash; a day; a plan_id. A
    prefix (`person:UUID`, `row:FILE:ROW`, ...), as the audit log writes subjects, is understood too.

    Raises:
        Terminal: nothing has this name.
    """
    with engine.connect() as connection:
        meant = _meant(connection, name.strip())
        if meant is None:
            raise Terminal(
                f"nothing in this ledger is named {name!r}; give a credential (credential_id, public id or URL), a"
                " person (person_id or SOURCE:KEY), a row (FILE:ROW or row hash), a day (YYYY-MM-DD) or a plan_id"
            )
        return CHAINS[meant.kind](connection, meant.value)


def _meant(connection: Connection, name: str) -> _Meant | None:
    prefixed = PREFIX.match(name)
    if prefixed and (found := _meant(connection, prefixed["rest"])):
        return found
    if DAY.match(name):
        return _Meant("batch", name)
    try:
        return _by_id(connection, UUID(name))
    except ValueError:
        pass
    for look in (_by_public_id, _by_source_key, _by_row):
        if found := look(connection, name):
            return found
    return None


BY_ID = (
    ("credential", "select credential_id from ledger.credential where credential_id = :id"),
    ("person", "select person_id from identity.person where person_id = :id"),
    ("plan", "select plan_id from ledger.plan where plan_id = :id"),
    # An award is told by its newest credential, or by its person while it has none.
    (
        "credential",
        """select credential_id from ledger.credential where award_id = :id
        order by as_of desc, recorded_at desc limit 1""",
    ),
    ("person", "select person_id from ledger.award where award_id = :id"),
)


def _by_id(connection: Connection, wanted: UUID) -> _Meant | None:
    for kind, statement in BY_ID:
        if (found := connection.scalar(text(statement), {"id": wanted})) is not None:
            return _Meant(kind, found)
    return None


def _by_public_id(connection: Connection, name: str) -> _Meant | None:
    public = re.search(r"([a-z2-7]{26})(?:\.json)?/?\Z", name)
    found = public and connection.scalar(
        text("select credential_id from ledger.credential where public_id = :public"), {"public": public.group(1)}
    )
    return _Meant("credential", found) if found else None


def _by_source_key(connection: Connection, name: str) -> _Meant | None:
    found = connection.scalar(
        text("select person_id from identity.source_record where source_key = :name"), {"name": name}
    )
    return _Meant("person", found) if found else None


def _by_row(connection: Connection, name: str) -> _Meant | None:
    if ROW_HASH.match(name):
        # The datasets are few and named by the files: so the index (dataset, row_hash, copy) is of use.
        found = connection.scalar(
            text(
                "select row_id from landed.row where dataset = any(array(select distinct dataset from landed.file))"
                " and row_hash = :hash order by copy limit 1"
            ),
            {"hash": bytes.fromhex(name)},
        )
        return _Meant("row", found) if found else None
    if not (placed := FILE_ROW.match(name)):
        return None
    # Of several contents under one name the newest speaks; its chain names the others.
    found = connection.scalar(
        text(
            "select r.row_id from landed.file f join landed.file_row r on r.file_id = f.file_id and r.row_number = :row"
            " where f.name = :file order by f.file_id desc limit 1"
        ),
        {"file": placed["file"], "row": int(placed["row"])},
    )
    return _Meant("row", found) if found else None


def as_text(chain: Mapping[str, Any]) -> str:
    """A chain for a person to read."""
    lines = []
    for title, part in chain.items():
        if not isinstance(part, Mapping | list):
            lines.append(f"{title.replace('_', ' '):<20} {part}")
            continue
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

"""Which credentials a change is about: by name, by a file of names, or by what is known of them.

Belongs here: reading the names, finding their credentials, and saying how they were selected without a word about a
person. Does not belong here: what is done with them (change.py, correct.py).
"""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from uuid import UUID

from sqlalchemy import Connection, text

from credential_pipeline.errors import Terminal
from credential_pipeline.store.postgres import copy_rows

COLUMNS = ("credential", "credential_id", "public_id", "url", "id")
"""Heads of a CSV column that hold the names of credentials, when no column is named."""

SHOWN = 10
"""Names that an error shows; it says how many there are."""

_NAME = re.compile(r"(?:https?://\S+/(?:credentials|state)/)?([a-z2-7]{26})(?:\.json)?\Z")


@dataclass(frozen=True)
class Named:
    """A credential as somebody wrote it down, and where: `revoked.csv:17`."""

    name: str
    where: str


@dataclass(frozen=True)
class Query:
    """Credentials by what is known of them; all members that are given have to hold.

    Attributes:
        achievement: ids of achievements, any of them.
        awarded_from: first day of the award.
        awarded_to: last day of the award, included.
        key: the signing key's id.
        plan: the plan that made them.
        source_key: SOURCE:KEY of the person.
    """

    achievement: tuple[str, ...] = ()
    awarded_from: date | None = None
    awarded_to: date | None = None
    key: str | None = None
    plan: UUID | None = None
    source_key: str | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing is asked for: that would be every credential there is."""
        return self == Query()


def named(names: Iterable[str]) -> list[Named]:
    """Names of a command line."""
    return [Named(name, f"argument {n}") for n, name in enumerate(names, 1)]


def rows_of(path: Path) -> list[tuple[str, list[str]]]:
    """(`FILE:LINE`, cells) of every line of a CSV file that is not empty.

    Raises:
        Terminal: the file cannot be read as UTF-8 CSV.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.reader(lines, strict=True)
            return [
                (f"{path.name}:{reader.line_num}", [cell.strip() for cell in cells])
                for cells in reader
                if any(cell.strip() for cell in cells)
            ]
    except OSError as error:
        raise Terminal(f"{path} cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise Terminal(f"{path} is not a CSV file in UTF-8: {error}; export it as one") from error


def column_of(head: Sequence[str], column: str | None, where: str) -> int | None:
    """Which cell of a line names the credential; None when `head` is no head and the file has one column.

    Raises:
        Terminal: there is no such column, or none that can be told.
    """
    lower = [cell.lower() for cell in head]
    if column is not None:
        if column.lower() not in lower:
            raise Terminal(f"{where}: no column {column!r}; there are {', '.join(head)}")
        return lower.index(column.lower())
    known = [lower.index(name) for name in COLUMNS if name in lower]
    if not known and len(head) > 1:
        raise Terminal(
            f"{where}: none of the columns is called {', '.join(COLUMNS)}; say which one names the credentials "
            "with --column"
        )
    return known[0] if known else None


def names_of(path: Path, column: str | None = None) -> list[Named]:
    """The names in a file: one a line, or those of a column.

    Raises:
        Terminal: the file cannot be read, has no such column, or names nothing.
    """
    rows = rows_of(path)
    if not rows:
        raise Terminal(f"{path} names no credential")
    (where, head), *_ = rows
    position = column_of(head, column, where)
    body = rows if position is None else rows[1:]
    at = position or 0
    found = [Named(cells[at], where) for where, cells in body if at < len(cells) and cells[at]]
    if not found:
        raise Terminal(f"{path} names no credential")
    return found


def choose(connection: Connection, names: Sequence[Named], query: Query, *, states: Sequence[str]) -> str:
    """Put the credentials into the temporary table `chosen (position, credential_id)`; returns the plan's scope.

    A name that is given twice counts once. `states`: a query finds credentials in these only; a name finds any.

    Raises:
        Terminal: neither names nor a query, both, or a name that no credential has.
    """
    if bool(names) == (not query.is_empty):
        raise Terminal("say which credentials: by their names, by --file, or by a query such as --achievement; one way")
    connection.execute(
        text("create temporary table chosen (position integer not null, credential_id uuid primary key) on commit drop")
    )
    scope = _by_name(connection, names) if names else _by_query(connection, query, states)
    connection.execute(text("analyze chosen"))
    return scope


def find(connection: Connection, names: Sequence[Named]) -> dict[str, UUID]:
    """The credential of each name.

    Raises:
        Terminal: a name that is none, or that no credential of this ledger has; all of them, with their places.
    """
    ids: dict[str, UUID] = {}
    public: dict[str, list[str]] = {}
    for one in names:
        if (uuid := _uuid(one.name)) is not None:
            ids[one.name] = uuid
        elif found := _NAME.match(one.name):
            public.setdefault(found.group(1), []).append(one.name)
    connection.execute(text("create temporary table wanted (credential_id uuid, public_id text) on commit drop"))
    copy_rows(
        connection, "wanted", ("credential_id", "public_id"),
        [*((uuid, None) for uuid in set(ids.values())), *((None, name) for name in public)],
    )  # fmt: skip
    connection.execute(text("analyze wanted"))
    known = set(
        connection.scalars(text("select credential_id from ledger.credential join wanted using (credential_id)"))
    )
    found_ids = {name: uuid for name, uuid in ids.items() if uuid in known}
    for public_id, uuid in connection.execute(
        text("select c.public_id, c.credential_id from ledger.credential c join wanted w using (public_id)")
    ):
        found_ids.update(dict.fromkeys(public[public_id], uuid))
    connection.execute(text("drop table wanted"))
    if unknown := [one for one in names if one.name not in found_ids]:
        told = ", ".join(f"{one.name!r} ({one.where})" for one in unknown[:SHOWN])
        more = f" and {len(unknown) - SHOWN} more" if len(unknown) > SHOWN else ""
        raise Terminal(
            f"no credential of this ledger is called {told}{more}; give credential_ids, public ids or URLs. Nothing "
            "was done"
        )
    return found_ids


def _uuid(name: str) -> UUID | None:
    try:
        return UUID(name)
    except ValueError:
        return None


def scope_of(ids: Iterable[UUID]) -> str:
    """The scope of a plan about these credentials: the same ones in any order have the same."""
    ordered = sorted(set(ids))
    if len(ordered) == 1:
        return f"credential:{ordered[0]}"
    digest = hashlib.sha256(b"".join(uuid.bytes for uuid in ordered)).hexdigest()
    return f"credentials:{len(ordered)}:{digest[:16]}"


def _by_name(connection: Connection, names: Sequence[Named]) -> str:
    found = find(connection, names)
    ordered = list(dict.fromkeys(found[one.name] for one in names))
    copy_rows(connection, "chosen", ("position", "credential_id"), enumerate(ordered))
    return scope_of(ordered)


def _by_query(connection: Connection, query: Query, states: Sequence[str]) -> str:
    # Only these literals reach the statement; what was asked for is bound.
    conditions, scope = ["s.state = any(:states)"], []
    values: dict[str, object] = {"states": list(states)}
    if query.achievement:
        conditions.append("c.achievement = any(:achievement)")
        values["achievement"] = sorted(set(query.achievement))
        scope.append(f"achievement={'|'.join(sorted(set(query.achievement)))}")
        _refuse_unknown_achievements(connection, query.achievement)
    if query.awarded_from:
        conditions.append("c.awarded_on >= :awarded_from")
        scope.append(f"awarded_from={query.awarded_from}")
        values["awarded_from"] = query.awarded_from
    if query.awarded_to:
        conditions.append("c.awarded_on <= :awarded_to")
        scope.append(f"awarded_to={query.awarded_to}")
        values["awarded_to"] = query.awarded_to
    if query.key:
        conditions.append("c.key_id = :key")
        scope.append(f"key={query.key}")
        values["key"] = query.key
        _exists(connection, "select 1 from ledger.signing_key where key_id = :it", query.key, "key")
    if query.plan:
        conditions.append("c.plan_id = :plan")
        scope.append(f"plan={query.plan}")
        values["plan"] = query.plan
        _exists(connection, "select 1 from ledger.plan where plan_id = :it", query.plan, "plan")
    if query.source_key:
        person = _person(connection, query.source_key)
        conditions.append("w.person_id = :person")
        scope.append(f"person={person}")  # a source key may tell who it is; a person_id does not
        values["person"] = person
    connection.execute(
        text(
            "insert into chosen (position, credential_id)"
            " select row_number() over (order by c.achievement, c.credential_id) - 1, c.credential_id"
            " from ledger.credential c join ledger.credential_state s using (credential_id)"
            f" join ledger.award w using (award_id) where {' and '.join(conditions)}"
        ),
        values,
    )
    return f"query:{','.join(scope)}"


def _refuse_unknown_achievements(connection: Connection, asked: Sequence[str]) -> None:
    known = set(
        connection.scalars(
            text(
                "select a from unnest(cast(:asked as text[])) a"
                " where exists (select from ledger.award w where w.achievement = a)"
            ),
            {"asked": list(asked)},
        )
    )
    if missing := sorted(set(asked) - known):
        raise Terminal(f"nobody ever earned {', '.join(missing)} here; `credential-pipeline check` names what there is")


def _exists(connection: Connection, statement: str, value: object, thing: str) -> None:
    if connection.scalar(text(statement), {"it": value}) is None:
        raise Terminal(f"no {thing} {value} in this ledger")


def _person(connection: Connection, source_key: str) -> UUID:
    person: UUID | None = connection.scalar(
        text("select person_id from identity.source_record where source_key = :key"), {"key": source_key}
    )
    if person is None:
        raise Terminal("no person has this source key; it is written SOURCE:KEY, such as lms:L001187")
    return person

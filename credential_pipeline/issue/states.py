"""Where a credential stands, and how that may change: each move is one version, one event and one message.

Belongs here: the moves, many at once, under the credentials' row locks. Does not belong here: who may ask for one
(change.py, correct.py, erase.py) and what is published about it (publish/ reads the states).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from credential_pipeline.credential import identifiers
from credential_pipeline.store.postgres import copy_rows

# Forward only; the way back from `suspended` is a move of its own. What was revoked stays revoked (the bit too).
MOVES: Mapping[str, frozenset[str]] = {
    "current": frozenset({"suspended", "superseded", "revoked", "withdrawn"}),
    "suspended": frozenset({"current", "superseded", "revoked", "withdrawn"}),
    "superseded": frozenset({"withdrawn"}),
    "revoked": frozenset({"withdrawn"}),
    "withdrawn": frozenset(),
}


@dataclass(frozen=True)
class Move:
    """A credential's next state. `superseded_by` names the version that takes its place."""

    credential_id: UUID
    to: str
    reason: str
    superseded_by: UUID | None = None


@dataclass(frozen=True)
class Moved:
    """What became of the moves: done now, done before (a replay), or refused with a reason."""

    done: tuple[UUID, ...] = ()
    before: tuple[UUID, ...] = ()
    refused: Mapping[UUID, str] = field(default_factory=dict)


def why_not(state: str, purpose: str, move: Move) -> str | None:
    """Why a move is refused, or None.

    A revocation entry cannot be suspended: its list says `revocation`, and a reader would take the bit for good
    (Bitstring Status List 1.0, 2.1 statusPurpose).
    """
    if move.to == "suspended" and purpose != "suspension":
        return "its status list is for revocation: only achievements with `status_purpose: suspension` can be suspended"
    if (move.to == "superseded") != (move.superseded_by is not None):
        return "superseded goes with the version that takes its place, and no other state does"
    if move.to not in MOVES[state]:
        return f"it is {state} and cannot become {move.to}"
    return None


def move(connection: Connection, moves: Sequence[Move], *, actor: str, run_id: str, tell: bool = True) -> Moved:
    """Make the moves in the current transaction; a few thousand at a time. `tell`: put a message into the outbox.

    Rows are locked in the order of their ids, so that two callers wait for each other and never deadlock.
    """
    wanted = {one.credential_id: one for one in moves}
    rows = connection.execute(
        text(
            "select s.credential_id, s.state, s.version, s.superseded_by, c.person_id, l.purpose"
            " from ledger.credential_state s join ledger.credential c using (credential_id)"
            " join ledger.status_list l using (list_number)"
            " where s.credential_id = any(:ids) order by s.credential_id for update of s"
        ),
        {"ids": list(wanted)},
    ).all()
    refused = dict.fromkeys(wanted.keys() - {row.credential_id for row in rows}, "no such credential")
    doing, before = [], []
    for row in rows:
        one = wanted[row.credential_id]
        if row.state == one.to and row.superseded_by == one.superseded_by:
            before.append(row.credential_id)
        elif (reason := why_not(row.state, row.purpose, one)) is not None:
            refused[row.credential_id] = reason
        else:
            doing.append(row)
    if doing:
        _open_moving(connection)
        columns = ("credential_id", "person_id", "state", "version", "reason", "superseded_by", "kind", "message_id")
        copy_rows(connection, "moving", columns, (_columns(row, wanted[row.credential_id]) for row in doing))
        _write(connection, len(doing), actor, run_id)
        if tell:
            _tell(connection)
        connection.execute(text("drop table moving"))
    return Moved(tuple(row.credential_id for row in doing), tuple(before), refused)


SUPERSEDED = """
insert into moving (credential_id, was, state, version, reason, superseded_by, kind)
select s.credential_id, s.state, 'superseded', s.version + 1, :reason, l.credential_id, 'superseded'
from ledger.plan_line l join ledger.credential_state s on s.credential_id = l.prior_id
where l.plan_id = :plan and l.ordinal = any(:ordinals) order by s.credential_id for no key update of s
"""


def supersede(
    connection: Connection, plan_id: UUID, ordinals: Sequence[int], *, reason: str, actor: str, run_id: str
) -> tuple[int, Mapping[UUID, str]]:
    """The credentials that these lines of a plan name as prior give way to those that the lines have made.

    What `move` does to each with the pairs at hand, as statements over the lines: of thousands, none is looked at here.
    No message goes out: the one about the new version tells of it. Returns how many gave way, and why others cannot;
    when there is one of those, nothing is written.
    """
    _open_moving(connection)
    parameters = {"plan": plan_id, "ordinals": list(ordinals), "reason": reason}
    done = connection.execute(text(SUPERSEDED), parameters).rowcount
    may = [state for state, to in MOVES.items() if "superseded" in to]
    stuck = connection.execute(
        text("select credential_id, was from moving where was <> all(:may) limit 10"), {"may": may}
    ).all()
    refused = {row.credential_id: f"it is {row.was} and cannot become superseded" for row in stuck}
    if done and not refused:
        _write(connection, done, actor, run_id)
    connection.execute(text("drop table moving"))
    return 0 if refused else done, refused


def _open_moving(connection: Connection) -> None:
    connection.execute(
        text(
            "create temporary table moving (credential_id uuid primary key, person_id uuid, was text, state text,"
            " version int, reason text, superseded_by uuid, kind text, message_id uuid) on commit drop"
        )
    )


def _write(connection: Connection, moves: int, actor: str, run_id: str) -> None:
    connection.execute(text("analyze moving"))
    connection.execute(
        text(
            "update ledger.credential_state s set state = m.state, version = m.version, reason = m.reason,"
            " superseded_by = m.superseded_by, changed_at = clock_timestamp()"
            " from moving m where s.credential_id = m.credential_id"
        )
    )
    append_events(connection, moves, actor=actor, run_id=run_id)


def _tell(connection: Connection) -> None:
    connection.execute(
        text(
            "insert into outbox.message (message_id, kind, credential_id, person_id, occasion)"
            " select message_id, kind, credential_id, person_id, version from moving on conflict do nothing"
        )
    )


def _columns(row: Row[Any], one: Move) -> tuple[object, ...]:
    kind, version = EVENTS.get(one.to, one.to), row.version + 1
    message = identifiers.message_id(row.credential_id, f"{kind}:{version}")
    return row.credential_id, row.person_id, one.to, version, one.reason, one.superseded_by, kind, message


EVENTS = {"current": "reinstated"}
"""The event and message of a move, where it is not named like the state."""


EVENT = """
insert into ledger.event (credential_id, seq, kind, actor, reason, detail, run_id)
select m.credential_id,
       coalesce((select max(e.seq) from ledger.event e where e.credential_id = m.credential_id), 0) + 1,
       m.kind, :actor, m.reason,
       case when m.superseded_by is not null then jsonb_build_object('superseded_by', m.superseded_by) end, :run
from moving m {of_these} order by m.credential_id
on conflict (credential_id, seq) do nothing returning credential_id
"""


def append_events(connection: Connection, moves: int, *, actor: str, run_id: str) -> None:
    """An event for each of the `moves` rows of the temporary table `moving`, numbered after the credential's last one.

    The publisher may take a number at the same moment: then the next statement sees it and counts on. It writes in
    the order of the ids too, so that each waits for the other and never both.
    """
    parameters: dict[str, object] = {"actor": actor, "run": run_id}
    written = connection.execute(text(EVENT.format(of_these="")), parameters)
    if written.rowcount == moves:
        return
    left = set(connection.scalars(text("select credential_id from moving"))) - set(written.scalars())
    again = text(EVENT.format(of_these="where m.credential_id = any(:left)"))
    while left:
        left -= set(connection.scalars(again, {**parameters, "left": list(left)}))

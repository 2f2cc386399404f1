"""The statements of an erasure, table by table: what is deleted, what is emptied, and what stays.

Belongs here: SQL over the tables that hold a person's data (**p** in docs/data-model.md). Does not belong here: the
order, locks and the record (erase.py). A table with a new column of personal data needs a line here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from credential_pipeline.gate.judge import WHOLE_ROW
from credential_pipeline.institution import Institution
from credential_pipeline.institution.sources import DatasetOfSource
from credential_pipeline.issue.plans import set_aside
from credential_pipeline.store.secrets import Secret
from credential_pipeline.store.tombstones import keyed_hash

NO_HASH = bytes(32)
"""Stands for a hash that was plain: whoever has the database could try all names and keys against one."""

BLANKS = "' ' || chr(9) || chr(10) || chr(13)"


@dataclass(frozen=True)
class Person:
    """Everything that hangs on a person, by id. `keys` are source keys, as written at the source and by the gate."""

    person_id: UUID
    persons: tuple[UUID, ...]
    keys: frozenset[str]
    awards: tuple[UUID, ...]
    credentials: tuple[UUID, ...]


@dataclass(frozen=True)
class Sought:
    """A text that must not be left anywhere, and what it is: name, e-mail address, key, identifier."""

    kind: str
    text: str

    def __repr__(self) -> str:
        return f"Sought({self.kind!r})"


def read_person(connection: Connection, person_id: UUID) -> Person:
    """The person with whoever was merged into them."""
    persons = [
        person_id,
        *connection.scalars(
            text("select alias_id from identity.person_alias where person_id = :p order by 1"), {"p": person_id}
        ),
    ]
    within = {"persons": persons}
    keys = connection.scalars(
        text(
            "select source_key from identity.source_record where person_id = any(:persons) union"
            " select regexp_replace(first_source_key, '#split-[0-9]+$', '') from identity.person"
            " where person_id = any(:persons) and first_source_key <> 'erased'"
        ),
        within,
    )
    awards = connection.scalars(text("select award_id from ledger.award where person_id = any(:persons)"), within)
    found = tuple(awards)
    credentials = connection.scalars(
        text(
            "select credential_id from ledger.credential where person_id = any(:persons)"
            " union select credential_id from ledger.credential where award_id = any(:awards) order by 1"
        ),
        {**within, "awards": list(found)},
    )
    return Person(person_id, tuple(persons), frozenset(keys), found, tuple(credentials))


def what_to_forget(connection: Connection, person: Person) -> tuple[Sought, ...]:
    """Names, e-mail addresses, keys and identifiers of a person, as far as the database still knows them."""
    found = {Sought("key", key) for key in person.keys}
    found |= {Sought("key", key.partition(":")[2]) for key in person.keys}
    rows = connection.execute(
        text(
            "select given_name, family_name, full_name, email, identifiers from identity.source_record"
            " where person_id = any(:persons)"
        ),
        {"persons": list(person.persons)},
    )
    for given, family, full, email, identifiers in rows:
        if given and family:
            found |= {Sought("name", f"{given} {family}"), Sought("name", f"{family}, {given}")}
        found |= {Sought("name", name) for name in (full,) if name}
        found |= {Sought("e-mail address", address) for address in (email,) if address}
        found |= {Sought("identifier", str(value)) for value in identifiers.values()}
    names = connection.scalars(
        text("select distinct facts->>'name' from ledger.plan_line where award_id = any(:awards) and facts ? 'name'"),
        {"awards": list(person.awards)},
    )
    found |= {Sought("name", name) for name in names}
    return tuple(sorted(found, key=lambda sought: (sought.kind, sought.text)))


def rows_of_keys(connection: Connection, institution: Institution, keys: Collection[str]) -> set[int]:
    """Landed rows whose own key is one of these, accepted or not."""
    rows: set[int] = set()
    for dataset in _with_persons(institution):
        source, field = dataset.person
        own = [key.removeprefix(f"{source}:") for key in keys if key.startswith(f"{source}:")]
        column = dataset.dataset.columns.get(field)
        if own and column:
            rows |= set(
                connection.scalars(
                    text(
                        "select row_id from landed.row where dataset = :dataset"
                        f" and btrim(cells->>:column, {BLANKS}) = any(:own)"
                    ),
                    {"dataset": dataset.name, "column": column, "own": own},
                )
            )
    return rows


def _with_persons(institution: Institution) -> list[DatasetOfSource]:
    return [dataset for dataset in institution.datasets if dataset.dataset.role != "reference"]


@dataclass(frozen=True)
class EmptiedRows:
    """The person's landed rows, emptied now or before; `digests` are the tombstones of those emptied now."""

    rows: Sequence[int]
    counts: Mapping[str, int]
    digests: frozenset[bytes]


def empty_rows(connection: Connection, institution: Institution, person: Person, secret: Secret) -> EmptiedRows:
    """Empty the person's landed rows, and what the gate made of them.

    A landed row keeps its place in its file, without cells: the file's rows still add up, and it is in quarantine.
    """
    rows = sorted(_their_rows(connection, institution, person))
    within = {"rows": rows}
    connection.execute(text(RECOUNT), within)
    accepted = connection.execute(text("delete from accepted.row where row_id = any(:rows)"), within).rowcount
    landed = connection.execute(
        text(
            "select row_id, row_hash from landed.row where row_id = any(:rows) and problems is distinct from"
            " '[\"erased\"]'"
        ),
        within,
    ).all()
    blinded = {row_id: keyed_hash(secret, "row", bytes(row_hash)) for row_id, row_hash in landed}
    if blinded:
        connection.execute(
            text("update landed.row set cells = '{}', problems = '[\"erased\"]', row_hash = :hash where row_id = :row"),
            [{"row": row_id, "hash": digest} for row_id, digest in blinded.items()],
        )
    touched = {"rows": list(blinded), "remedy": WHOLE_ROW["erased"], "none": NO_HASH}
    counts = {"landed.row": len(blinded), "accepted.row": accepted}
    for table, statement in QUARANTINE.items():
        counts[table] = connection.execute(text(statement), touched).rowcount
    connection.execute(text(SET_ASIDE), touched)
    return EmptiedRows(rows, counts, frozenset(blinded.values()))


# The gate's own counts go with the rows: else it would judge whole batches again to find the same verdicts.
RECOUNT = """
update accepted.gated_batch g set accepted = g.accepted - gone.rows, quarantined = g.quarantined + gone.rows
from (select b.day, b.dataset, count(distinct a.row_id) as rows
      from landed.file_row f join landed.batch_file b using (file_id) join accepted.row a using (row_id)
      where f.row_id = any(:rows) group by 1, 2) gone
where g.day = gone.day and g.dataset = gone.dataset
"""

QUARANTINE = {
    "quarantine.reason": "delete from quarantine.reason where row_id = any(:rows)",
    "ledger.decision": (
        "update ledger.decision set fields_hash = :none, reason = case outcome when 'skipped' then 'erased' end"
        " where row_id = any(:rows)"
    ),
}

SET_ASIDE = """
insert into quarantine.reason (row_id, code, field, dataset, remedy, gate_version, day, run_id)
select row_id, 'erased', '', dataset, :remedy, :none, day, run_id from landed.row where row_id = any(:rows)
"""


def _their_rows(connection: Connection, institution: Institution, person: Person) -> set[int]:
    rows = set(
        connection.scalars(
            text("select row_id from accepted.row where source_key = any(:keys)"), {"keys": list(person.keys)}
        )
    )
    rows |= rows_of_keys(connection, institution, person.keys)
    addresses = connection.scalars(
        text(
            "select distinct lower(email) from identity.source_record"
            " where person_id = any(:persons) and email is not null"
        ),
        {"persons": list(person.persons)},
    ).all()
    for dataset in _with_persons(institution) if addresses else ():
        source, field = dataset.person
        parameters: Mapping[str, Any] = {
            "dataset": dataset.name, "addresses": list(addresses), "source": f"{source}:",
            "column": dataset.dataset.columns.get(field, ""),
        }  # fmt: skip
        rows |= set(connection.scalars(text(NOBODYS_ROWS), parameters))
    return rows


# A bad row without a key that anybody has, and with the person's address in it, can only be theirs. A row with the key
# of another person stays: it is that person's, and the search for what is left names it.
NOBODYS_ROWS = f"""
select r.row_id from landed.row r
where r.dataset = :dataset and not exists (select from accepted.row a where a.row_id = r.row_id)
  and exists (select from jsonb_each_text(r.cells) c where lower(btrim(c.value, {BLANKS})) = any(:addresses))
  and not exists (select from identity.source_record s
                  where s.source_key = :source || btrim(r.cells->>:column, {BLANKS}))
"""

# By index each: an OR would read the whole table. A line about a credential names its award.
LINES = """
select plan_id, ordinal from ledger.plan_line where award_id = any(:awards)
union select plan_id, ordinal from ledger.plan_line where award_id in (
  select award_id from ledger.credential where credential_id = any(:credentials))
union select plan_id, ordinal from ledger.plan_line where row_id = any(:rows)
"""

EMPTY = {
    # What a waiting line would say is gone: it is not carried out. The hashes it cited are plain ones.
    "ledger.plan_line": (
        "update ledger.plan_line l set facts = null,"
        " inputs = (l.inputs - array['row', 'fields', 'records']) || '{\"erased\": true}',"
        " state = case l.state when 'planned' then 'held' else l.state end,"
        " reasons = case l.state when 'planned' then l.reasons || '[\"erased\"]' else l.reasons end"
        " from theirs t where l.plan_id = t.plan_id and l.ordinal = t.ordinal and not l.inputs ? 'erased'"
    ),
    "ledger.plan": (
        "update ledger.plan p set reason = null"
        " where p.reason is not null and p.plan_id in (select plan_id from theirs)"
        " and not exists (select from ledger.plan_line l where l.plan_id = p.plan_id and not l.inputs ? 'erased')"
    ),
    "ledger.hold": (
        "update ledger.hold set state = case state when 'waiting' then 'rejected' else state end,"
        " decided_by = coalesce(decided_by, 'pipeline'), decided_at = coalesce(decided_at, clock_timestamp()),"
        " decision_reason = 'erased' where award_id = any(:awards) and decision_reason is distinct from 'erased'"
    ),
    "ledger.credential": (
        "update ledger.credential set document = null where credential_id = any(:credentials) and document is not null"
    ),
    "outbox.message": "delete from outbox.message where credential_id = any(:credentials)",
}


def empty_ledger(connection: Connection, person: Person, rows: Sequence[int]) -> dict[str, int]:
    """Plan lines, holds, documents and messages. Plans that wait for signatures are void: what was read is gone."""
    within = {"awards": list(person.awards), "credentials": list(person.credentials), "rows": list(rows)}
    connection.execute(text(f"create temporary table theirs on commit drop as {LINES}"), within)
    connection.execute(text("analyze theirs"))
    waiting = connection.scalars(
        text(
            "select distinct p.plan_id from theirs join ledger.plan_line l using (plan_id, ordinal)"
            " join ledger.plan p using (plan_id)"
            " where l.state = 'planned' and p.approval = 'four_eyes' and p.state in ('planned', 'approved')"
        )
    ).all()
    for plan in waiting:
        set_aside(connection, plan)
    counts = {table: connection.execute(text(statement), within).rowcount for table, statement in EMPTY.items()}
    connection.execute(text("drop table theirs"))
    return counts


IDENTITY = {
    # A file without a header has its first row quoted in the breach.
    "quarantine.breach": (
        "update quarantine.breach b set detail = 'erased' where b.detail <> 'erased' and exists ("
        " select from identity.source_record s, unnest(array[s.email, s.full_name]) v where s.person_id = any(:persons)"
        " and length(v) > 3 and position(lower(v) in lower(b.detail)) > 0)"
    ),
    "identity.review_pair": "delete from identity.review_pair where left_key = any(:keys) or right_key = any(:keys)",
    "identity.source_record": "delete from identity.source_record where person_id = any(:persons)",
    "identity.person": (
        "update identity.person set first_source_key = 'erased'"
        " where person_id = any(:persons) and first_source_key <> 'erased'"
    ),
    "identity.person_alias": (
        "update identity.person_alias set reason = 'erased'"
        " where person_id = any(:persons) and reason is distinct from 'erased'"
    ),
}


def empty_identity(connection: Connection, person: Person) -> dict[str, int]:
    """Source records with their names and keys; the person's id stays, for the awards that cite it."""
    within = {"persons": list(person.persons), "keys": list(person.keys)}
    return {table: connection.execute(text(statement), within).rowcount for table, statement in IDENTITY.items()}

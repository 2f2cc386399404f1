"""What a batch's records are compared with: only known records that share something with one of them.

Belongs here: reading the batch, and finding neighbours among millions by equality in SQL. Does not belong here:
judging them (rules.py) and writing (persons.py).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from credential_pipeline.credential.identifiers import source_key
from credential_pipeline.identify.names import parse_name
from credential_pipeline.identify.records import BARE_HASH, REFERENCE, SourceRecord, from_fields
from credential_pipeline.identify.rules import known_birth_date
from credential_pipeline.institution import Institution
from credential_pipeline.store.postgres import copy_rows

ROWS_AT_ONCE = 10_000


@dataclass(frozen=True)
class BatchRecords:
    """The source records of a day's batch: how many, and those that are new or changed, by key."""

    records: int
    changed: Mapping[str, SourceRecord]


@dataclass(frozen=True)
class Known:
    """Known records, the person of each (of changed ones too), and the day each of these persons was first seen."""

    records: dict[str, SourceRecord] = field(default_factory=dict)
    persons: dict[str, UUID] = field(default_factory=dict)
    first_days: dict[UUID, date] = field(default_factory=dict)


# Of several rows of one person in a batch the one that landed last speaks. A day before the record's own is
# history that is run again: it does not put old attributes back.
CHANGED_PEOPLE = """
select a.source_key, a.dataset, a.row_id, a.fields_hash, a.fields
from (
  select a.source_key, max(a.row_id) as row_id
  from landed.batch_row b join accepted.row a using (row_id)
  where b.day = :day and b.dataset = any(:people) and a.source_key is not null
  group by a.source_key
) latest
join accepted.row a using (row_id)
left join identity.source_record s on s.source_key = a.source_key
where s.source_key is null or (s.fields_hash <> a.fields_hash and s.day <= :day)
"""

UNKNOWN_IN_EVIDENCE = """
select a.source_key, min(a.row_id)
from landed.batch_row b join accepted.row a using (row_id)
where b.day = :day and b.dataset = any(:evidence) and a.source_key is not null
  and not exists (select from identity.source_record s where s.source_key = a.source_key)
group by a.source_key
"""

COUNT_RECORDS = """
select count(distinct a.source_key)
from landed.batch_row b join accepted.row a using (row_id)
where b.day = :day and b.dataset = any(:all)
"""


def changed_records(connection: Connection, institution: Institution, day: date) -> BatchRecords:
    """The records of the day's batch, and those that the database does not have like this yet."""
    people = {d.name: d.dataset for d in institution.datasets_of("people")}
    evidence = [d.name for d in institution.datasets_of("evidence")]
    scope = {"day": day, "people": list(people), "evidence": evidence, "all": [*people, *evidence]}
    changed: dict[str, SourceRecord] = {}
    if people:
        for key, dataset, row_id, fields_hash, fields in _stream(connection, CHANGED_PEOPLE, scope):
            changed[key] = from_fields(people[dataset], key, row_id, bytes(fields_hash), fields)
    for key, row_id in _stream(connection, UNKNOWN_IN_EVIDENCE, scope):
        if key not in changed:
            changed[key] = SourceRecord(key, row_id, BARE_HASH)
    return BatchRecords(int(connection.scalar(text(COUNT_RECORDS), scope) or 0), changed)


def known_neighbours(connection: Connection, changed: Mapping[str, SourceRecord]) -> Known:
    """All known records of every person who has a record that shares an identifier, a reference, an e-mail or a

    name and birth date with a changed one.
    """
    known = Known()
    if not connection.scalar(text("select exists (select from identity.source_record)")):
        return known
    connection.execute(text("create temporary table sought (kind text, value text) on commit drop"))
    copy_rows(connection, "sought", ("kind", "value"), _sought(changed))
    connection.execute(text("analyze sought"))
    connection.execute(text("create temporary table neighbour (person_id uuid) on commit drop"))
    copy_rows(connection, "neighbour", ("person_id",), ((p,) for p in _namesakes(connection, changed)))
    connection.execute(text(f"insert into neighbour {NEIGHBOURS}"))
    connection.execute(text("analyze neighbour"))
    for row in _stream(connection, RECORDS_OF_NEIGHBOURS, {}):
        key, person, first_day, *attributes = row
        known.persons[key] = person
        known.first_days[person] = first_day
        if key not in changed:
            known.records[key] = SourceRecord(key, *attributes)
    return known


NEIGHBOURS = """
select s.person_id from identity.source_record s join sought q on q.kind = 'source_key' and q.value = s.source_key
union
select s.person_id from identity.source_record s join sought q on q.kind = 'email' and lower(q.value) = lower(s.email)
union
select s.person_id
from identity.source_record s
cross join lateral jsonb_each_text(s.identifiers) i
join sought q on q.kind = 'identifier:' || i.key and q.value = i.value
where s.identifiers <> '{}'
"""

RECORDS_OF_NEIGHBOURS = """
select s.source_key, s.person_id, p.first_day, s.row_id, s.fields_hash, s.given_name, s.family_name, s.full_name,
       s.email, s.birth_date, s.identifiers
from identity.source_record s
join identity.person p using (person_id)
where s.person_id in (select person_id from neighbour)
"""

BORN_ON_A_SOUGHT_DAY = """
select s.person_id, s.given_name, s.family_name, s.full_name, s.birth_date
from identity.source_record s
where s.birth_date in (select value::date from sought where kind = 'birth_date')
"""


def _sought(changed: Mapping[str, SourceRecord]) -> Iterator[tuple[str, str]]:
    for record in changed.values():
        source, _, key = record.source_key.partition(":")
        yield "source_key", record.source_key
        yield f"identifier:{REFERENCE}{source}", key
        for kind, value in record.identifiers.items():
            yield f"identifier:{kind}", value
            if kind.startswith(REFERENCE):
                yield "source_key", source_key(kind.removeprefix(REFERENCE), value)
        if record.email:
            yield "email", record.email
        if birth_date := known_birth_date(record.birth_date):
            yield "birth_date", birth_date.isoformat()


def _namesakes(connection: Connection, changed: Mapping[str, SourceRecord]) -> Collection[UUID]:
    """Persons with a name and birth date of a changed record; names are compared here, SQL cannot fold them."""
    wanted = {
        (parse_name(given=r.given_name, family=r.family_name, full=r.full_name).letters, r.birth_date)
        for r in changed.values()
        if known_birth_date(r.birth_date)
    }
    return {
        person
        for person, given, family, full, birth_date in _stream(connection, BORN_ON_A_SOUGHT_DAY, {})
        if (parse_name(given=given, family=family, full=full).letters, birth_date) in wanted
    }


def _stream(connection: Connection, statement: str, parameters: Mapping[str, object]) -> Iterator[Any]:
    # A server-side cursor: a million rows never stand in memory twice.
    # On the statement: an option on the connection would stay there, and make cursors of INSERTs too.
    yield from connection.execute(text(statement).execution_options(yield_per=ROWS_AT_ONCE), parameters)

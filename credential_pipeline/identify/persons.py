"""Accepted people of a day's batch -> source records, each with the person it belongs to.

Belongs here: what is read, what is written, and the ids of persons. Does not belong here: whether two records
are one person (rules.py, clusters.py). All of it is one transaction under one lock: killed anywhere, nothing
happened, and a second run of the day waits and then finds its work done.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from uuid import UUID

from sqlalchemy import Connection, Engine, text

from credential_pipeline.credential import identifiers
from credential_pipeline.identify.candidates import BatchRecords, Known, changed_records, known_neighbours
from credential_pipeline.identify.clusters import CHANGED, Clusters, Group, cluster
from credential_pipeline.identify.records import SourceRecord
from credential_pipeline.identify.rules import FIRST_SIGHT
from credential_pipeline.institution import Institution
from credential_pipeline.store.postgres import copy_rows, transaction_lock
from credential_pipeline.store.tables import identity

log = logging.getLogger(__name__)

IDENTITY_LOCK = "identity"
BY_RULES = "pipeline"
"""Who decided a review pair when the rules did. A decision by anybody else is never touched."""


@dataclass(frozen=True)
class IdentifyResult:
    """Counts of one call.

    Attributes:
        records: source records in the day's batch.
        new_persons: persons seen for the first time.
        linked: new source records that a rule joined to a person.
        merged: persons that became aliases of others.
        uncertain: pairs that this call put before a person.
        persons: all persons known now, without aliases.
    """

    records: int
    new_persons: int
    linked: int
    merged: int
    uncertain: int
    persons: int


@dataclass
class _Changes:
    """What has to be written: the person and the rule of each new record, new persons, and aliases."""

    persons: list[tuple[UUID, str]] = field(default_factory=list)
    belongs: dict[str, tuple[UUID, str]] = field(default_factory=dict)
    aliases: list[tuple[UUID, UUID, str, str]] = field(default_factory=list)


def identify_batch(engine: Engine, institution: Institution, day: date, run_id: str) -> IdentifyResult:
    """Give every source record of the day's batch its person; a second call with nothing new writes nothing.

    Rows of people make source records; evidence about a key without one makes a bare record. A record keeps its
    person for good: rules join persons (the oldest survives), they never part them. An older day that is run
    again does not put back what a later day changed.
    """
    with engine.begin() as connection:
        transaction_lock(connection, IDENTITY_LOCK)
        batch = changed_records(connection, institution, day)
        changes, opened = _Changes(), 0
        if batch.changed:
            known = known_neighbours(connection, batch.changed)
            clusters = _cluster(connection, batch, known)
            changes = _decide(connection, institution.id, batch, known, clusters)
            _write(connection, batch, known, changes, day, run_id)
            opened = _review(connection, clusters.doubts, changes, run_id)
        return IdentifyResult(
            records=batch.records,
            new_persons=len(changes.persons),
            linked=sum(rule != FIRST_SIGHT for _, rule in changes.belongs.values()),
            merged=len(changes.aliases),
            uncertain=opened,
            persons=_count_persons(connection),
        )


def resolve_persons(connection: Connection, persons: Collection[UUID]) -> dict[UUID, UUID]:
    """The surviving person of each: itself, or the one it was merged into."""
    found = connection.execute(
        text("select alias_id, person_id from identity.person_alias where alias_id = any(:persons)"),
        {"persons": list(persons)},
    )
    return {person: person for person in persons} | {alias: survivor for alias, survivor in found}


def _cluster(connection: Connection, batch: BatchRecords, known: Known) -> Clusters[UUID]:
    log.info("comparing %d new or changed source records with %d known ones", len(batch.changed), len(known.records))
    apart = connection.execute(text("select left_key, right_key from identity.review_pair where state = 'different'"))
    records = {**known.records, **batch.changed}
    clusters = cluster(
        (record.comparable() for record in records.values()),
        touched=batch.changed.keys(),
        persons=known.persons,
        apart=[(left, right) for left, right in apart],
    )
    if clusters.placeholders:
        log.warning("%d values are shared by too many records to say who somebody is", clusters.placeholders)
    return clusters


def _decide(
    connection: Connection, institution: str, batch: BatchRecords, known: Known, clusters: Clusters[UUID]
) -> _Changes:
    changes = _Changes()
    minted = _mint(connection, institution, [group.keys[0] for group in clusters.groups if not group.persons])
    for group in clusters.groups:
        if group.persons:
            survivor, *others = sorted(group.persons, key=lambda person: (known.first_days[person], person))
            changes.aliases += (_alias(group, known.persons, other, survivor) for other in others)
        else:
            survivor, named_after = minted[group.keys[0]]
            changes.persons.append((survivor, named_after))
        rules: dict[str, str] = {}
        for link in group.links:  # strongest first: the first one that names a record is its reason
            rules.setdefault(link.left, link.rule)
            rules.setdefault(link.right, link.rule)
        if not group.persons:
            rules[group.keys[0]] = FIRST_SIGHT
        for key in group.keys:
            if key in batch.changed and key not in known.persons:
                changes.belongs[key] = (survivor, rules.get(key, FIRST_SIGHT))
    return changes


def _alias(group: Group[UUID], persons: Mapping[str, UUID], other: UUID, survivor: UUID) -> tuple[UUID, UUID, str, str]:
    """(alias, survivor, rule, reason): the strongest link between the merged person and another record."""
    link = next(k for k in group.links if (persons.get(k.left) == other) != (persons.get(k.right) == other))
    return other, survivor, link.rule, f"{link.rule}: {link.left} = {link.right}"


def _mint(connection: Connection, institution: str, keys: list[str]) -> dict[str, tuple[UUID, str]]:
    """A person id for the smallest key of each new group, and the key it is made of.

    After a split the id of a key can belong to a person whose records are elsewhere: then `KEY#split-N` is next.
    """
    minted: dict[str, tuple[UUID, str]] = {}
    attempt, open_keys = 0, keys
    while open_keys:
        names = {key: f"{key}#split-{attempt}" if attempt else key for key in open_keys}
        ids = {key: identifiers.person_id(institution, name) for key, name in names.items()}
        taken = set(
            connection.scalars(
                text("select person_id from identity.person where person_id = any(:ids)"), {"ids": list(ids.values())}
            )
        )
        minted |= {key: (ids[key], names[key]) for key in open_keys if ids[key] not in taken}
        open_keys = [key for key in open_keys if ids[key] in taken]
        attempt += 1
    return minted


def _write(
    connection: Connection, batch: BatchRecords, known: Known, changes: _Changes, day: date, run_id: str
) -> None:
    copy_rows(
        connection,
        identity.person,
        ("person_id", "first_source_key", "first_day", "run_id"),
        ((person, key, day, run_id) for person, key in changes.persons),
    )
    columns = (
        "source_key", "source", "person_id", "row_id", "fields_hash", "given_name", "family_name", "full_name",
        "email", "birth_date", "identifiers", "link_rule", "day", "run_id",
    )  # fmt: skip
    copy_rows(
        connection,
        identity.source_record,
        columns,
        (_row(batch.changed[key], person, rule, day, run_id) for key, (person, rule) in changes.belongs.items()),
    )
    _update(connection, columns, [r for key, r in batch.changed.items() if key in known.persons], day, run_id)
    if changes.aliases:
        _merge(connection, changes.aliases, run_id)


def _row(record: SourceRecord, person: UUID | None, rule: str, day: date, run_id: str) -> tuple[object, ...]:
    return (
        record.source_key, record.source, person, record.row_id, record.fields_hash, record.given_name,
        record.family_name, record.full_name, record.email, record.birth_date,
        json.dumps(record.identifiers, ensure_ascii=False), rule, day, run_id,
    )  # fmt: skip


def _update(
    connection: Connection, columns: tuple[str, ...], records: Iterable[SourceRecord], day: date, run_id: str
) -> None:
    """Changed records: new attributes, the same person and the same link rule."""
    connection.execute(
        text("create temporary table changed on commit drop as select * from identity.source_record with no data")
    )
    copy_rows(connection, "changed", columns, (_row(record, None, "", day, run_id) for record in records))
    kept = {"source_key", "source", "person_id", "link_rule"}
    assignments = ", ".join(f"{column} = c.{column}" for column in columns if column not in kept)
    connection.execute(
        text(f"update identity.source_record s set {assignments} from changed c where c.source_key = s.source_key")
    )


def _merge(connection: Connection, aliases: Iterable[tuple[UUID, UUID, str, str]], run_id: str) -> None:
    """Move the records of merged persons, and whoever was merged into them before, to the survivors."""
    connection.execute(
        text("create temporary table merged (alias uuid, survivor uuid, rule text, reason text) on commit drop")
    )
    copy_rows(connection, "merged", ("alias", "survivor", "rule", "reason"), aliases)
    connection.execute(
        text(
            "update identity.source_record s set person_id = m.survivor,"
            " link_rule = case when s.link_rule = :alone then m.rule else s.link_rule end"
            " from merged m where s.person_id = m.alias"
        ),
        {"alone": FIRST_SIGHT},
    )
    connection.execute(
        text("update identity.person_alias a set person_id = m.survivor from merged m where a.person_id = m.alias")
    )
    connection.execute(
        text(
            "insert into identity.person_alias (alias_id, person_id, reason, run_id)"
            " select alias, survivor, reason, :run from merged"
        ),
        {"run": run_id},
    )


def _review(connection: Connection, doubts: Mapping[tuple[str, str], str], changes: _Changes, run_id: str) -> int:
    """Close waiting pairs that have become one person, open new ones; returns how many were opened."""
    connection.execute(
        text(
            "update identity.review_pair p set state = 'same', decided_by = :by, decided_at = clock_timestamp()"
            " from identity.source_record l, identity.source_record r"
            " where p.state = 'waiting' and l.source_key = p.left_key and r.source_key = p.right_key"
            "   and l.person_id = r.person_id and l.person_id = any(:survivors) and not starts_with(p.reason, :changed)"
        ),
        {"by": BY_RULES, "survivors": [survivor for _, survivor, _, _ in changes.aliases], "changed": CHANGED},
    )
    connection.execute(text("create temporary table doubt (left_key text, right_key text, reason text) on commit drop"))
    copy_rows(connection, "doubt", ("left_key", "right_key", "reason"), _doubt_rows(doubts))
    return connection.execute(
        text(
            "insert into identity.review_pair as p (left_key, right_key, reason, state, run_id)"
            " select left_key, right_key, reason, 'waiting', :run from doubt order by left_key, right_key"
            " on conflict (left_key, right_key) do update set reason = excluded.reason, state = 'waiting',"
            "   decided_by = null, decided_at = null, run_id = excluded.run_id where p.decided_by = :by"
        ),
        {"run": run_id, "by": BY_RULES},
    ).rowcount


def _doubt_rows(doubts: Mapping[tuple[str, str], str]) -> Iterator[tuple[str, str, str]]:
    return ((left, right, reason) for (left, right), reason in doubts.items())


def _count_persons(connection: Connection) -> int:
    return int(
        connection.scalar(
            text("select (select count(*) from identity.person) - (select count(*) from identity.person_alias)")
        )
        or 0
    )

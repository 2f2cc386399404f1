"""Two ledgers and what they published: is it the same, and is anything there twice?

Equality is exact: bytes of every credential, state object, status list and document, places in status lists, the event
sequence of every credential (kind, number, actor, reason, detail), states, messages, plans with their lines, holds,
approvals and the audit log. That places are the same and not only alike is because blocks are reserved in the order in
which plans are first applied, and the agenda has that order (tasks.py). Left out, because they tell of the course of
things and not of their outcome: times of recording, run ids, database row numbers, and the version of a status list,
which counts how often it was signed. Belongs here: reading and comparing. Does not belong here: how it came about.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, text

from credential_pipeline.report.reconcile import reconcile
from credential_pipeline.store.dictionaries import reader_of
from credential_pipeline.store.objects import ObjectStore

Rows = Counter[tuple[Any, ...]]

QUERIES: Mapping[str, str] = {
    "landed rows": "select dataset, row_hash, copy, cells::text, row_number from landed.row",
    "accepted rows": "select r.row_hash, a.dataset, a.fields_hash from accepted.row a join landed.row r using (row_id)",
    "quarantine": """
        select r.row_hash, q.code, q.field, q.resolved_at is null
        from quarantine.reason q join landed.row r using (row_id)""",
    "source records": "select source_key, person_id, fields_hash, link_rule, day from identity.source_record",
    "awards": "select award_id, person_id, achievement, occurrence, awarded_on, duplicate_of from ledger.award",
    "decisions": """
        select r.row_hash, d.outcome, d.achievement, d.award_id, d.reason
        from ledger.decision d join landed.row r using (row_id)""",
    "plans": "select hash, kind, scope, as_of, approval, created_by, reason, state, counts::text from ledger.plan",
    "plan lines": """
        select p.hash, l.ordinal, l.action, l.award_id, l.credential_id, l.prior_id, l.status_ordinal, l.state,
               l.reasons::text, l.facts::text
        from ledger.plan_line l join ledger.plan p using (plan_id)""",
    "approvals": "select plan_hash, kind, approver, signature, approved_at from ledger.approval where kind <> 'actor'"
    " and kind <> 'catalogue' union all select plan_hash, kind, approver, null, null from ledger.approval"
    " where kind in ('actor', 'catalogue')",
    "holds": "select award_id, cause, action, reasons::text, released::text, state, decided_by from ledger.hold",
    "keys": "select key_id, public_key_multibase, valid_from, valid_until from ledger.signing_key",
    "blocks": """
        select p.hash, b.purpose, b.first_position, b.size from ledger.status_block b join ledger.plan p using (plan_id)
        """,
    "places": "select credential_id, list_number, status_index from ledger.credential",
    "credentials": """
        select credential_id, award_id, cause, person_id, achievement, public_id, key_id, as_of, awarded_on,
               valid_until, document_sha256
        from ledger.credential""",
    "states": "select credential_id, state, version, superseded_by, reason from ledger.credential_state",
    "events": "select credential_id, seq, kind, actor, reason, detail::text from ledger.event",
    "messages": "select message_id, kind, credential_id, person_id, occasion from outbox.message",
    # Whoever gives a signature twice is written down twice, and should be.
    "audit log": "select distinct kind, subject, actor, reason, detail::text from ledger.action",
    "manifest": """
        select target, path, kind, credential_id, case when kind <> 'status_list' then version end, digest, size_bytes,
               valid_until
        from ledger.publication""",
}

# What a unique constraint forbids is asked all the same: a constraint can be dropped.
TWICE: Mapping[str, str] = {
    "credentials of one award and cause": "select award_id, cause from ledger.credential group by 1, 2",
    "credentials at one place": "select list_number, status_index from ledger.credential group by 1, 2",
    "credentials of one plan line": "select plan_id, ordinal from ledger.credential group by 1, 2",
    "public ids": "select public_id from ledger.credential group by 1",
    "living versions of one award": """
        select c.award_id from ledger.credential c join ledger.credential_state s using (credential_id)
        where s.state in ('current', 'suspended') group by 1""",
    "events that happen once": """
        select credential_id, kind from ledger.event
        where kind in ('issued', 'published', 'revoked', 'superseded') group by 1, 2""",
    "messages": "select credential_id, kind, occasion from outbox.message group by 1, 2, 3",
    "plans applied": "select subject from ledger.action where kind = 'plan_applied' group by 1",
    "landed rows": "select dataset, row_hash, copy from landed.row group by 1, 2, 3",
    "blocks of one plan": "select plan_id, purpose from ledger.status_block group by 1, 2",
}

MOVES = """
select s.credential_id from ledger.credential_state s join ledger.event e using (credential_id)
where e.kind not in ('issued', 'published') group by s.credential_id, s.version having count(*) <> s.version - 1
"""

SHOWN = 3


@dataclass(frozen=True)
class Account:
    """What a ledger says and what is published: rows by what they are about, and objects by target and path."""

    rows: Mapping[str, Rows]
    objects: Mapping[tuple[str, str], bytes]


def account_of(connection: Connection, stores: Mapping[str, ObjectStore]) -> Account:
    """Read everything; `stores` by the target's name in the manifest."""
    rows = {
        about: Counter(tuple(_plain(value) for value in row) for row in connection.execute(text(query)))
        for about, query in QUERIES.items()
    }
    reader = reader_of(connection)
    rows["documents"] = Counter(
        (credential, reader.read(form, bytes(data)))
        for credential, form, data in connection.execute(
            text("select credential_id, document_form, document from ledger.credential")
        )
    )
    objects = {(target, path): store.get(path) or b"" for target, store in stores.items() for path in store.list()}
    return Account(rows, objects)


def differences(found: Account, wanted: Account) -> list[str]:
    """What differs, a sentence each; none when all is the same."""
    told = []
    for about in wanted.rows:
        for how, rows in (
            ("too many", found.rows[about] - wanted.rows[about]),
            ("missing", wanted.rows[about] - found.rows[about]),
        ):
            if rows:
                shown = "; ".join(str(row)[:300] for row in sorted(rows, key=str)[:SHOWN])
                told.append(f"{about}: {rows.total()} {how}: {shown}")
    for how, paths in (
        ("too many", found.objects.keys() - wanted.objects.keys()),
        ("missing", wanted.objects.keys() - found.objects.keys()),
        ("of other bytes", {p for p, data in wanted.objects.items() if found.objects.get(p, data) != data}),
    ):
        if paths:
            shown = ", ".join("/".join(path) for path in sorted(paths)[:SHOWN])
            told.append(f"objects: {len(paths)} {how}: {shown}")
    return told


def twice(connection: Connection) -> list[str]:
    """What is in a ledger twice and must not be, a sentence each."""
    told = []
    for about, query in TWICE.items():
        if found := connection.execute(text(f"{query} having count(*) > 1")).all():
            told.append(f"{about}: {len(found)} twice, such as {found[0]}")
    if found := connection.scalars(text(MOVES)).all():
        told.append(f"moves: {len(found)} credentials have another number of moves than versions, such as {found[0]}")
    return told


def unbalanced(engine: Engine, stores: Mapping[str, ObjectStore]) -> list[str]:
    """What reconciliation finds, every document and every object looked at."""
    return [
        f"{target}: {difference}"
        for target, store in stores.items()
        for difference in reconcile(
            engine, read_object=store.get, list_objects=store.list, target=target, sample=None
        ).differences
    ]


def _plain(value: object) -> object:
    return bytes(value) if isinstance(value, memoryview) else value

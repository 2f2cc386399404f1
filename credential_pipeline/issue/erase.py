"""Erase a person: what is theirs leaves the database, and what is theirs does not come in again.

Belongs here: who is meant, the order of the steps, and what is recorded about it. Does not belong here: the single
statements (erase_rows.py), the published objects (publish/withdraw.py takes them away) and looking for what is left
(report/leftovers.py). Ids, states and events stay: the books still add up, and say that somebody was erased.

All of it is one transaction below the locks of every stage: nobody lands, judges, identifies or plans meanwhile.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from uuid import UUID

from sqlalchemy import Connection, Engine, text

from credential_pipeline.credential import identifiers
from credential_pipeline.errors import Terminal
from credential_pipeline.identify.persons import IDENTITY_LOCK
from credential_pipeline.institution import Institution
from credential_pipeline.issue import erase_rows
from credential_pipeline.issue.actions import record_action
from credential_pipeline.issue.erase_rows import Person, Sought
from credential_pipeline.issue.plans import ISSUING_LOCK
from credential_pipeline.issue.reasons import refuse_repeated
from credential_pipeline.issue.states import Move, move
from credential_pipeline.store.postgres import transaction_lock
from credential_pipeline.store.secrets import SecretsDirectory
from credential_pipeline.store.tombstones import SECRET, keyed_hash

log = logging.getLogger(__name__)

ERASED = "erased"
"""What stands where something of an erased person stood and must not be null, and the reason of its states."""


@dataclass(frozen=True)
class Erased:
    """What an erasure did, or (`dry_run`) would do.

    Attributes:
        person_id: the person, after any merge.
        counts: rows emptied or deleted, by table.
        before: the person was erased before; `counts` is what had come since.
        sought: the texts that must not be found any more. In memory only: never store or show them.
    """

    person_id: UUID
    counts: Mapping[str, int]
    before: bool
    dry_run: bool
    sought: tuple[Sought, ...] = field(repr=False, default=())


def erase_person(
    engine: Engine,
    institution: Institution,
    secrets: SecretsDirectory,
    name: str,
    *,
    reason: str,
    actor: str,
    run_id: str,
    dry_run: bool = False,
) -> Erased:
    """Erase the person of a person_id, a `SOURCE:KEY` or a credential (its id, public id or URL).

    A second call finds nothing left and records nothing; what was landed past the pipeline since goes too.

    Raises:
        Terminal: nobody is known by that name, or `reason` or `actor` repeats what has to be forgotten.
    """
    with engine.begin() as connection:
        _wait_for_everybody(connection, institution)
        person = _person(connection, institution, secrets, name)
        sought = erase_rows.what_to_forget(connection, person)
        # They go into an append-only log: nothing could ever take the name out of it again.
        refuse_repeated(f"{reason}\n{actor}", ((one.kind, one.text) for one in sought))
        _wait_for_plans(connection, person)
        before = bool(
            connection.scalar(
                text("select exists (select from ledger.erasure where person_id = :p)"), {"p": person.person_id}
            )
        )
        secret = secrets.secret(SECRET)
        emptied = erase_rows.empty_rows(connection, institution, person, secret)
        done = {
            **emptied.counts,
            **_withdraw(connection, person, actor, run_id),
            **erase_rows.empty_ledger(connection, person, emptied.rows),
            **erase_rows.empty_identity(connection, person),
        }
        counts = {table: number for table, number in sorted(done.items()) if number}
        digests = emptied.digests | {keyed_hash(secret, "key", key.encode()) for key in person.keys}
        if dry_run:
            connection.rollback()
        else:
            _record(connection, person.person_id, counts, digests, secret.version, reason, actor, run_id)
    log.info("erased a person: %s", ", ".join(f"{n} {table}" for table, n in counts.items()) or "nothing was left")
    return Erased(person.person_id, counts, before, dry_run, sought)


def _wait_for_everybody(connection: Connection, institution: Institution) -> None:
    """The stages' own locks, in the order of the flow; each stage takes one of them, so nobody waits in a circle."""
    for stage in ("land", "gate"):
        for dataset in sorted(dataset.name for dataset in institution.datasets):
            transaction_lock(connection, f"{stage} {dataset}")
    transaction_lock(connection, IDENTITY_LOCK)
    transaction_lock(connection, ISSUING_LOCK)


def _wait_for_plans(connection: Connection, person: Person) -> None:
    """A plan with a line about the person is not applied meanwhile; plans of others are."""
    plans = connection.scalars(
        text(
            "select distinct plan_id from ledger.plan_line l join ledger.plan p using (plan_id)"
            " where l.award_id = any(:awards) and l.state = 'planned' and p.state in ('planned', 'approved') order by 1"
        ),
        {"awards": list(person.awards)},
    ).all()
    for plan in plans:
        transaction_lock(connection, f"apply {plan}")


def _person(connection: Connection, institution: Institution, secrets: SecretsDirectory, name: str) -> Person:
    person_id = _find(connection, secrets, name.strip())
    if person_id is None and (known := erase_rows.rows_of_keys(connection, institution, [name.strip()])):
        # Somebody whose every row is in quarantine has no person yet; the erasure needs one to be recorded under.
        person_id = identifiers.person_id(institution.id, name.strip())
        log.info("no person is known by that key; %d rows in quarantine are", len(known))
        connection.execute(
            text(
                "insert into identity.person (person_id, first_source_key, first_day, run_id)"
                " select :person, :key, day, run_id from landed.row where row_id = :row"
            ),
            {"person": person_id, "key": name.strip(), "row": min(known)},
        )
    if person_id is None:
        raise Terminal(
            "nobody is known by that name; give a person_id, SOURCE:KEY with the key as the source writes it, or a"
            " credential's id, public id or URL"
        )
    survivor = connection.scalar(
        text("select person_id from identity.person_alias where alias_id = :person"), {"person": person_id}
    )
    return erase_rows.read_person(connection, survivor or person_id)


def _find(connection: Connection, secrets: SecretsDirectory, name: str) -> UUID | None:
    """The person of a name; of a key that was erased before, by its tombstone."""
    credential: UUID | None = None
    with suppress(ValueError):
        credential = UUID(name)
    public = name.rstrip("/").rpartition("/")[2].removesuffix(".json")
    found: UUID | None = connection.scalar(
        text(
            "select person_id from identity.person where person_id = :id"
            " union all select person_id from identity.source_record where source_key = :name"
            " union all select person_id from ledger.credential where credential_id = :id or public_id = :public"
            " limit 1"
        ),
        {"id": credential, "name": name, "public": public},
    )
    if found is not None:
        return found
    versions = connection.scalars(text("select distinct secret_version from ledger.tombstone")).all()
    digests = [keyed_hash(secrets.secret(SECRET, version), "key", name.encode()) for version in versions]
    erased: UUID | None = connection.scalar(
        text("select person_id from ledger.tombstone where digest = any(:digests) limit 1"), {"digests": digests}
    )
    return erased


def _withdraw(connection: Connection, person: Person, actor: str, run_id: str) -> dict[str, int]:
    """The state says so before the document goes; nobody is told: there is no address any more."""
    moves = [Move(credential, "withdrawn", ERASED) for credential in person.credentials]
    moved = move(connection, moves, actor=actor, run_id=run_id, tell=False)
    if moved.refused:
        credential, why = next(iter(moved.refused.items()))
        raise Terminal(f"credential {credential}: {why}; nothing was erased")
    return {"ledger.credential_state": len(moved.done)}


def _record(
    connection: Connection,
    person: UUID,
    counts: Mapping[str, int],
    digests: Collection[bytes],
    version: int,
    reason: str,
    actor: str,
    run_id: str,
) -> None:
    values = {"person": person, "actor": actor, "reason": reason, "counts": json.dumps(counts), "run": run_id}
    first = connection.execute(
        text(
            "insert into ledger.erasure (person_id, actor, reason, counts, run_id)"
            " values (:person, :actor, :reason, cast(:counts as jsonb), :run) on conflict do nothing"
        ),
        values,
    ).rowcount
    connection.execute(
        text(
            "insert into ledger.tombstone (digest, secret_version, person_id)"
            " select d, :version, :person from unnest(cast(:digests as bytea[])) d on conflict do nothing"
        ),
        {"digests": list(digests), "version": version, "person": person},
    )
    if first or counts:
        record_action(connection, "erased", f"person:{person}", actor, run_id, reason=reason, detail=counts)

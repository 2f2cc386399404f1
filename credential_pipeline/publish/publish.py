"""Publish a ledger at a target: whatever is recorded and not yet there, and nothing else.

Order: the issuer's documents, status lists, then chunk by chunk states and credentials. So whoever fetches a
credential finds all it points at. Kill it anywhere and call again: objects in place are found in place.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from credential_pipeline.credential.document import KeyPeriod
from credential_pipeline.credential.keys import Signer
from credential_pipeline.errors import Transient
from credential_pipeline.institution import Institution
from credential_pipeline.publish import documents
from credential_pipeline.publish.credentials import CREDENTIAL, STATE, Credentials, record_events
from credential_pipeline.publish.documents import refuse_unrecorded
from credential_pipeline.publish.jwts import Jwts
from credential_pipeline.publish.manifest import Item, Sender, record, recorded, sender
from credential_pipeline.publish.status_lists import StatusLists
from credential_pipeline.publish.withdraw import withdraw_erased
from credential_pipeline.store.dictionaries import reader_of
from credential_pipeline.store.objects import ObjectStore
from credential_pipeline.store.postgres import named_lock

log = logging.getLogger(__name__)

CHUNK = 1000
PROGRESS_EVERY = 5000


@dataclass(frozen=True)
class PublishResult:
    """Objects sent and recorded by this call, by kind; of all of them, `written` changed the target.

    `unchanged`: objects of the manifest that this call had no reason to send.
    """

    credentials: int
    states: int
    status_lists: int
    documents: int
    written: int
    unchanged: int
    jwts: int = 0


def publish(
    engine: Engine,
    institution: Institution,
    store: ObjectStore,
    target: str,
    signer: Signer,
    keys: Sequence[KeyPeriod],
    as_of: datetime,
    run_id: str,
    *,
    chunk: int = CHUNK,
    jwt_signer: Signer | None = None,
) -> PublishResult:
    """Send what `target` lacks; one publisher a target works at a time, others wait for it.

    Args:
        engine: the ledger.
        institution: whose site it is.
        store: where the objects go.
        target: the store's name in the manifest, such as `site`.
        signer: signs states, status lists and keys.json.
        keys: all keys of the issuer, `documents.recorded_keys(engine, institution)`.
        as_of: the instant of this run, aware, in whole seconds.
        run_id: recorded with the manifest and the events.
        chunk: credentials sent and recorded at once.
        jwt_signer: signs the JWTs of credentials that have none yet; None where the institution publishes none.

    Raises:
        Terminal: something in the way that a person has to remove; nothing wrong was published.
        Transient: the store or the database went away; call again.
    """
    if jwt_signer is not None:
        refuse_unrecorded(jwt_signer, keys)
    with engine.connect() as guard, named_lock(guard, f"publish {target}"), sender(store, _ttl(institution)) as send:
        _start_over_if_lost(engine, store, target)
        withdraw_erased(engine, store, target)
        n_documents, written = _documents(engine, institution, target, signer, keys, as_of, run_id, send)
        lost = frozenset(key.id for key in keys if key.compromised_at is not None)
        n_lists = StatusLists(engine, institution, store, target, signer, as_of, run_id, lost).publish(send)
        source = Credentials(institution, target, signer, as_of)
        n_credentials = n_states = 0
        with engine.connect() as reading:
            reader = reader_of(reading)
            for rows in source.due(reading, chunk):
                _still_locked(guard)
                items = source.items(rows, reader)
                written += send.send(items)
                published = [i.credential_id for i in items if i.kind == CREDENTIAL and i.credential_id]
                with engine.begin() as connection:
                    record(connection, target, items, run_id)
                    record_events(connection, published, target, run_id)
                if (n_credentials + len(published)) // PROGRESS_EVERY > n_credentials // PROGRESS_EVERY:
                    log.info("published %d credentials", n_credentials + len(published))
                n_credentials += len(published)
                n_states += sum(i.kind == STATE for i in items)
        n_jwts = 0
        if jwt_signer is not None:
            n_jwts, jwts_written = _jwts(
                Jwts(engine, institution, target, jwt_signer, as_of, run_id), guard, send, chunk
            )
            written += jwts_written
        sent = n_documents + n_lists + n_credentials + n_states + n_jwts
        with engine.connect() as connection:
            total = connection.scalar(
                text("select count(*) from ledger.publication where target = :target"), {"target": target}
            )
    unchanged = (total or 0) - sent
    result = PublishResult(n_credentials, n_states, n_lists, n_documents, written + n_lists, unchanged, n_jwts)
    log.info(
        "published at %s: %d credentials, %d JWTs, %d states, %d status lists, %d documents; %d unchanged",
        target,
        n_credentials,
        n_jwts,
        n_states,
        n_lists,
        n_documents,
        result.unchanged,
    )
    return result


def _jwts(source: Jwts, guard: Connection, send: Sender, chunk: int) -> tuple[int, int]:
    """After all credentials: a JWT says where its state is, and that stands by now."""
    sent = written = 0
    with source.engine.connect() as reading, source.engine.connect() as asking:
        reader = reader_of(asking)
        for rows in source.due(reading, chunk):
            _still_locked(guard)
            items = source.items(rows, reader)
            written += send.send(items)
            with source.engine.begin() as connection:
                record(connection, source.target, items, source.run_id)
            sent += len(items)
    return sent, written


def _ttl(institution: Institution) -> int:
    return institution.policies.status_ttl_minutes * 60


def _start_over_if_lost(engine: Engine, store: ObjectStore, target: str) -> None:
    """A target that has lost even did.json was emptied or replaced: its manifest speaks of objects that are gone."""
    with engine.begin() as connection:
        if documents.DID_PATH in recorded(connection, target, [documents.KIND]) and (
            store.get(documents.DID_PATH) is None
        ):
            log.warning("%s has lost its objects: all are sent again", target)
            connection.execute(text("delete from ledger.publication where target = :target"), {"target": target})


def _documents(
    engine: Engine,
    institution: Institution,
    target: str,
    signer: Signer,
    keys: Sequence[KeyPeriod],
    as_of: datetime,
    run_id: str,
    send: Sender,
) -> tuple[int, int]:
    with engine.connect() as connection:
        known = recorded(connection, target, [documents.KIND])
        former = documents.former_achievements(connection, institution, target)
    changed: list[Item] = []
    for item in documents.site_documents(institution, keys, signer, as_of, former):
        last = known.get(item.path)
        if last is None or last.digest != item.digest:
            changed.append(replace(item, version=last.version + 1 if last else 1))
    written = send.send(changed)
    if changed:
        with engine.begin() as connection:
            record(connection, target, changed, run_id)
    return len(changed), written


def _still_locked(guard: Connection) -> None:
    """The lock lives in this connection: if the server dropped it, somebody else may be publishing already."""
    try:
        guard.execute(text("select 1"))
        guard.rollback()
    except DBAPIError as error:
        raise Transient("the database connection that holds the publish lock was lost; run again") from error

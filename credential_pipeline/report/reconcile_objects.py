"""The checks of a reconciliation that need bytes: documents in the ledger, objects in the target, status bits.

Belongs here: reading and comparing. Does not belong here: verifying signatures (`credential-pipeline verify`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

from sqlalchemy import Connection, Row, text

from credential_pipeline.credential.status_list import StatusListError, decode, set_bits
from credential_pipeline.errors import Terminal
from credential_pipeline.publish.status_lists import set_indices
from credential_pipeline.report.reconcile_checks import SHOWN, Difference, named
from credential_pipeline.store.dictionaries import reader_of
from credential_pipeline.store.document_form import DocumentReader
from credential_pipeline.store.postgres import copy_rows

CHUNK = 2000
STREAMED = {"yield_per": CHUNK}
READERS = 16
"""Threads that read objects: a round trip to a bucket takes 5 to 50 ms, and a folder does not mind."""

MISSING = "manifest = objects"

ReadObject = Callable[[str], bytes | None]

DOCUMENTS = """
select c.credential_id, c.document_form, c.document, c.document_sha256
from scope_credential s join ledger.credential c using (credential_id) where not s.erased
order by hashtextextended(c.credential_id::text, :seed)
"""

# Status lists and everything else of the site are few: they are always among those compared.
OBJECTS = """
select path, digest, name from (
  select p.path, p.digest, coalesce(p.kind || ' of credential ' || p.credential_id, p.path) as name,
         row_number() over (order by hashtextextended(p.path, :seed)) as position,
         p.credential_id is null as few
  from ledger.publication p left join scope_credential s using (credential_id)
  where p.target = :target and (p.credential_id is null or s.credential_id is not null)
) p
"""


def check_documents(connection: Connection, sample: int | None, seed: int) -> tuple[int, list[Difference]]:
    """Unpack recorded documents and compare their SHA-256 with the recorded one; returns how many, and differences."""
    limit = "" if sample is None else " limit :sample"
    compared = 0
    bad: list[str] = []
    rows = connection.execute(text(DOCUMENTS + limit), {"seed": seed, "sample": sample}, execution_options=STREAMED)
    reader = reader_of(connection)
    for row in rows:
        compared += 1
        if not _is_whole(reader, row):
            bad.append(str(row.credential_id))
    if not bad:
        return compared, []
    remedy = "their bytes were changed or damaged: restore the ledger from a backup; nothing of them was published anew"
    where = named("credential", sorted(bad)[:SHOWN], len(bad))
    return compared, [Difference("documents = their SHA-256", compared, compared - len(bad), where, remedy)]


def _is_whole(reader: DocumentReader, row: Row[Any]) -> bool:
    try:
        data = reader.read(row.document_form, row.document)
    except Terminal:
        return False
    return hashlib.sha256(data).digest() == bytes(row.document_sha256)


def check_objects(
    connection: Connection, target: str, read_object: ReadObject, sample: int | None, seed: int, *, listed: bool
) -> tuple[int, list[Difference]]:
    """Compare objects of a target with the manifest's digests; returns how many, and differences.

    `listed`: check_listing names all that are missing; here they are passed over.
    """
    chosen = "" if sample is None else " where few or position <= :sample"
    parameters = {"target": target, "seed": seed, "sample": sample}
    rows = connection.execute(text(OBJECTS + chosen), parameters, execution_options=STREAMED)
    compared = 0
    missing: list[str] = []
    changed: list[str] = []
    with ThreadPoolExecutor(READERS, thread_name_prefix="reconcile") as pool:
        for chunk in _chunks(iter(rows)):
            compared += len(chunk)
            for row, digest in zip(chunk, pool.map(lambda r: _digest(read_object(r.path)), chunk), strict=True):
                if digest is None:
                    missing.append(row.name)
                elif digest != bytes(row.digest):
                    changed.append(row.name)
    differences = []
    for term, bad, remedy in (
        (MISSING, [] if listed else missing, "they are gone from the target: publish again"),
        (
            "manifest = bytes of objects",
            changed,
            "somebody else wrote them: find out who; take them down and publish again",
        ),
    ):
        if bad:
            where = named("object", sorted(bad)[:SHOWN], len(bad), target)
            differences.append(Difference(term, compared, compared - len(bad), where, remedy))
    return compared, differences


# A local store writes a file under another name first: what is in flight is nobody's orphan.
ORPHANS = """
select path as id from listed l where position('#' in path) = 0
  and not exists (select from ledger.publication p where p.target = :target and p.path = l.path)
"""

GONE = """
select coalesce(p.kind || ' of credential ' || p.credential_id, p.path) as id
from ledger.publication p where p.target = :target
  and not exists (select from listed l where l.path = p.path)
"""


def check_listing(connection: Connection, target: str, paths: Iterable[str]) -> list[Difference]:
    """Compare what lies at a target with the manifest, both ways, by name: all of it, whatever a sample reads."""
    connection.execute(text("create temporary table listed (path text) on commit drop"))
    # Streamed into the database: two million paths would take 300 MB here.
    listed = copy_rows(connection, "listed", ("path",), ((path,) for path in paths))
    connection.execute(text("analyze listed"))
    differences = []
    for term, bad, remedy in (
        (
            "objects = manifest",
            ORPHANS,
            "nothing in the ledger stands behind them: find out who wrote them, delete them",
        ),
        (MISSING, GONE, "they are gone from the target: publish again"),
    ):
        number, ids = connection.execute(
            text(
                f"with bad as ({bad}) select (select count(*) from bad),"
                f" array(select id from bad order by id limit {SHOWN})"
            ),
            {"target": target},
        ).one()
        if number:
            differences.append(Difference(term, listed, listed - number, named("object", ids, number, target), remedy))
    connection.execute(text("drop table listed"))
    return differences


def _digest(data: bytes | None) -> bytes | None:
    return None if data is None else hashlib.sha256(data).digest()


def _chunks(rows: Iterator[Row[Any]]) -> Iterator[list[Row[Any]]]:
    while chunk := list(islice(rows, CHUNK)):
        yield chunk


def check_status_bits(connection: Connection, target: str, read_object: ReadObject) -> list[Difference]:
    """Compare every bit of the published status lists with the states in the ledger."""
    lists = connection.execute(
        text(
            "select l.list_number, l.purpose, p.path from ledger.status_list l join ledger.publication p"
            " on p.target = :target and p.path = 'status/' || l.list_number || '.json' order by 1"
        ),
        {"target": target},
    ).all()
    differences = []
    for number, purpose, path in lists:
        wanted = set(set_indices(connection, number, purpose))
        published = _set_bits(read_object(path))
        if published is None:
            what = named("object", [path], 1, target)
            differences.append(
                Difference("status bits = states", len(wanted), 0, what, "it cannot be read as a list: publish again")
            )
        elif published != wanted:
            wrong = len(published ^ wanted)
            where = f"{target}: {path}, {wrong} bits differ"
            remedy = "verifiers are told an old or a wrong state: publish again"
            differences.append(Difference("status bits = states", len(wanted), len(published), where, remedy))
    return differences


def _set_bits(data: bytes | None) -> set[int] | None:
    try:
        return set(set_bits(decode(json.loads(data or b"")["credentialSubject"]["encodedList"])))
    except (ValueError, KeyError, TypeError, StatusListError):
        return None

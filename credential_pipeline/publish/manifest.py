"""Objects on their way: sent to the store first, then written down in `ledger.publication`.

Belongs here: an object with what the manifest says about it, sending and recording many. Does not belong here: which
objects there are. In that order a kill between the two leaves an object that the next run finds in place.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import Connection, text

from credential_pipeline.publish.headers import object_headers
from credential_pipeline.store.objects import ObjectStore
from credential_pipeline.store.postgres import copy_rows

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Item:
    """An object to publish. `fixed`: it never changes, so it is created and never overwritten."""

    path: str
    kind: str
    data: bytes = field(repr=False)
    version: int = 1
    credential_id: UUID | None = None
    valid_until: datetime | None = None
    fixed: bool = False

    @property
    def digest(self) -> bytes:
        """SHA-256 (32 bytes) of the object."""
        return hashlib.sha256(self.data).digest()


@dataclass(frozen=True)
class Recorded:
    """What the manifest says about a path."""

    digest: bytes
    version: int
    valid_until: datetime | None


class Sender:
    """Sends objects to one target."""

    def __init__(self, store: ObjectStore, ttl_seconds: int, run: Callable[..., Iterable[Any]]) -> None:
        self._store = store
        self._ttl = ttl_seconds
        self._map = run

    def send(self, items: Sequence[Item]) -> int:
        """Put all items; returns how many objects were written (a fixed one may have been there already)."""
        return sum(self._map(self._put, items))

    def _put(self, item: Item) -> bool:
        attributes = object_headers(item.path, self._ttl)
        if item.fixed:
            return self._store.put_new(item.path, item.data, attributes) == "created"
        self._store.put(item.path, item.data, attributes)
        return True


@contextmanager
def sender(store: ObjectStore, ttl_seconds: int) -> Iterator[Sender]:
    """A Sender with as many threads as pay for this store; the first error of a batch is raised after the batch."""
    if store.parallel == 1:
        yield Sender(store, ttl_seconds, map)
        return
    with ThreadPoolExecutor(store.parallel, thread_name_prefix="publish") as pool:
        yield Sender(store, ttl_seconds, pool.map)


def recorded(connection: Connection, target: str, kinds: Sequence[str]) -> Mapping[str, Recorded]:
    """The manifest's rows of some kinds, by path; for kinds with few objects."""
    rows = connection.execute(
        text(
            "select path, digest, version, valid_until from ledger.publication"
            " where target = :target and kind = any(:kinds)"
        ),
        {"target": target, "kinds": list(kinds)},
    )
    return {path: Recorded(bytes(digest), version, until) for path, digest, version, until in rows}


def record(connection: Connection, target: str, items: Sequence[Item], run_id: str) -> None:
    """Write down objects that are in their place; a row never goes back to an older version."""
    connection.execute(text("create temporary table sent (like ledger.publication including defaults) on commit drop"))
    columns = (
        "target", "path", "kind", "credential_id", "digest", "version", "size_bytes", "valid_until", "run_id"
    )  # fmt: skip
    copy_rows(
        connection,
        "sent",
        columns,
        (
            (target, i.path, i.kind, i.credential_id, i.digest, i.version, len(i.data), i.valid_until, run_id)
            for i in items
        ),
    )
    names = ", ".join(columns)
    connection.execute(
        text(
            f"insert into ledger.publication as p ({names}) select {names} from sent order by path"
            " on conflict (target, path) do update set kind = excluded.kind, digest = excluded.digest,"
            "  version = excluded.version, size_bytes = excluded.size_bytes, valid_until = excluded.valid_until,"
            "  run_id = excluded.run_id, published_at = clock_timestamp() where p.version <= excluded.version"
        )
    )
    connection.execute(text("drop table sent"))

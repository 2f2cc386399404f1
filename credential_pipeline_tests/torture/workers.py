"""One life of a worker: it opens its own connections, does the tasks of a month in order, and tells how far it is.

Belongs here: what happens in a forked child. Does not belong here: when it is born and killed (nursery.py).
"""

from __future__ import annotations

import mmap
import os
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import Engine, event
from sqlalchemy.exc import DBAPIError

from credential_pipeline.errors import Transient
from credential_pipeline.runtime import open_runtime
from credential_pipeline.settings import Settings, load_settings
from credential_pipeline.store.objects import ObjectStore, open_store
from credential_pipeline_tests.torture.academy import Month
from credential_pipeline_tests.torture.tasks import AGENDA, Hands

WORKERS = 2

SITE, BUCKET = "site", "bucket"
"""The targets' names in the manifest: the same in both worlds."""

MARK = b"!"
"""What a worker writes into its pipe when it has come to the statement at which its death is decided."""

CUT_OFF = 3
"""How a worker ends whose connection to the database was cut."""


@dataclass(frozen=True)
class World:
    """An academy, a database and a home. `bucket`: what open_store takes, of a second target."""

    institution: Path
    home: Path
    data: Path
    secrets: Path
    database_url: str
    bucket: str | None = None
    bucket_options: Mapping[str, Any] | None = None

    @cached_property
    def settings(self) -> Settings:
        """As the command line reads them; once for all forks, for they are pure."""
        return load_settings(
            institution=self.institution,
            home=self.home,
            data=self.data,
            environ={
                "CREDENTIAL_PIPELINE_DATABASE_URL": self.database_url,
                "CREDENTIAL_PIPELINE_SECRETS": str(self.secrets),
            },
        )

    @contextmanager
    def hands(self, as_of: datetime, run_id: str) -> Iterator[tuple[Hands, Engine]]:
        """As a process of the pipeline opens them, at an instant."""
        with open_runtime(self.settings, as_of=as_of, clock=lambda: as_of) as runtime:
            hands = Hands(runtime.engine, runtime.institution, runtime.secrets, self.data, self.targets, run_id)
            yield hands, runtime.engine

    @property
    def targets(self) -> dict[str, Callable[[], ObjectStore]]:
        """What opens the folder, and the bucket if there is one, by their names in the manifest."""
        targets = {SITE: lambda: open_store(SITE, self.home)}
        if (bucket := self.bucket) is not None:
            targets[BUCKET] = lambda: open_store(bucket, self.home, options=self.bucket_options)
        return targets

    def stores(self) -> dict[str, ObjectStore]:
        """All of them, opened."""
        return {name: target() for name, target in self.targets.items()}


class Board:
    """Memory that the nursery and its children share: which task each worker is at, and which are done.

    A byte each, written by one and read by others: that needs no lock, and no death leaves it half written.
    """

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 2 * WORKERS + len(AGENDA))

    def begin(self) -> None:
        """A new month: nothing is done."""
        self._memory[2 * WORKERS :] = bytes(len(AGENDA))

    def task(self, slot: int) -> int:
        return self._memory[slot]

    def at(self, slot: int, task: int) -> None:
        self._memory[slot] = task

    def cut(self, slot: int, *, is_cut: bool) -> None:
        self._memory[WORKERS + slot] = is_cut

    def is_cut(self, slot: int) -> bool:
        return bool(self._memory[WORKERS + slot])

    def done(self, task: int) -> None:
        self._memory[2 * WORKERS + task] = 1

    def is_done(self, task: int) -> bool:
        return bool(self._memory[2 * WORKERS + task])

    @property
    def first_open(self) -> int:
        """The first task that nobody has done yet; the number of tasks when all are done."""
        return self._memory[2 * WORKERS :].index(0) if 0 in self._memory[2 * WORKERS :] else len(AGENDA)


def live(world: World, month: Month, board: Board, slot: int, start: int, mark: int, pipe: int) -> int:
    """A worker's life from the task `start` on; at its `mark`-th statement it says so. Returns its exit code."""
    try:
        board.at(slot, start)
        with world.hands(month.as_of, f"worker {os.getpid()}") as (hands, engine):
            _count_statements(engine, mark, pipe)
            for task in range(start, len(AGENDA)):
                board.at(slot, task)
                AGENDA[task][1](hands, month)
                board.done(task)
    except BaseException as error:
        if board.is_cut(slot) and is_lost_connection(error):
            return CUT_OFF
        os.write(pipe, f"month {month.number}, task {board.task(slot)}: {traceback.format_exc()}".encode())
        return 1
    return 0


def live_undisturbed(world: World, months: Iterable[Month], pipe: int) -> int:
    """All tasks of these months by one process, as if there were no death."""
    try:
        for month in months:
            with world.hands(month.as_of, f"undisturbed {os.getpid()}") as (hands, _):
                for _, task in AGENDA:
                    task(hands, month)
    except BaseException:
        os.write(pipe, traceback.format_exc().encode())
        return 1
    return 0


def is_lost_connection(error: BaseException) -> bool:
    """Whether this says that the database went away, and nothing else."""
    if isinstance(error, DBAPIError):
        return error.connection_invalidated or isinstance(error.orig, psycopg.OperationalError)
    return isinstance(error, Transient | psycopg.OperationalError)


def _count_statements(engine: Engine, mark: int, pipe: int) -> None:
    left = [mark]

    def before(*_: object) -> None:
        left[0] -= 1
        if left[0] == 0:
            os.write(pipe, MARK)

    event.listen(engine, "before_cursor_execute", before)

"""Two workers at a time, born by fork and killed with -9 at drawn moments, until enough have died at work.

The interpreter and its imports are paid for once: the nursery has imported everything, has no thread of its own and no
connection, and a life costs a fork and what it opens itself. A moment is drawn as a number of statements and some
milliseconds after them, so that neither a slow machine nor a quick one changes how much is done in a life. Belongs
here: births, deaths and what they hit. Does not belong here: what a worker does (workers.py), judging what came of it
(compare.py).
"""

from __future__ import annotations

import gc
import os
import random
import selectors
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing import get_context, set_start_method
from multiprocessing.connection import Connection

import great_expectations  # noqa: F401 - the gate imports it when there are rows: once here, and not in every life
import psycopg

from credential_pipeline_tests.torture.academy import Month
from credential_pipeline_tests.torture.tasks import AGENDA
from credential_pipeline_tests.torture.workers import CUT_OFF, MARK, WORKERS, Board, World, live, live_undisturbed

MOST_STATEMENTS = 120
"""A life ends after 1 to this many statements: a month has about 1,000."""
MOST_SECONDS = 0.02
"""And up to this long after that: within a statement, between two, in a COPY, in a file."""
BACK = 1
"""A worker begins up to this many tasks before the first open one: it repeats what somebody else has done."""

PATIENCE_SECONDS = 120

HIT_LEAST = {"plan": 5, "apply": 5, "publish": 5, "renew": 5}
"""Deaths at these stages before it is enough."""


class Failed(Exception):
    """A worker ended by itself, and not because all was done; or nothing moves any more."""


@dataclass(frozen=True)
class Ordeal:
    """What to do to which world.

    Attributes:
        seed: of all that is drawn.
        kills: deaths at work that are enough, if HIT_LEAST is met too.
        disturbed: the world with the deaths in it; its secrets are used by both.
        undisturbed: the other one.
        superuser_url: for cutting connections of the disturbed world's database.
        cuts: the share of deaths that are a lost connection instead.
    """

    seed: int
    kills: int
    disturbed: World
    undisturbed: World
    superuser_url: str
    cuts: float = 0.0


@dataclass
class Tale:
    """What happened.

    Attributes:
        months: months begun, the last of them not finished before the clean run.
        births: workers that began.
        kills: deaths at a task that nobody had done yet, by its stage.
        idle: deaths while repeating what somebody else had done.
        cut: connections that were cut.
    """

    months: int = 0
    births: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    idle: int = 0
    cut: int = 0

    def is_enough(self, kills: int) -> bool:
        return self.kills.total() >= kills and all(self.kills[stage] >= n for stage, n in HIT_LEAST.items())


@dataclass
class _Life:
    pid: int
    slot: int
    pipe: int
    dies_at: float | None = None
    said: bytes = b""


class Nursery:
    """Bears and kills the workers of one ordeal."""

    def __init__(self, ordeal: Ordeal, tell: Callable[[Tale], None] = lambda tale: None) -> None:
        self._ordeal = ordeal
        self._tell = tell
        self._board = Board()
        self._tale = Tale()
        self._lives: dict[int, _Life] = {}
        self._selector = selectors.DefaultSelector()
        self._draws = random.Random(ordeal.seed)

    def run(self) -> Tale:
        """Months under the knife, a clean run, and the same months undisturbed in the other world.

        Raises:
            Failed: a worker failed, or nothing moved for two minutes.
        """
        tale, ordeal = self._tale, self._ordeal
        assert ordeal.disturbed.settings.institution == ordeal.undisturbed.settings.institution  # read before any fork
        gc.collect()
        gc.freeze()  # the children's collectors leave our pages alone: they stay shared
        try:
            while not tale.is_enough(ordeal.kills):
                self._month(Month(ordeal.seed, tale.months))
                tale.months += 1
                self._tell(tale)
        finally:
            self._end_all()
        months = [Month(ordeal.seed, n) for n in range(tale.months)]
        self._undisturbed(ordeal.disturbed, months[-1:])
        self._undisturbed(ordeal.undisturbed, months)
        return tale

    def _month(self, month: Month) -> None:
        month.write(self._ordeal.disturbed.data)
        self._board.begin()
        while True:
            if self._tale.is_enough(self._ordeal.kills):
                return
            if self._board.first_open < len(AGENDA):
                for slot in set(range(WORKERS)) - self._lives.keys():
                    self._bear(month, slot)
            elif not self._lives:
                return
            self._wait()

    def _bear(self, month: Month, slot: int) -> None:
        start = max(0, self._board.first_open - self._draws.randint(0, BACK))
        mark = self._draws.randint(1, MOST_STATEMENTS)
        self._board.cut(slot, is_cut=False)
        life = self._fork(slot, lambda pipe: live(self._ordeal.disturbed, month, self._board, slot, start, mark, pipe))
        self._lives[slot] = life
        self._selector.register(life.pipe, selectors.EVENT_READ, life)
        self._tale.births += 1

    def _fork(self, slot: int, life: Callable[[int], int]) -> _Life:
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                os.close(reading)
                code = life(writing)
            finally:
                os._exit(code)
        os.close(writing)
        return _Life(pid, slot, reading)

    def _wait(self) -> None:
        """Until somebody says something, ends, or has to die."""
        now = time.monotonic()
        deadlines = [life.dies_at for life in self._lives.values() if life.dies_at is not None]
        ready = self._selector.select(max(0.0, min(deadlines) - now) if deadlines else PATIENCE_SECONDS)
        if not ready and not deadlines:
            stuck = [AGENDA[self._board.task(slot)][0] for slot in self._lives]
            raise Failed(f"nothing happened for {PATIENCE_SECONDS} s; the workers are at {', '.join(stuck)}")
        for key, _ in ready:
            self._hear(key.data)
        for life in list(self._lives.values()):
            if life.dies_at is not None and life.dies_at <= time.monotonic():
                self._kill(life)

    def _hear(self, life: _Life) -> None:
        data = os.read(life.pipe, 1 << 16)
        if not data:
            self._bury(life)
            return
        life.said += data
        if data == MARK:
            life.dies_at = time.monotonic() + self._draws.uniform(0, MOST_SECONDS)

    def _kill(self, life: _Life) -> None:
        if self._draws.random() < self._ordeal.cuts:
            self._cut()
            life.dies_at = None
            return
        os.kill(life.pid, signal.SIGKILL)
        if self._bury(life) != -signal.SIGKILL:
            return  # it had ended by itself
        task = self._board.task(life.slot)
        if self._board.is_done(task):
            self._tale.idle += 1
        else:
            self._tale.kills[AGENDA[task][0]] += 1

    def _cut(self) -> None:
        """End one connection of the workers, as a network does."""
        for slot in self._lives:
            self._board.cut(slot, is_cut=True)
        with psycopg.connect(self._ordeal.superuser_url, autocommit=True) as connection:
            found = connection.execute(
                "select pid from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
                " and backend_type = 'client backend' order by pid"
            ).fetchall()
            if found:
                [pid] = self._draws.choice(found)
                connection.execute("select pg_terminate_backend(%s)", [pid])
                self._tale.cut += 1

    def _bury(self, life: _Life) -> int:
        """Wait for a process that has ended or must; its exit code, negative for a signal.

        Raises:
            Failed: it ended by an error.
        """
        self._selector.unregister(life.pipe)
        del self._lives[life.slot]
        code = _end_of(life)
        if code not in (0, CUT_OFF, -signal.SIGKILL):
            raise Failed(f"a worker ended with {code}: {life.said.lstrip(MARK).decode()}")
        return code

    def _end_all(self) -> None:
        for life in list(self._lives.values()):
            os.kill(life.pid, signal.SIGKILL)
            self._bury(life)

    def _undisturbed(self, world: World, months: list[Month]) -> None:
        life = self._fork(0, lambda pipe: live_undisturbed(world, months, pipe))
        if code := _end_of(life):
            raise Failed(f"the undisturbed worker ended with {code}: {life.said.decode()}")


def _end_of(life: _Life) -> int:
    while data := os.read(life.pipe, 1 << 16):
        life.said += data
    os.close(life.pipe)
    _, status = os.waitpid(life.pid, 0)
    return os.waitstatus_to_exitcode(status)


def suffer(ordeal: Ordeal, tell: Callable[[Tale], None] = lambda tale: None) -> Tale:
    """Nursery.run in a process of its own; `tell` hears how it stands after each month.

    Raises:
        Failed: as Nursery.run, or the nursery itself ended.
    """
    context = get_context("spawn")
    over = False
    hearing, telling = context.Pipe(duplex=False)
    process = context.Process(target=_run, args=(ordeal, telling), name="nursery")
    process.start()
    telling.close()
    try:
        while True:
            heard: Tale | Failed
            over, heard = hearing.recv()
            if isinstance(heard, Failed):
                raise heard
            if over:
                return heard
            tell(heard)
    except EOFError:
        process.join()
        raise Failed(f"the nursery ended with {process.exitcode}") from None
    finally:
        if not over:
            process.kill()
        process.join()


def _run(ordeal: Ordeal, telling: Connection) -> None:
    # The gate's progress bars make semaphores: below `fork` they have no name that a death could leave behind.
    set_start_method("fork", force=True)
    try:
        tale = Nursery(ordeal, lambda tale: telling.send((False, tale))).run()
    except Failed as error:
        telling.send((True, error))
    else:
        telling.send((True, tale))

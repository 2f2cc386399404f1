"""Processes that work for this one: in order, bounded, told what they need through a pipe, and never left behind."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from credential_pipeline.errors import PipelineError, Terminal, Transient
from credential_pipeline.worker_processes import AHEAD, WorkerEnded, Workers

PATIENCE_SECONDS = 60


@dataclass(frozen=True)
class Echo:
    """Says which process it is in, with a secret that it was sent; does what the data say."""

    secret: str = field(default="", repr=False)

    def open(self) -> Callable[[bytes], tuple[bytes, int, str]]:
        return self._do

    def _do(self, data: bytes) -> tuple[bytes, int, str]:
        if data == b"refuse":
            raise Terminal("this cannot be done")
        if data == b"stumble":
            raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "a stumble")
        if data == b"die":
            os.kill(os.getpid(), signal.SIGKILL)
        if data == b"wait":
            threading.Event().wait()
        return data, os.getpid(), self.secret


@pytest.fixture
def workers() -> Iterator[Workers]:
    with Workers(2) as two:
        yield two


def gone(pid: int) -> bool:
    """Whether a process has ended: it is not there, or only its parent has not been told yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_results_come_in_order_from_other_processes(workers: Workers) -> None:
    work = Echo("through the pipe")
    found = list(workers.results((n, work, b"%d" % n) for n in range(20)))
    assert [(n, data) for n, (data, _, _) in found] == [(n, b"%d" % n) for n in range(20)]
    assert {secret for _, (_, _, secret) in found} == {"through the pipe"}
    used = {pid for _, (_, pid, _) in found}
    assert used <= set(workers.pids)
    assert os.getpid() not in used


def test_no_more_is_taken_in_advance_than_is_in_hand_and_one_for_each_to_go_on_with(workers: Workers) -> None:
    taken = 0

    def pieces() -> Iterator[tuple[int, Echo, bytes]]:
        nonlocal taken
        for taken in range(1, 31):
            yield taken, work, b"x"

    work, given = Echo(), 0
    for given, _ in enumerate(workers.results(pieces()), start=1):
        assert taken <= given + workers.count + AHEAD - 1
    assert given == taken == 30


def test_what_comes_without_work_is_handed_on(workers: Workers) -> None:
    assert list(workers.results([("a", None, b"a"), ("b", None, b"b")])) == [("a", None), ("b", None)]
    assert workers.pids == []


def test_nothing_is_started_before_there_is_work_and_all_end_with_the_block() -> None:
    with Workers(2) as two:
        assert two.pids == []
        list(two.results([(0, Echo(), b"x")]))
        started = two.pids
        assert len(started) == 2
    assert two.pids == []
    assert all(gone(pid) for pid in started)


def test_a_child_is_told_nothing_by_arguments_or_variables(workers: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDENTIAL_PIPELINE_PASSPHRASE", "a-long-passphrase")
    list(workers.results([(0, Echo("the-private-key"), b"x")]))
    for pid in workers.pids:
        told = Path(f"/proc/{pid}/cmdline").read_bytes() + Path(f"/proc/{pid}/environ").read_bytes()
        assert b"-m\0credential_pipeline.worker_processes" in told
        assert b"a-long-passphrase" not in told
        assert b"the-private-key" not in told


def test_an_error_is_raised_where_the_work_came_from_and_ends_the_workers(workers: Workers) -> None:
    with pytest.raises(Terminal, match="this cannot be done"):
        list(workers.results((n, Echo(), b"refuse" if n == 3 else b"x") for n in range(9)))
    assert workers.pids == []
    assert [value for value, _ in workers.results([("again", Echo(), b"x")])] == ["again"]


def test_an_error_that_does_not_survive_the_way_is_told_by_its_kind(workers: Workers) -> None:
    with pytest.raises((PipelineError, UnicodeDecodeError)):
        list(workers.results([(0, Echo(), b"stumble")]))


def test_a_worker_that_dies_is_an_error_that_says_so(workers: Workers) -> None:
    results = workers.results((n, Echo(), b"die" if n == 3 else b"x") for n in range(9))
    next(results)
    before = workers.pids
    with pytest.raises(WorkerEnded, match=r"worker process \d+ was ended by signal 9; nothing of what it was") as told:
        list(results)
    assert isinstance(told.value, Transient)
    assert len(before) == 2
    assert all(gone(pid) for pid in before)


def test_who_stops_listening_ends_workers_that_would_never_be_done(workers: Workers) -> None:
    results = workers.results((n, Echo(), b"wait" if n else b"x") for n in range(3))
    next(results)
    started = workers.pids
    assert not any(gone(pid) for pid in started)
    results.close()
    assert all(gone(pid) for pid in started)


def test_at_least_one_is_wanted() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Workers(0)

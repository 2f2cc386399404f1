"""Processes that work for this one: work goes to them through a pipe, and they end when the pipe does.

Belongs here: starting, asking and ending them. Does not belong here: what the work is. `multiprocessing` is not used:
it would fork (unsafe beside Dagster's threads) or import the main module again in each child (Dagster's takes 5 s).

A child is a Python of its own that knows nothing but one end of a socket. Work and keys reach it through that socket
alone: no argument, variable or file of the child holds any. When this process ends, by itself or killed, the kernel
closes the socket and the child ends after at most one piece of work. Ctrl-C reaches only this process, which ends them.
"""

from __future__ import annotations

import gc
import os
import pickle
import queue
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

from credential_pipeline.errors import PipelineError, Transient

T = TypeVar("T")
R_co = TypeVar("R_co", covariant=True)

ENDING_SECONDS = 5
AHEAD = 1
"""Pieces of work that wait beside those in hand: enough that no process waits for this one, and memory stays flat."""


class WorkerEnded(Transient):
    """A worker process ended in the middle of its work; what it was working on is not recorded."""


class Work(Protocol[R_co]):
    """Something that is sent to a worker once, and opened there; must be picklable."""

    def open(self) -> Callable[[bytes], R_co]:
        """What does a piece of it, kept from piece to piece; called in the worker."""
        ...


class Workers:
    """As many processes as are wanted, started when the first work comes; use it as a context, or close it.

    For one caller at a time. `pids` are those that run now.
    """

    def __init__(self, count: int) -> None:
        if count < 1:
            raise ValueError(f"{count} worker processes: at least one is needed")
        self.count = count
        self._threads: ThreadPoolExecutor | None = None
        self._children: list[_Child] = []
        self._free: queue.SimpleQueue[_Child] = queue.SimpleQueue()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers that were started."""
        return [child.pid for child in self._children]

    def results(
        self, pieces: Iterable[tuple[T, Work[R_co] | None, bytes]]
    ) -> Generator[tuple[T, R_co | None], None, None]:
        """The result of each (label, work, data), in order; None for what comes without work.

        At most `count + AHEAD` pieces are taken in advance.

        Raises:
            WorkerEnded: a worker died; all of them are ended, and start anew with the next work.
        """
        source = iter(pieces)
        waiting: deque[tuple[T, Future[R_co] | None]] = deque()
        try:
            while True:
                while len(waiting) < self.count + AHEAD:
                    if (piece := next(source, None)) is None:
                        break
                    label, work, data = piece
                    waiting.append((label, None if work is None else self._submit(work, data)))
                if not waiting:
                    return
                label, future = waiting.popleft()
                yield label, None if future is None else future.result()
        except BaseException:  # GeneratorExit and KeyboardInterrupt too: nobody waits for what is in hand
            self.close()
            raise

    def close(self) -> None:
        """End all workers, whatever they are doing."""
        for child in self._children:
            child.kill()
        if self._threads is not None:
            self._threads.shutdown(wait=True, cancel_futures=True)
        for child in self._children:
            child.close()
        self._threads, self._children, self._free = None, [], queue.SimpleQueue()

    def _submit(self, work: Work[R_co], data: bytes) -> Future[R_co]:
        if self._threads is None:
            # A thread a child: it sends and waits, so that neither side ever waits for the other to read.
            self._threads = ThreadPoolExecutor(self.count, thread_name_prefix="worker")
            for _ in range(self.count):
                child = _Child()
                self._children.append(child)
                self._free.put(child)
        return self._threads.submit(self._ask, self._free, work, data)

    @staticmethod
    def _ask(free: queue.SimpleQueue[_Child], work: Work[R_co], data: bytes) -> R_co:
        child = free.get()
        try:
            result: R_co = child.ask(work, data)
        finally:
            free.put(child)
        return result


class _Child:
    """One process, and this end of its socket."""

    def __init__(self) -> None:
        self._connection, theirs = Pipe()
        self._work: Any = None
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [sys.executable, "-P", "-m", __name__, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,  # ours may be read as JSON
                env=_environment(),
                process_group=0,  # Ctrl-C in a terminal goes to its foreground group: the parent decides
            )
        finally:
            theirs.close()
        self.pid = self._process.pid

    def ask(self, work: Work[R_co], data: bytes) -> R_co:
        """The result of one piece; the work is sent with it, unless the child has it."""
        try:
            self._connection.send((None if work is self._work else work, data))
            self._work = work
            done, value = self._connection.recv()
        except (EOFError, OSError) as error:
            raise WorkerEnded(
                f"the worker process {self.pid} {self._fate()}; nothing of what it was working on was recorded. Give "
                "the same command again: it does only what is missing. If that happens again, see whether memory ran "
                "out, or set CREDENTIAL_PIPELINE_WORKERS=1"
            ) from error
        if not done:
            raise value
        result: R_co = value
        return result

    def _fate(self) -> str:
        try:
            status = self._process.wait(ENDING_SECONDS)
        except subprocess.TimeoutExpired:
            return "does not answer"
        return f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"

    def kill(self) -> None:
        """End the process; whoever waits for its answer is told."""
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """Close this end; nobody may wait at it."""
        self._connection.close()


def _environment() -> dict[str, str]:
    """Ours, without this project's variables (one is a passphrase); the package is found wherever it was here."""
    root = str(Path(__file__).parent.parent)
    path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CREDENTIAL_PIPELINE_")}
    return {**kept, "PYTHONPATH": path}


def serve(connection: Connection) -> None:
    """What a child does: take work and pieces of it until the other end is gone."""
    do: Callable[[bytes], Any] = _nothing
    # Hundreds of thousands of documents a minute are made and dropped, and none is a cycle: 4 % of the time.
    gc.set_threshold(200_000, 10, 10)
    with suppress(EOFError, ConnectionError):
        while True:
            work, data = connection.recv()
            try:
                if work is not None:
                    do = work.open()
                answer = (True, do(data))
            except Exception as error:
                answer = (False, _portable(error))
            connection.send(answer)


def _portable(error: Exception) -> Exception:
    """The error if it survives the way, else its kind: its text may quote what it was working on."""
    try:
        return error if type(pickle.loads(pickle.dumps(error))) is type(error) else PipelineError(str(error))  # noqa: S301 - our own bytes
    except Exception:
        return PipelineError(f"a worker process failed with {type(error).__name__}: this is a fault of the pipeline")


def _nothing(_data: bytes) -> None:
    """What is done without work."""


def main() -> None:
    """Serve the socket whose number is the one argument."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    serve(Connection(int(sys.argv[1])))


if __name__ == "__main__":
    main()

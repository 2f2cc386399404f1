"""The most memory that a process and its children held at once, PostgreSQL's own not counted.

Belongs here: sampling. Does not belong here: what is measured meanwhile.
"""

from __future__ import annotations

import os
import threading
from types import TracebackType
from typing import Self

import psutil

EVERY_SECONDS = 0.5


class Peak:
    """Samples while its block runs; `mib` is the most that was seen, `largest` the most of one process."""

    def __init__(self, pid: int | None = None) -> None:
        self.mib = self.largest = 0.0
        self._top = psutil.Process(pid or os.getpid())
        self._ended = threading.Event()
        self._sampler = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> Self:
        self._sampler.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._sampler.join()

    def _sample(self) -> None:
        while not self._ended.wait(EVERY_SECONDS):
            held = [size for one in [self._top, *self._children()] if (size := _held(one))]
            self.mib = max(self.mib, sum(held))
            self.largest = max(self.largest, *held)

    def _children(self) -> list[psutil.Process]:
        try:
            return self._top.children(recursive=True)
        except psutil.Error:
            return []


def _held(process: psutil.Process) -> float:
    try:
        return 0.0 if process.name() == "postgres" else process.memory_info().rss / 2**20
    except psutil.Error:
        return 0.0

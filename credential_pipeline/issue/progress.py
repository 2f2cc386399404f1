"""How far a long piece of work is, told now and then: done, rate and what is left.

Belongs here: the line. Does not belong here: where it is shown; the command line and Dagster show this logger.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import timedelta

log = logging.getLogger(__name__)

EVERY_SECONDS = 2.0


class Progress:
    """Counts what is done of `total`, and tells it every few seconds and at the end; `what` has a place `{}` for it."""

    def __init__(self, what: str, total: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._what = what
        self._total = total
        self._clock = clock
        self._started = self._told = clock()
        self._done = 0
        self._untold = False

    def add(self, number: int) -> None:
        """So many more are done."""
        if not number:
            return
        self._done += number
        self._untold = True
        now = self._clock()
        if now - self._told >= EVERY_SECONDS:
            self._tell(now)

    def end(self) -> None:
        """Nothing more comes; tells how much it was, if that was not told."""
        if self._untold:
            self._tell(self._clock())

    def _tell(self, now: float) -> None:
        self._told, self._untold = now, False
        log.info("%s", self.line(now))

    def line(self, now: float) -> str:
        """`issued 8,000 of 20,000 credentials, 4,000 a second, 0:00:03 to go`."""
        rate = self._done / max(now - self._started, 1e-6)
        line = f"{self._what.format(f'{self._done:,} of {self._total:,}')}, {rate:,.0f} a second"
        left = self._total - self._done
        return f"{line}, {timedelta(seconds=round(left / rate))} to go" if left > 0 else line

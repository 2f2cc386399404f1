"""Calls to a service with a quota: at its pace, again after a refusal that passes, without losing one.

Belongs here: when to call, when to call again, when to give up. Does not belong here: which answers mean what.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from credential_pipeline.errors import Transient

T = TypeVar("T")

FIRST_WAIT = 0.05
LONGEST_WAIT = 5.0
OUTAGE_ATTEMPTS = 7
"""With waits of 0.05 to 3.2 s: about 3 s on average, 6 s at most, before an outage is told."""
THROTTLED_FOR = 120.0
"""Seconds after which a call that is throttled each time is given up: others use the whole quota."""

SLOWER = 0.8
"""What the rate is multiplied by when throttled, at most once in SETTLING seconds: a burst of refusals is one."""
SETTLING = 0.5
FASTER = 0.02
"""Share of the limit that the rate regains a second of good answers."""


class Again(Transient):
    """An outage: the same call may succeed in a moment."""


class TooFast(Again):
    """Throttled: nothing is wrong but the rate."""


class Pace:
    """Hands out turns so that no more than a rate of calls a second begin; all threads share one.

    The rate falls when the service throttles, because others may share the quota, and comes back in a minute.
    """

    def __init__(
        self,
        limit: float,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        random: random.Random | None = None,
    ) -> None:
        """`limit`: calls a second. `random` decides how long to wait, so that callers do not return all at once."""
        self.limit = limit
        self.rate = limit
        self._sleep = sleep
        self._clock = clock
        self._random = random or _jitter()
        self._lock = threading.Lock()
        self._next = 0.0
        self._slowed = -SETTLING
        self._good = 0.0

    def call(self, once: Callable[[], T]) -> T:
        """What `once` returns; called again, at its turn, while it raises Again.

        Raises:
            Transient: the outage did not pass, or all was throttled for two minutes.
        """
        began = self._clock()
        outages = throttled = 0
        while True:
            self._turn()
            try:
                answer = once()
            except TooFast as reason:
                throttled += 1
                self._slower()
                if self._clock() - began > THROTTLED_FOR:
                    raise Transient(
                        f"{reason}, for {THROTTLED_FOR:.0f} s; run again, ask for a higher quota, or lower "
                        "`requests_per_second`"
                    ) from reason
            except Again as reason:
                outages += 1
                if outages >= OUTAGE_ATTEMPTS:
                    raise Transient(f"{reason}; tried {outages} times. Run again later") from reason
            else:
                self._faster()
                return answer
            self._back_off(outages + throttled)

    def _turn(self) -> None:
        with self._lock:
            now = self._clock()
            at = max(self._next, now)
            self._next = at + 1 / self.rate
        if at > now:
            self._sleep(at - now)

    def _back_off(self, attempt: int) -> None:
        # "Full jitter": anything between nothing and the whole wait, so that threads spread out.
        longest = min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(attempt - 1, 10))
        with self._lock:
            wait = self._random.uniform(0, longest)
        self._sleep(wait)

    def _slower(self) -> None:
        with self._lock:
            now = self._clock()
            if now - self._slowed >= SETTLING:
                self._slowed = now
                self._good = now
                self.rate = max(1.0, self.rate * SLOWER)

    def _faster(self) -> None:
        with self._lock:
            now = self._clock()
            if self.rate < self.limit and now - self._good >= 1:
                self._good = now
                self.rate = min(self.limit, self.rate + self.limit * FASTER)


def _jitter() -> random.Random:
    return random.Random()  # noqa: S311 - spreads calls in time; nothing secret

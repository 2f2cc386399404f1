"""Calls at the pace of a quota, on a clock of the test's own."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from credential_pipeline.errors import Terminal, Transient
from credential_pipeline.store.pace import OUTAGE_ATTEMPTS, Again, Pace, TooFast


class Time:
    """A clock that moves when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def clock(self) -> float:
        return self.now


def pace(limit: float, time: Time, seed: int = 1) -> Pace:
    return Pace(limit, sleep=time.sleep, clock=time.clock, random=random.Random(seed))


def failing(times: int, error: Callable[[], Exception]) -> Callable[[], str]:
    left = [times]

    def call() -> str:
        if left[0]:
            left[0] -= 1
            raise error()
        return "answer"

    return call


def test_calls_begin_no_faster_than_the_limit() -> None:
    time = Time()
    paced = pace(50, time)
    for _ in range(101):
        paced.call(lambda: None)
    assert time.now == pytest.approx(100 / 50)


def test_an_idle_time_is_not_saved_up_for_a_burst() -> None:
    time = Time()
    paced = pace(50, time)
    paced.call(lambda: None)
    time.now += 60
    for _ in range(51):
        paced.call(lambda: None)
    assert time.now == pytest.approx(60 + 1)


def test_throttling_slows_down_and_the_rate_comes_back() -> None:
    time = Time()
    paced = pace(100, time)
    assert paced.call(failing(20, lambda: TooFast("throttled"))) == "answer"
    slow = paced.rate
    assert 1 <= slow < 50
    for _ in range(20_000):
        paced.call(lambda: None)
    assert paced.rate == 100


def test_throttling_at_the_same_moment_counts_once() -> None:
    time = Time()
    paced = pace(100, time)
    for _ in range(16):
        paced._slower()
    assert paced.rate == 80


def test_waits_grow_and_are_never_the_same_for_two() -> None:
    waits = []
    for seed in (1, 2):
        time = Time()
        pace(1e9, time, seed).call(failing(6, lambda: Again("out of reach")))
        waits.append([one for one in time.slept if one > 1e-6])
    assert len(waits[0]) == 6
    assert waits[0] != waits[1]
    assert all(wait <= 0.05 * 2**n for series in waits for n, wait in enumerate(series))


def test_an_outage_that_does_not_pass_is_told_as_one() -> None:
    time = Time()
    with pytest.raises(Transient, match=f"out of reach; tried {OUTAGE_ATTEMPTS} times. Run again later") as told:
        pace(100, time).call(failing(OUTAGE_ATTEMPTS, lambda: Again("out of reach")))
    assert type(told.value) is Transient
    assert time.now < 10


def test_who_is_throttled_all_the_time_is_told_after_two_minutes() -> None:
    time = Time()
    with pytest.raises(Transient, match=r"throttled, for 120 s.*ask for a higher quota"):
        pace(100, time).call(failing(100_000, lambda: TooFast("throttled")))
    assert 120 < time.now < 130


def test_what_trying_again_does_not_change_is_told_at_once() -> None:
    time = Time()
    with pytest.raises(Terminal, match="denied"):
        pace(100, time).call(failing(1, lambda: Terminal("denied")))
    assert time.slept == []

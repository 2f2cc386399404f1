"""Chance, the same on every Python. What is drawn with it belongs elsewhere."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from typing import TypeVar

T = TypeVar("T")


class Draws:
    """Choices made from Random.random() alone, the one method whose sequence Python promises to keep."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed).random

    def below(self, n: int) -> int:
        """A whole number from 0 to n-1."""
        return int(self._random() * n)

    def chance(self, hundredths: int) -> bool:
        """True this many times in a hundred."""
        return self._random() * 100 < hundredths

    def pick(self, options: Sequence[T]) -> T:
        """One of the options."""
        return options[int(self._random() * len(options))]

    def some(self, n: int, total: int) -> list[int]:
        """n different numbers below total, in the order drawn."""
        drawn: dict[int, None] = {}
        while len(drawn) < n:
            drawn[self.below(total)] = None
        return list(drawn)

    def weighted(self, weights: Iterable[int]) -> int:
        """The place of one of the weights, which sum to 100."""
        left = self.below(100)
        for place, weight in enumerate(weights):
            left -= weight
            if left < 0:
                return place
        raise ValueError("weights must sum to 100: correct recipe.json")

    def day(self, first: str, last: str, part: int = 0, parts: int = 1) -> str:
        """An ISO date between two, ends included, or in one of the equal parts of the time between."""
        start = date.fromisoformat(first)
        length = ((date.fromisoformat(last) - start).days + 1) // parts
        return (start + timedelta(days=part * length + self.below(length))).isoformat()

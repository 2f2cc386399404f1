"""Where the lines of a plan stand in status lists, once its positions are reserved; no database is asked.

Belongs here: the arithmetic of a block. Does not belong here: reserving it (status_blocks.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from credential_pipeline.credential.identifiers import STATUS_LIST_LENGTH, status_place


@dataclass(frozen=True)
class StatusBlock:
    """The block a plan holds for one purpose, and the lists it lies in: ordinal -> (list number, secret version)."""

    purpose: str
    first_position: int
    lists: Mapping[int, tuple[int, int]]

    def place(self, status_ordinal: int, secret: Callable[[int], bytes]) -> tuple[int, int]:
        """(list number, index) of the plan's n-th line of this purpose; `secret` gives a version's 32 bytes."""
        position = self.first_position + status_ordinal
        number, version = self.lists[position // STATUS_LIST_LENGTH]
        _, index = status_place(secret(version), self.purpose, position)
        return number, index

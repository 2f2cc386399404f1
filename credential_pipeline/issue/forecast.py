"""What applying a plan will take: time, objects, storage and mail, from what was measured.

Belongs here: the arithmetic and its constants. Does not belong here: measuring (bench.py of the tests). A forecast
says how big a plan is, not when it ends: a machine twice as fast halves the seconds and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

# Measured on the sample university (4,881 credentials, 2 cores of 2.5 GHz, PostgreSQL on the same machine).
SECONDS_A_CREDENTIAL = 0.0015
"""Building, both proofs, checking (half of it) and recording."""

SECONDS_A_MOVE = 0.0003
"""A new state with its event and message: 0.1 to 0.3 ms in chunks of 4,000."""

SECONDS_AN_OBJECT = 0.0003
"""Signing a state object and writing it, or writing a credential, into a folder; a bucket adds its own latency."""

BYTES_A_CREDENTIAL = 3_600
BYTES_A_STATE = 700
BYTES_IN_THE_LEDGER = 6_200
"""Credential, state, two events, plan line, message, manifest and their indexes, by pg_total_relation_size."""

MAKING = ("create", "replace", "renew")
MOVING = ("revoke", "suspend", "reinstate")


@dataclass(frozen=True)
class Forecast:
    """What is to be expected of a plan.

    Attributes:
        credentials: documents it makes.
        seconds: applying it on one core, and publishing after it into a folder.
        objects: objects written to the target: a credential and its state, or a state alone.
        object_bytes: their size before any compression.
        ledger_bytes: growth of the database.
        messages: rows of the outbox: a message to a person each.
    """

    credentials: int
    seconds: float
    objects: int
    object_bytes: int
    ledger_bytes: int
    messages: int

    def as_dict(self) -> dict[str, int | float]:
        """For JSON."""
        return asdict(self)


def forecast(counts: Mapping[str, int]) -> Forecast:
    """The forecast for a plan with so many lines of each action."""
    making = sum(counts.get(action, 0) for action in MAKING)
    moving = sum(counts.get(action, 0) for action in MOVING)
    # The state object of the version before is written again, to say what took its place.
    superseding = sum(counts.get(action, 0) for action in ("replace", "renew"))
    states = making + moving + superseding
    objects = making + states
    return Forecast(
        credentials=making,
        seconds=round(
            making * SECONDS_A_CREDENTIAL + (moving + superseding) * SECONDS_A_MOVE + objects * SECONDS_AN_OBJECT, 1
        ),
        objects=objects,
        object_bytes=making * BYTES_A_CREDENTIAL + states * BYTES_A_STATE,
        ledger_bytes=making * BYTES_IN_THE_LEDGER,
        messages=making + moving,
    )

"""How a plan line is written: what the plan's hash sees of it, and its row as COPY BINARY takes it.

Belongs here: both encodings, made in one pass; a million lines go through here in one plan. Does not belong here: what
a line says (lines.py and the rest) and where its row goes (plans.py).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any
from uuid import UUID

import orjson

from credential_pipeline.issue.lines import Line
from credential_pipeline.store import binary_copy as encode

COLUMNS = (
    "ordinal", "action", "achievement", "award_id", "credential_id", "prior_id", "cause", "person_id", "row_id",
    "status_ordinal", "facts", "reasons", "inputs", "state", "run_id",
)  # fmt: skip

STATES = {"hold": "held", "skip": "skipped"}

_START = encode.row(len(COLUMNS))
_CANONICAL = orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE


def canonical(value: object) -> bytes:
    """A value as a plan's hash sees it: JSON in UTF-8 without blanks, members sorted, and a line feed."""
    return orjson.dumps(value, option=_CANONICAL)


def essence(line: Line) -> dict[str, Any]:
    """What of a line is in the plan's hash.

    Database row numbers differ between two homes with the same rows: hashes stand for them.
    """
    return {
        "action": line.action,
        "reasons": line.reasons,
        "inputs": line.inputs,
        "achievement": line.achievement,
        "award": line.award_id,
        "credential": line.credential_id,
        "prior": line.prior_id,
        "cause": line.cause,
        "facts": line.facts,
    }


def encoded(ordinal: int, line: Line, status_ordinal: int | None, run_id: str) -> bytes:
    """A row of COLUMNS."""
    return b"".join(
        (
            _START,
            encode.integer(ordinal),
            _text(line.action),
            _text(line.achievement),
            _uuid(line.award_id),
            _uuid(line.credential_id),
            _uuid(line.prior_id),
            _text(line.cause),
            _uuid(line.person_id),
            encode.NULL if line.row_id is None else encode.big_integer(line.row_id),
            encode.NULL if status_ordinal is None else encode.integer(status_ordinal),
            encode.NULL if line.facts is None else encode.json(orjson.dumps(line.facts)),
            _reasons(tuple(line.reasons)),
            encode.json(orjson.dumps(line.inputs)),
            _text(STATES.get(line.action, "planned")),
            _text(run_id),
        )
    )


def _uuid(value: UUID | None) -> bytes:
    return encode.NULL if value is None else encode.UUID_LENGTH + value.bytes


# Actions, achievements, causes, reasons: a plan has few different ones.
@lru_cache(maxsize=1024)
def _text(value: str | None) -> bytes:
    return encode.NULL if value is None else encode.text(value)


@lru_cache(maxsize=1024)
def _reasons(reasons: tuple[str, ...]) -> bytes:
    return encode.json(orjson.dumps(reasons))

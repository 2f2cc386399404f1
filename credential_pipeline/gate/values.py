"""Values of typed fields: text as offered -> a number or a date, and the one way we write each.

Belongs here: what a number and a date may look like. Does not belong here: bounds and codes (expectations.py).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from typing import TypeVar

from credential_pipeline.gate.rows import Cells
from credential_pipeline.institution.checks import Date, Number
from credential_pipeline.institution.sources import decimal_text

T = TypeVar("T")

NUMBER = r"[+-]?(?:[0-9]{1,30}(?:\.[0-9]{0,30})?|\.[0-9]{1,30})"
"""A plain decimal number. No exponent: `1e999999999` would be a billion digits once it is written out."""

_NUMBER = re.compile(NUMBER)


def number_of(cell: str) -> Decimal | None:
    """The number a cell writes, None if it is not one."""
    return Decimal(cell) if _NUMBER.fullmatch(cell) else None


def date_of(cell: str, pattern: str) -> date | None:
    """The calendar date a cell writes in a strptime format, None if it is not one."""
    try:
        return datetime.strptime(cell, pattern).date()  # noqa: DTZ007 - a calendar date has no zone
    except ValueError:
        return None


def number_text(value: Decimal) -> str:
    """A number as fields hold it: no exponent, no zeros at the end, no minus before zero."""
    return decimal_text(value) if value else "0"


def canonical(cells: Cells, check: Number | Date | None) -> Cells:
    """Cells of a typed field rewritten in our one way; a cell that is not of the type stays as it is."""
    if check is None:
        return cells

    def rewritten(cell: str) -> str:
        if isinstance(check, Number):
            number = number_of(cell)
            return cell if number is None else number_text(number)
        found = date_of(cell, check.format)
        return cell if found is None else found.isoformat()

    return each(cells, rewritten, empty=None)


def comparable(cells: Cells, check: Number | Date) -> list[float]:
    """Floats that compare with the check's bounds as the exact values do; NaN where there is no value of the type.

    Dates are day numbers (proleptic Gregorian ordinals). Both because Great Expectations compares a column
    of floats 20 times as fast as one of objects.
    """

    def as_float(cell: str) -> float:
        if isinstance(check, Number):
            number = number_of(cell)
            return math.nan if number is None else _on_its_side(number, check)
        found = date_of(cell, check.format)
        return math.nan if found is None else float(found.toordinal())

    return each(cells, as_float, empty=math.nan)


def _on_its_side(number: Decimal, check: Number) -> float:
    # 100.00000000000000001 is nearest to the float 100, which a maximum of 100 would let through.
    nearest = float(number)
    if check.max is not None and number > check.max:
        return max(nearest, math.nextafter(float(check.max), math.inf))
    if check.min is not None and number < check.min:
        return min(nearest, math.nextafter(float(check.min), -math.inf))
    return nearest


def each(cells: Cells, function: Callable[[str], T], *, empty: T) -> list[T]:
    """The function of every cell, computed once for every value there is."""
    known: dict[str | None, T] = {value: function(value) for value in set(cells) if value is not None}
    known[None] = empty
    return [known[cell] for cell in cells]

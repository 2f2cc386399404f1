"""Derived fields: rows completed from accepted rows of other datasets, each with the rows it was completed from.

Belongs here: the three rules of institution.yaml's `derive`. Does not belong here: checks of what comes out; a
row whose completion fails has an empty field, and `required` says so.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction

from sqlalchemy import Connection

from credential_pipeline.gate.rows import Cells, read_accepted
from credential_pipeline.gate.values import number_of
from credential_pipeline.institution.sources import CodeDate, Dataset, Lookup, WeightedMean, decimal_text

Key = tuple[str, ...]
Derived = tuple[str | None, tuple[int, ...]]
"""A derived value, and the landed rows that gave it."""
Table = dict[Key, Derived]

NOTHING: Derived = (None, ())


class Derivations:
    """All derivations of a dataset, with the other datasets' rows read once."""

    def __init__(self, connection: Connection, dataset: Dataset) -> None:
        self._steps: list[tuple[str, Callable[[dict[str, Cells]], Iterable[Derived]]]] = []
        for rule in dataset.derive:
            if isinstance(rule, CodeDate):
                self._steps.append((rule.field, _by_code(rule)))
            else:
                self._steps.append((rule.field, _by_match(rule, _table(connection, rule))))

    def complete(self, cells: dict[str, Cells], rows: int) -> tuple[dict[str, Cells], list[tuple[int, ...]]]:
        """The cells with derived fields added, and for each row the landed rows that contributed, in order."""
        completed = dict(cells)
        sources: list[tuple[int, ...]] = [()] * rows
        for field, step in self._steps:
            derived = list(step(completed))
            completed[field] = [value for value, _ in derived]
            sources = [
                had if not gave or gave == had else tuple(sorted({*had, *gave}))
                for had, (_, gave) in zip(sources, derived, strict=True)
            ]
        return completed, sources


def _by_match(rule: Lookup | WeightedMean, table: Table) -> Callable[[dict[str, Cells]], Iterable[Derived]]:
    def step(cells: dict[str, Cells]) -> Iterable[Derived]:
        # A row with an empty key finds nothing: no key of the table holds None.
        return (table.get(key, NOTHING) for key in zip(*(cells[f] for f in rule.match), strict=True))

    return step


def _table(connection: Connection, rule: Lookup | WeightedMean) -> Table:
    return _lookups(connection, rule) if isinstance(rule, Lookup) else _means(connection, rule)


def _lookups(connection: Connection, rule: Lookup) -> Table:
    row_ids, (taken, *keys) = read_accepted(connection, rule.dataset, [rule.take, *rule.match.values()])
    table: Table = {}
    ambiguous = set()
    for row_id, value, key in zip(row_ids, taken, zip(*keys, strict=True), strict=True):
        if value is None or None in key:
            continue
        if table.setdefault(key, (value, (row_id,)))[0] != value:
            ambiguous.add(key)
    for key in ambiguous:  # two rows that answer differently answer nothing
        del table[key]
    return table


def _means(connection: Connection, rule: WeightedMean) -> Table:
    row_ids, (values, weights, *keys) = read_accepted(
        connection, rule.dataset, [rule.value, rule.weight, *rule.match.values()]
    )
    # Whole numbers of the smallest decimal place add up exactly and 10 times as fast as fractions.
    whole_values, value_unit = _whole(values)
    whole_weights, _ = _whole(weights)
    groups: dict[Key, list[tuple[int, int, int]]] = defaultdict(list)
    for row_id, value, weight, key in zip(row_ids, whole_values, whole_weights, zip(*keys, strict=True), strict=True):
        if value is not None and None not in key:
            groups[key].append((value, weight or 0, row_id))
    return {
        key: (_mean([(v, w) for v, w, _ in marks], value_unit, rule.decimals), tuple(row for _, _, row in marks))
        for key, marks in groups.items()
    }


def _whole(cells: Cells) -> tuple[list[int | None], int]:
    numbers = {cell: number_of(cell) for cell in set(cells) if cell is not None}
    places = max((_places(number) for number in numbers.values() if number is not None), default=0)
    unit = 10**places
    whole: dict[str | None, int | None] = {
        cell: None if number is None else int(Fraction(number) * unit) for cell, number in numbers.items()
    }
    return [whole.get(cell) for cell in cells], unit


def _places(number: Decimal) -> int:
    return len(decimal_text(number).partition(".")[2])


def _mean(marks: list[tuple[int, int]], unit: int, decimals: int) -> str:
    """Mean by weight, plain where the weights sum to 0; half to even, written with all its decimals (`80.0`)."""
    total = sum(weight for _, weight in marks)
    if total == 0:
        mean = Fraction(sum(value for value, _ in marks), len(marks) * unit)
    else:
        mean = Fraction(sum(value * weight for value, weight in marks), total * unit)
    scaled: int = round(mean * Fraction(10**decimals))  # Python rounds a fraction half to even, exactly
    sign, digits = "-" * (scaled < 0), str(abs(scaled)).zfill(decimals + 1)
    return sign + (f"{digits[:-decimals]}.{digits[-decimals:]}" if decimals else digits)


def _by_code(rule: CodeDate) -> Callable[[dict[str, Cells]], Iterable[Derived]]:
    pattern = re.compile(rule.pattern)

    def date_of(code: str | None, plus: str | None) -> str | None:
        written = pattern.fullmatch(code) if code else None
        if not written or written["term"] not in rule.terms:
            return None
        days = number_of(plus) if plus else None
        if rule.plus_days and (days is None or days != days.to_integral_value()):
            return None
        try:
            start = date.fromisoformat(f"{int(written['year']):04d}-{rule.terms[written['term']]}")
            return (start + timedelta(days=int(days or 0))).isoformat()
        except (ValueError, OverflowError):  # 29 February of a common year; past the year 9999
            return None

    def step(cells: dict[str, Cells]) -> Iterable[Derived]:
        codes = cells[rule.code]
        plus = cells[rule.plus_days] if rule.plus_days else [None] * len(codes)
        pairs = list(zip(codes, plus, strict=True))
        known = {pair: date_of(*pair) for pair in set(pairs)}
        return ((known[pair], ()) for pair in pairs)

    return step

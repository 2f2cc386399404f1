"""Derived fields: look-ups, coded dates and exact means, with the rows they came from."""

from __future__ import annotations

from collections.abc import Callable
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from credential_pipeline.gate.derive import _mean
from credential_pipeline_tests.gate.clinic import Clinic, dataset

Open = Callable[..., Clinic]

PARTS = dataset("parts", ["part", "module", "weight"], {"check": "number", "field": "weight"})
MARKS = dataset(
    "marks",
    ["who", "part", "score"],
    {"check": "number", "field": "score", "min": 0, "max": 100},
    empty=["?"],
    derive=[
        {"rule": "lookup", "field": "module", "dataset": "lms.parts", "match": {"part": "part"}, "take": "module"},
        {"rule": "lookup", "field": "weight", "dataset": "lms.parts", "match": {"part": "part"}, "take": "weight"},
    ],
)


def enrolments(**changes: Any) -> dict[str, Any]:
    mean = {
        "rule": "weighted_mean", "field": "mark", "dataset": "lms.marks",
        "match": {"person": "who", "module": "module"}, "value": "score", "weight": "weight", **changes,
    }  # fmt: skip
    return dataset("enrolments", ["person", "module"], role="evidence", derive=[mean])


def test_lookup_takes_the_one_answer_and_remembers_the_row(clinic: Open) -> None:
    ward = clinic(PARTS, MARKS)
    ward.judge(
        "lms.parts",
        [
            {"part": "1", "module": "A", "weight": "10.0"},
            {"part": "2", "module": "A", "weight": "1"},
            {"part": "2", "module": "B", "weight": "1"},
        ],
    )
    ward.judge("lms.marks", [{"who": "p", "part": part, "score": "5"} for part in ["1", "2", "3", ""]])
    assert ward.accepted("lms.marks") == [
        {"who": "p", "part": "1", "score": "5", "module": "A", "weight": "10"},
        {"who": "p", "part": "2", "score": "5", "weight": "1"},
        {"who": "p", "part": "3", "score": "5"},
        {"who": "p", "score": "5"},
    ]
    rows = "select array_agg(a.lookup_rows = array[p.row_id]) from accepted.row a, accepted.row p"
    where = " where a.dataset = 'lms.marks' and a.fields ->> 'part' = '1' and p.dataset = 'lms.parts'"
    assert ward.value(f"{rows}{where} and p.fields ->> 'part' = '1'") == [True]
    assert ward.value("select lookup_rows from accepted.row where fields ->> 'part' = '3'") == []


@pytest.mark.parametrize(
    ("marks", "mark"),
    [
        ([("1", "60"), ("2", "90")], "70.0"),  # weights 20 and 10
        ([("1", "60"), ("2", "?")], "60.0"),  # missing is not zero
        ([("3", "60"), ("4", "61")], "60.5"),  # the weights sum to 0: plain mean
        ([("1", "60"), ("3", "100")], "60.0"),  # a weight of 0 among others
        ([("1", "80.05"), ("9", "80.05")], "80.0"),  # half to even; the unknown part has no module
        ([("1", "80.15")], "80.2"),
        ([("1", "?")], None),
        ([], None),
    ],
)
def test_weighted_mean(clinic: Open, marks: list[tuple[str, str]], mark: str | None) -> None:
    ward = clinic(PARTS, MARKS, enrolments())
    weights = {"1": "20", "2": "10", "3": "0", "4": "0"}
    ward.judge("lms.parts", [{"part": part, "module": "M", "weight": w} for part, w in weights.items()])
    other = {"who": "somebody else", "part": "1", "score": "1"}
    ward.judge("lms.marks", [other, *({"who": "p", "part": part, "score": score} for part, score in marks)])
    ward.judge("lms.enrolments", [{"person": "p", "module": "M"}])
    (fields,) = ward.accepted("lms.enrolments")
    assert fields.get("mark") == mark
    contributed = sum(score != "?" and part in weights for part, score in marks)
    assert (
        ward.value("select cardinality(lookup_rows) from accepted.row where dataset = 'lms.enrolments'") == contributed
    )


@given(
    st.lists(st.tuples(st.decimals(0, 100, places=3), st.decimals(0, 50, places=2)), min_size=1, max_size=8),
    st.integers(0, 6),
)
def test_mean_is_exact_and_half_to_even(marks: list[tuple[Decimal, Decimal]], decimals: int) -> None:
    whole = [(int(value * 1000), int(weight * 100)) for value, weight in marks]
    total = sum(weight for _, weight in marks)
    exact = (
        sum(Fraction(v) * Fraction(w) for v, w in marks) / Fraction(total)
        if total
        else sum(Fraction(v) for v, _ in marks) / len(marks)
    )
    found = Decimal(_mean(whole, 1000, decimals))
    assert -found.as_tuple().exponent == decimals
    assert abs(Fraction(found) - exact) <= Fraction(1, 2 * 10**decimals)
    if abs(Fraction(found) - exact) == Fraction(1, 2 * 10**decimals):
        assert found.as_tuple().digits[-1] % 2 == 0
    if exact.denominator in {1, 2, 4, 5, 8, 10}:
        quantum = Decimal(1).scaleb(-decimals)
        decimal = Decimal(exact.numerator) / Decimal(exact.denominator)
        assert found == decimal.quantize(quantum, rounding=ROUND_HALF_EVEN)


def test_code_date(clinic: Open) -> None:
    rule = {
        "rule": "code_date", "field": "ended", "code": "run", "pattern": r"(?P<year>\d{4})(?P<term>[A-Z])",
        "terms": {"B": "02-01", "J": "10-01", "L": "02-29"}, "plus_days": "length",
    }  # fmt: skip
    ward = clinic(dataset("runs", ["run", "length"], derive=[rule]))
    offered = [("2013J", "268"), ("2013B", "0"), ("2012L", "1"), ("2013L", "1"), ("2013X", "1"), ("2013Jx", "1"),
               ("2013J", ""), ("2013J", "1.5"), ("2013J", "99999999"), ("", "1")]  # fmt: skip
    ward.judge("lms.runs", [{"run": run, "length": length} for run, length in offered])
    ended = [fields.get("ended") for fields in ward.accepted("lms.runs")]
    assert ended == ["2014-06-26", "2013-02-01", "2012-03-01", *[None] * 7]


def test_a_failed_completion_is_a_reason_when_the_field_is_required(clinic: Open) -> None:
    marks = {
        **MARKS,
        "gate": {
            "checks": [{"check": "required", "field": "module", "code": "unknown_reference"}],
            "reject_limit": 1.0,
        },
    }
    ward = clinic(PARTS, marks)
    ward.judge("lms.parts", [{"part": "1", "module": "A", "weight": "1"}])
    ward.judge("lms.marks", [{"who": "p", "part": "1"}, {"who": "p", "part": "2"}])
    assert ward.reasons("lms.marks") == [(2, "unknown_reference", "module", None, "fill in module")]

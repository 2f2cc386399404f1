"""Each check: what it lets through, what it does not, and what the clerk is told."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

import pandas as pd
import pytest

from credential_pipeline.errors import Terminal
from credential_pipeline.gate.expectations import Demand, Suite
from credential_pipeline_tests.gate.clinic import Clinic, dataset

Open = Callable[..., Clinic]


def judged(clinic: Open, check: dict[str, Any], values: list[str], **more: Any) -> list[tuple[int, str, str, Any, str]]:
    """Reasons of rows with these values in `x`, each beside a value that makes the row its own."""
    ward = clinic(dataset("things", ["id", "x"], check, **more))
    result = ward.judge("lms.things", [{"id": str(n), "x": value} for n, value in enumerate(values)])
    assert result.landed == len(values) == result.accepted + result.quarantined
    return ward.reasons("lms.things")


def test_required(clinic: Open) -> None:
    assert judged(clinic, {"check": "required", "field": "x"}, ["a", "", "  ", "?"], empty=["?"]) == [
        (2, "required_missing", "x", None, "fill in x"),
        (3, "required_missing", "x", None, "fill in x"),
        (4, "required_missing", "x", None, "fill in x"),
    ]


def test_length(clinic: Open) -> None:
    reasons = judged(clinic, {"check": "length", "field": "x", "max": 5}, ["abcde", "", "é" * 5, "abcdef", "n" * 300])
    assert [(row, code) for row, code, *_ in reasons] == [(4, "too_long"), (5, "too_long")]
    assert reasons[0][3:] == ("abcdef", "shorten x to at most 5 characters")
    assert reasons[1][3] == "n" * 199 + "…"


def test_pattern_is_a_full_match_by_pythons_rules(clinic: Open) -> None:
    check = {"check": "pattern", "field": "x", "pattern": r"(?i)(L)\d{2}|(?!z)\w"}
    reasons = judged(clinic, check, ["L12", "l12", "", "L123", "xL12", "é", "z", "L1٣"])
    assert [row for row, *_ in reasons] == [4, 5, 7]
    assert reasons[0][1:] == ("malformed", "x", "L123", r"write x in the form (?i)(L)\d{2}|(?!z)\w")


def test_email(clinic: Open) -> None:
    good = ["a@b.example", "a.b+c@sub.b-c.example", "用户@例子.广告", "o'neil@x.co", ""]
    bad = ["a", "a@b", "@b.example", "a@@b.example", "a b@c.example", "a@b..example", "a.@b.example", "a@-b.example",
           "a@b.example, c@d.example", "x" * 65 + "@b.example"]  # fmt: skip
    reasons = judged(clinic, {"check": "email", "field": "x"}, good + bad)
    assert [row for row, *_ in reasons] == list(range(len(good) + 1, len(good + bad) + 1))
    assert {reason[1] for reason in reasons} == {"malformed_email"}


def test_number(clinic: Open) -> None:
    ward = clinic(dataset("things", ["id", "x"], {"check": "number", "field": "x", "min": 0, "max": 100}))
    values = ["0", "100", "007.50", "+5", ".5", "-0", "", "140", "-3", "100.00000000000000001", "-0.1",
              "A+", "12,5", "1e3", "NaN", "inf", "٣", "1_0", "0x1"]  # fmt: skip
    ward.judge("lms.things", [{"id": str(n), "x": value} for n, value in enumerate(values)])
    assert [fields.get("x") for fields in ward.accepted("lms.things")] == ["0", "100", "7.5", "5", "0.5", "0", None]
    reasons = ward.reasons("lms.things")
    assert {row: code for row, code, *_ in reasons} == {
        **dict.fromkeys(range(8, 12), "number_out_of_range"),
        **dict.fromkeys(range(12, 20), "not_a_number"),
    }
    assert reasons[0][3:] == ("140", "x must be between 0 and 100")


def test_number_with_one_bound(clinic: Open) -> None:
    reasons = judged(clinic, {"check": "number", "field": "x", "min": 0.1}, ["0.1", "0.09", "1" + "0" * 29])
    assert reasons == [(2, "number_out_of_range", "x", "0.09", "x must not be below 0.1")]


def test_date(clinic: Open) -> None:
    ward = clinic(dataset("things", ["id", "x"], {"check": "date", "field": "x", "format": "%d/%m/%Y"}))
    values = ["29/02/2024", "01/01/1900", "01/06/2024", "", "30/02/2024", "2024-02-01", "31/12/2023x",
              "31/12/1899", "02/06/2024"]  # fmt: skip
    ward.judge("lms.things", [{"id": str(n), "x": value} for n, value in enumerate(values)])
    assert [f.get("x") for f in ward.accepted("lms.things")] == ["2024-02-29", "1900-01-01", "2024-06-01", None]
    reasons = ward.reasons("lms.things")
    assert [(row, code) for row, code, *_ in reasons] == [
        (5, "malformed_date"), (6, "malformed_date"), (7, "malformed_date"),
        (8, "date_out_of_range"), (9, "date_out_of_range"),
    ]  # fmt: skip
    assert reasons[0][4] == "write x as an existing date in the form %d/%m/%Y"
    assert reasons[4][4] == "x must lie between 1900-01-01 and 2024-06-01"


def test_date_that_may_lie_in_the_future(clinic: Open) -> None:
    check = {"check": "date", "field": "x", "min": "2030-01-01", "future": True}
    reasons = judged(clinic, check, ["2031-01-01", "9999-12-31", "2029-12-31"])
    assert reasons == [(3, "date_out_of_range", "x", "2029-12-31", "x must not be before 2030-01-01")]


def test_date_whose_bounds_cross_lets_nothing_through(clinic: Open) -> None:
    reasons = judged(clinic, {"check": "date", "field": "x", "min": "2030-01-01"}, ["2024-01-01", "2031-01-01"])
    assert [(row, code) for row, code, *_ in reasons] == [(1, "date_out_of_range"), (2, "date_out_of_range")]


def test_one_of(clinic: Open) -> None:
    check = {"check": "one_of", "field": "x", "values": ["a", "b"]}
    assert judged(clinic, check, ["a", "", "A"]) == [(3, "not_in_set", "x", "A", "x must be one of: a, b")]


def test_code_and_remedy_of_the_institution(clinic: Open) -> None:
    check = {"check": "one_of", "field": "x", "values": ["a"], "code": "odd", "remedy": "ask {who} about {field}"}
    assert judged(clinic, check, ["z"]) == [(1, "odd", "x", "z", "ask {who} about x")]


def test_reference_to_accepted_rows_only(clinic: Open) -> None:
    ward = clinic(
        dataset("courses", ["course", "level"], {"check": "one_of", "field": "level", "values": ["1"]}),
        dataset("marks", ["id", "course"], {"check": "reference", "field": "course", "to": "lms.courses.course"}),
    )
    ward.judge("lms.courses", [{"course": "A", "level": "1"}, {"course": "B", "level": "9"}])
    ward.judge("lms.marks", [{"id": str(n), "course": c} for n, c in enumerate(["A", "B", "", " A ", "a"])])
    remedy = "correct course, or add it to lms.courses.course first; then offer the row again"
    assert ward.reasons("lms.marks") == [
        (2, "unknown_reference", "course", "B", remedy),
        (5, "unknown_reference", "course", "a", remedy),
    ]


def test_reference_falls_back_to_what_was_accepted_before(clinic: Open) -> None:
    ward = clinic(
        dataset("courses", ["course"], files="courses-{day}.csv"),
        dataset("marks", ["course"], {"check": "reference", "field": "course", "to": "lms.courses.course"}),
    )
    ward.offer("lms.courses", [{"course": "A"}], "courses-2024-05-31.csv")
    ward.run("lms.courses", date(2024, 5, 31))
    ward.run("lms.courses")
    assert ward.judge("lms.marks", [{"course": "A"}, {"course": "B"}]).by_code == {"unknown_reference": 1}


def test_person_key(clinic: Open) -> None:
    ward = clinic(dataset("users", ["person", "name"], role="people"))
    ward.judge("lms.users", [{"person": p, "name": f"n{p}"} for p in ["L1", " L2 ", "L 3", "", "L\u00a04"]])
    assert [(row, code, field) for row, code, field, *_ in ward.reasons("lms.users")] == [
        (3, "malformed", "person"), (4, "required_missing", "person"), (5, "malformed", "person"),
    ]  # fmt: skip
    assert ward.value("select array_agg(source_key order by row_id) from accepted.row") == ["lms:L1", "lms:L2"]


def test_what_libraries_disagree_on(clinic: Open) -> None:
    ward = clinic(dataset("things", ["id", "x"], {"check": "one_of", "field": "x", "values": ["a b", "a\u200db"]}))
    bad = ["a\u0007b", "a\nb", "a\tb", "a\u0085b", "a\ufffeb", "a\uffffb", "a\ufdd0b", "a\U0001fffeb", "a\x00b"]
    good = ["a b", "a\u200db", "\ta b\r\n"]
    ward.judge("lms.things", [{"id": str(n), "x": value} for n, value in enumerate(bad + good)])
    reasons = ward.reasons("lms.things")
    assert [row for row, *_ in reasons] == list(range(1, len(bad) + 1))
    assert {(code, field) for _, code, field, *_ in reasons} == {("control_characters", "x")}
    assert reasons[0][3] == "a\\u0007b"
    assert reasons[4][3] == "a\\ufffeb"
    assert reasons[8][3] == "a\u2400b"


def test_several_reasons_count_once(clinic: Open) -> None:
    ward = clinic(
        dataset(
            "things", ["x", "y"],
            {"check": "number", "field": "x"}, {"check": "required", "field": "y"},
            {"check": "required", "field": "y"}, {"check": "length", "field": "x", "max": 2},
        )
    )  # fmt: skip
    result = ward.judge("lms.things", [{"x": "abc"}, {"x": "1", "y": "1"}])
    assert (result.landed, result.accepted, result.quarantined) == (2, 1, 1)
    assert result.by_code == {"not_a_number": 1, "required_missing": 1, "too_long": 1}
    assert len(ward.reasons("lms.things")) == 3


def test_a_demand_that_cannot_be_evaluated_never_passes() -> None:
    demand = Demand("expect_column_values_to_be_between", {"column": "x", "max_value": 3.0}, "too_much", "x", "less")
    with pytest.raises(Terminal, match=r"could not evaluate .*between on x \(too_much\).*TypeError$"):
        Suite("things", [demand]).findings(pd.DataFrame({"x": pd.Series(["secret"], dtype=object)}))

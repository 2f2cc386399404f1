"""What rows are to each other, to the day before and to a corrected file; breaches; and dying half-way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from threading import Thread
from typing import Any

import pytest
from sqlalchemy import event

from credential_pipeline.gate.gate import GateResult, gate_dataset
from credential_pipeline_tests.gate.clinic import DAY, Clinic, dataset

Open = Callable[..., Clinic]
NEXT_DAY = date(2024, 6, 2)

CHECKS = (
    {"check": "required", "field": "course"},
    {"check": "number", "field": "score", "min": 0, "max": 100},
    {"check": "unique", "fields": ["person", "course"]},
)


def completions(**more: Any) -> dict[str, Any]:
    return dataset("completions", ["person", "course", "score"], *CHECKS, role="evidence", **more)


def row(person: str, course: str = "A", score: str = "50", **more: str) -> dict[str, str]:
    return {"person": person, "course": course, "score": score, **more}


def good(*people: str) -> list[dict[str, str]]:
    return [row(person) for person in people]


def test_equal_rows_in_a_file(clinic: Open) -> None:
    ward = clinic(completions())
    result = ward.judge(
        "lms.completions", [row("p"), row("q"), row("p"), row("p"), row("x", "", "1"), row("x", "", "1")]
    )
    assert (result.landed, result.accepted, result.quarantined) == (6, 2, 4)
    assert {number: codes for (_, number), codes in ward.codes("lms.completions").items()} == {
        3: {"duplicate_row"}, 4: {"duplicate_row"}, 5: {"required_missing"}, 6: {"duplicate_row"},
    }  # fmt: skip


def test_equal_fields_in_rows_that_differ_elsewhere(clinic: Open) -> None:
    ward = clinic(completions())
    ward.offer("lms.completions", [row("p", id="1")], "completions-1.csv", ["id", "person", "course", "score"])
    ward.offer(
        "lms.completions", [row("p", score="50.0", id="2")], "completions-2.csv", ["id", "person", "course", "score"]
    )
    ward.offer("lms.completions", [row("p", id="1")], "completions-3.csv", ["id", "person", "course", "score"])
    result = ward.run("lms.completions")
    assert (result.landed, result.accepted) == (2, 1)
    assert ward.codes("lms.completions") == {("completions-2.csv", 1): {"duplicate_row"}}


def test_contradicting_rows_all_go(clinic: Open) -> None:
    ward = clinic(completions())
    rows = [row("p", score="50"), row("q"), row("p", score="60"), row("p", score="140"), row("p", score="5e1")]
    result = ward.judge("lms.completions", [*rows, row("p", score="60.0")])
    assert result.by_code == {"contradicting_rows": 2, "duplicate_row": 1, "not_a_number": 1, "number_out_of_range": 1}
    assert ward.reasons("lms.completions")[0] == (
        1, "contradicting_rows", "person,course", "p, A",
        "keep the row that is right and remove the others with the same person, course",
    )  # fmt: skip
    assert [fields["person"] for fields in ward.accepted("lms.completions")] == ["q"]


def test_unique_over_one_field_and_over_empty_ones(clinic: Open) -> None:
    checks = ({"check": "unique", "fields": ["x"]}, {"check": "unique", "fields": ["y", "z"]})
    ward = clinic(dataset("things", ["x", "y", "z"], *checks))
    rows = [
        {"x": "1", "y": "a"},
        {"x": "1", "y": "b"},
        {"x": "", "y": "a"},
        {"x": "", "z": "c"},
        {"x": "4"},
        {"x": "5"},
    ]
    ward.judge("lms.things", rows)
    assert [(number, field) for number, _, field, *_ in ward.reasons("lms.things")] == [
        (1, "x"), (1, "y,z"), (2, "x"), (3, "y,z"),
    ]  # fmt: skip


def test_chunks_do_not_show(clinic: Open) -> None:
    rows = [row(f"p{n % 40}", score=str(n * 3)) for n in range(60)]
    ward = clinic(completions())
    in_one = ward.judge("lms.completions", rows)
    reasons, fields = ward.reasons("lms.completions"), ward.accepted("lms.completions")
    other = clinic(dataset("other", ["person", "course", "score"], *CHECKS, role="evidence"))
    assert other.judge("lms.other", rows, rows_per_chunk=7) == in_one
    assert other.reasons("lms.other") == reasons
    assert other.accepted("lms.other") == fields


def test_ragged_rows(clinic: Open) -> None:
    ward = clinic(completions())
    path = ward.data / "completions.csv"
    path.write_text("person,course,score\np,A,50\nq,A\nr,A,50,more\n", encoding="utf-8")
    assert ward.run("lms.completions").by_code == {"ragged_row": 2}
    assert [(number, code, field, value) for number, code, field, value, _ in ward.reasons("lms.completions")] == [
        (2, "ragged_row", "", None), (3, "ragged_row", "", None),
    ]  # fmt: skip


def test_no_batch(clinic: Open) -> None:
    ward = clinic(completions())
    assert ward.run("lms.completions") == GateResult(0, 0, 0, {}, None, False)
    assert ward.run("lms.completions") == GateResult(0, 0, 0, {}, None, True)


def test_second_call_changes_nothing(clinic: Open) -> None:
    ward = clinic(completions())
    rows = [*good("p", "q"), row("r", score="140")]
    first = ward.judge("lms.completions", rows)
    written = "select string_agg(a::text, '|' order by row_id) from accepted.row a"
    before = ward.value(written)
    second = ward.judge("lms.completions", rows)
    assert not first.unchanged
    assert second.unchanged
    assert (second.landed, second.accepted, second.quarantined, second.by_code) == (3, 2, 1, first.by_code)
    assert ward.value(written) == before
    assert ward.value("select run_id from accepted.gated_batch") == "run-1"


def test_another_day_keeps_the_verdict_of_a_row_that_has_not_changed(clinic: Open) -> None:
    ward = clinic(completions())
    ward.judge("lms.completions", [*good("p"), row("r", score="140")])
    result = ward.run("lms.completions", NEXT_DAY)
    assert (result.landed, result.accepted, result.unchanged) == (2, 1, False)
    assert ward.value("select array_agg(run_id) from accepted.row") == ["run-1"]
    assert ward.run("lms.completions").unchanged


def test_changed_reference_is_judged_anew(clinic: Open) -> None:
    reference = {"check": "reference", "field": "course", "to": "lms.courses.course"}
    ward = clinic(dataset("courses", ["course"]), dataset("marks", ["id", "course"], reference))
    ward.judge("lms.courses", [{"course": "A"}])
    marks = [{"id": "1", "course": "A"}, {"id": "2", "course": "B"}]
    assert ward.judge("lms.marks", marks).by_code == {"unknown_reference": 1}
    ward.judge("lms.courses", [{"course": "A"}, {"course": "B"}])
    healed = ward.run("lms.marks")
    assert (healed.accepted, healed.by_code, healed.unchanged) == (2, {}, False)
    assert len(ward.reasons("lms.marks", waiting=False)) == 1
    ward.judge("lms.courses", [{"course": "B"}])
    assert ward.run("lms.marks").accepted == 1
    assert [fields["id"] for fields in ward.accepted("lms.marks")] == ["2"]


def test_a_reason_that_comes_back_waits_again(clinic: Open) -> None:
    reference = {"check": "reference", "field": "course", "to": "lms.courses.course"}
    ward = clinic(dataset("courses", ["course"]), dataset("marks", ["course"], reference))
    for courses, waiting in ((["A"], 1), (["A", "B"], 0), (["A"], 1)):
        ward.judge("lms.courses", [{"course": course} for course in courses])
        ward.judge("lms.marks", [{"course": "B"}])
        assert len(ward.reasons("lms.marks")) == waiting


@pytest.mark.parametrize("day", [DAY, NEXT_DAY])
@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        (row("p", score="140"), row("p", score="40")),  # the key tells which row it was
        (row("p", course=""), row("p", course="A")),  # the place does
        (row("p x", score="140"), row("p", score="40")),  # two fields wrong, both corrected
    ],
)
def test_corrected_file_replays_what_was_wrong(
    clinic: Open, day: date, wrong: Mapping[str, str], right: Mapping[str, str]
) -> None:
    ward = clinic(completions())
    first = ward.judge("lms.completions", [row("a"), wrong, row("z")])
    assert (first.accepted, first.quarantined) == (2, 1)
    accepted_first = "select array_agg(fields ->> 'person' order by 1) from accepted.row where run_id = 'run-1'"
    second = ward.judge("lms.completions", [row("a"), right, row("z")], day=day)
    assert (second.landed, second.accepted, second.quarantined, second.by_code) == (3, 3, 0, {})
    assert ward.reasons("lms.completions") == []
    assert len(ward.reasons("lms.completions", waiting=False)) >= 1
    assert ward.value(accepted_first) == ["a", "z"]
    assert ward.value("select count(*) from accepted.row where run_id = 'run-2'") == 1


def test_corrected_row_offered_alone_in_another_file(clinic: Open) -> None:
    ward = clinic(completions())
    ward.judge("lms.completions", [row("a"), row("p", score="140")])
    (ward.data / "completions.csv").unlink()
    ward.offer("lms.completions", [row("p", score="40")], "completions-corrected.csv")
    ward.run("lms.completions", NEXT_DAY)
    assert ward.reasons("lms.completions") == []
    again = ward.value("select accepted from accepted.gated_batch where day = :day", day=DAY)
    assert again == 1


def test_ragged_row_corrected_in_its_place(clinic: Open) -> None:
    ward = clinic(completions())
    path = ward.data / "completions.csv"
    path.write_text("person,course,score\na,A,50\np,A\n", encoding="utf-8")
    ward.run("lms.completions")
    path.write_text("person,course,score\na,A,50\np,A,50\n", encoding="utf-8")
    assert ward.run("lms.completions").accepted == 2
    assert ward.reasons("lms.completions") == []


def test_other_rows_under_the_same_file_name_resolve_nothing(clinic: Open) -> None:
    ward = clinic(completions())
    ward.judge("lms.completions", [row("a"), row("p", score="140")])
    ward.judge("lms.completions", [row("b"), row("c")], day=NEXT_DAY)
    assert [reason[1] for reason in ward.reasons("lms.completions")] == ["number_out_of_range"]


def test_too_many_bad_rows_refuse_the_batch_until_it_is_corrected(clinic: Open) -> None:
    ward = clinic(completions(limit=0.2))
    bad = [row("x", score="140"), row("y", score="a")]
    result = ward.judge("lms.completions", [*good(*"abcdefg"), *bad])
    assert (result.landed, result.accepted, result.quarantined) == (9, 0, 9)
    assert result.by_code == {"batch_refused": 7, "not_a_number": 1, "number_out_of_range": 1}
    detail = "2 of 9 rows were bad (not_a_number 1, number_out_of_range 1), more than the 20% of reject_limit"
    assert result.breach is not None
    assert result.breach.startswith(detail)
    assert ward.reasons("lms.completions")[0][1:] == ("batch_refused", "", None, result.breach)
    assert ward.accepted("lms.completions") == []

    again = ward.judge("lms.completions", [*good(*"abcdefg"), *bad])
    assert again.unchanged
    assert again.breach == result.breach
    assert ward.value("select count(*) from quarantine.breach") == 1

    corrected = ward.judge("lms.completions", [*good(*"abcdefg"), row("x", score="14"), row("y", score="")])
    assert (corrected.accepted, corrected.breach, corrected.by_code) == (9, None, {})
    assert ward.reasons("lms.completions") == []
    assert (
        ward.value("select count(*) from quarantine.breach where code = 'rejection_rate' and resolved_at is null") == 0
    )
    assert ward.value("select count(*) from quarantine.breach where code = 'rejection_rate'") == 1


def test_exactly_the_limit_and_repeated_rows_do_not_refuse_a_batch(clinic: Open) -> None:
    ward = clinic(completions(limit=0.2))
    rows = [*good(*"abcd"), row("x", score="140")]
    assert ward.judge("lms.completions", rows).breach is None
    result = ward.judge("lms.completions", [*good(*"abcd"), *good(*"abcd")])
    assert (result.accepted, result.by_code, result.breach) == (4, {"duplicate_row": 4}, None)


def test_a_refused_batch_takes_back_what_it_had_accepted(clinic: Open) -> None:
    ward = clinic(completions(limit=0.2))
    ward.judge("lms.completions", good(*"abcde"))
    result = ward.judge("lms.completions", [*good(*"abcde"), row("x", score="140"), row("y", score="140")])
    assert (result.landed, result.accepted, result.quarantined) == (7, 0, 7)
    assert ward.accepted("lms.completions") == []


@pytest.mark.parametrize(
    "dies_at",
    [
        "insert into gate_found",
        "insert into accepted.row",
        "insert into quarantine.reason",
        "insert into accepted.gated",
    ],
)
def test_dying_half_way_leaves_nothing(clinic: Open, dies_at: str) -> None:
    ward = clinic(completions())
    rows = [row("p"), row("p", score="50.0"), row("q", score="140")]

    def die(_: object, __: object, statement: str, *rest: object) -> None:
        if dies_at in statement:
            raise KeyboardInterrupt

    event.listen(ward.engine, "before_cursor_execute", die)
    with pytest.raises(KeyboardInterrupt):
        ward.judge("lms.completions", rows)
    event.remove(ward.engine, "before_cursor_execute", die)
    for table in ("accepted.row", "accepted.gated_batch", "quarantine.reason", "quarantine.breach"):
        assert ward.value(f"select count(*) from {table}") == 0
    assert ward.run("lms.completions").by_code == {"duplicate_row": 1, "number_out_of_range": 1}


def test_two_runs_at_once(clinic: Open) -> None:
    ward = clinic(completions())
    ward.judge("lms.completions", good("a"))
    ward.offer("lms.completions", [*good(*"bcdef"), row("x", score="140")])
    ward.run("lms.completions", NEXT_DAY)  # lands the rows; the day itself is judged by the two below
    from credential_pipeline.extract.files import extract_dataset

    extract_dataset(ward.engine, ward.named("lms.completions"), ward.data, DAY, "land")
    results: list[GateResult] = []

    def gate(run_id: str) -> None:
        named = ward.named("lms.completions")
        results.append(gate_dataset(ward.engine, ward.institution, named, DAY, run_id))

    threads = [Thread(target=gate, args=(f"at-once-{n}",)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(result.unchanged for result in results) == [False, True]
    assert {(result.landed, result.accepted, result.quarantined) for result in results} == {(6, 5, 1)}

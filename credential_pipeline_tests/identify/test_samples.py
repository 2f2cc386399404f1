"""Northfield through its own extract and gate: the links of truth.json, all of them and no other."""

from __future__ import annotations

import json
from collections import Counter
from datetime import date
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from credential_pipeline.extract.files import extract_dataset
from credential_pipeline.gate.gate import gate_dataset
from credential_pipeline.identify.persons import identify_batch
from credential_pipeline.institution import Institution
from credential_pipeline_tests.identify.batches import persons, reviews, snapshot

NORTHFIELD = Path(__file__).parents[2] / "samples" / "northfield"
DAY = date(2025, 9, 1)


def test_northfield(engine: Engine, northfield: Institution) -> None:
    truth = json.loads((NORTHFIELD / "truth.json").read_text(encoding="utf-8"))
    for dataset in northfield.datasets:
        extract_dataset(engine, dataset, NORTHFIELD / "data", DAY, "run-1")
        gate_dataset(engine, northfield, dataset, DAY, "run-1")
    result = identify_batch(engine, northfield, DAY, "run-1")

    person = persons(engine)
    human = {key: n for n, keys in enumerate(truth["humans"]) for key in keys}
    assert set(person) == set(human)
    humans_of_person = Counter(p for p, _ in {(person[key], human[key]) for key in human})
    assert [p for p, humans in humans_of_person.items() if humans > 1] == []  # no false link
    assert [pair for pair in truth["links"] if person[pair[0]] != person[pair[1]]] == []
    assert [pair for pair in truth["uncertain"] if person[pair[0]] == person[pair[1]]] == []
    assert [pair for pair in truth["impostors"] if person[pair[0]] == person[pair[1]]] == []

    assert result.records == len(human)
    assert result.persons == result.new_persons == truth["expected"]["persons"]
    assert result.linked == len(human) - result.persons
    assert result.merged == 0

    # A look is asked for only where two records are one human or two that were made to look like one.
    found = reviews(engine)
    assert len(found) == result.uncertain
    worth_it = {tuple(sorted(pair)) for pair in [*truth["uncertain"], *truth["impostors"]]}
    assert [pair for pair in found if pair not in worth_it] == []
    assert len(found) > len(truth["uncertain"]) / 2

    before = snapshot(engine)
    again = identify_batch(engine, northfield, DAY, "run-2")
    assert (again.records, again.persons, again.new_persons) == (result.records, result.persons, 0)
    assert snapshot(engine) == before


@pytest.mark.parametrize("order", [("lms", "sis", "hr"), ("hr", "sis", "lms"), ("sis", "hr", "lms")])
def test_sources_that_arrive_one_after_another(engine: Engine, northfield: Institution, order: tuple[str, ...]) -> None:
    """Whatever comes first, the same humans are told apart; ids are those of first sight."""
    truth = json.loads((NORTHFIELD / "truth.json").read_text(encoding="utf-8"))
    for number, source in enumerate(order, 1):
        day = DAY.replace(day=number)
        for dataset in northfield.datasets_of("people"):
            if dataset.source.id == source:
                extract_dataset(engine, dataset, NORTHFIELD / "data", day, "run-1")
                gate_dataset(engine, northfield, dataset, day, "run-1")
        identify_batch(engine, northfield, day, "run-1")
    person = persons(engine)
    groups = {frozenset(k for k in person if person[k] == p) for p in set(person.values())}
    assert len(groups) == truth["expected"]["persons"]
    assert [pair for pair in truth["links"] if person[pair[0]] != person[pair[1]]] == []
    with engine.connect() as connection:
        found = connection.execute(text("select person_id::text, first_source_key from identity.person"))
        first = dict(found.tuples().all())
    rank = {source: number for number, source in enumerate(order)}
    for group in groups:
        oldest = min(group, key=lambda key: (rank[key.partition(":")[0]], key))
        assert first[person[oldest]] == oldest

from __future__ import annotations

import subprocess
import sys
import threading
import time
from datetime import date, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from credential_pipeline.credential.identifiers import person_id
from credential_pipeline.identify.persons import IdentifyResult, identify_batch, resolve_persons
from credential_pipeline.institution import Institution
from credential_pipeline_tests.identify.batches import (
    Batches,
    employee,
    link_rules,
    persons,
    reviews,
    snapshot,
    student,
    user,
)

DAY = date(2025, 9, 1)
NEXT = DAY + timedelta(days=1)
BORN = "1990-05-17"


@pytest.fixture
def batches(engine: Engine, northfield: Institution) -> Batches:
    return Batches(engine, northfield)


def identify(batches: Batches, day: date = DAY) -> IdentifyResult:
    return identify_batch(batches.engine, batches.institution, day, f"run {day}")


def of(key: str, institution: str = "northfield") -> str:
    return str(person_id(institution, key))


def test_one_human_in_three_systems(batches: Batches) -> None:
    batches.offer(
        DAY,
        lms__users=[user("L1", "Zoë  O’Brien", "zoe@mail.example", BORN), user("L2", "Paul Novak")],
        sis__students=[student("S1", "ZOE", "O'BRIEN", email="Zoe@Mail.example", birth_date=BORN, national_id="NX-1")],
        hr__employees=[employee("E1", "O'Brien, Z.", national_id="nx 1")],
    )
    assert identify(batches) == IdentifyResult(4, new_persons=2, linked=2, merged=0, uncertain=0, persons=2)
    zoe = of("hr:E1")  # the smallest source key
    assert persons(batches.engine) == {"hr:E1": zoe, "lms:L1": zoe, "sis:S1": zoe, "lms:L2": of("lms:L2")}
    assert link_rules(batches.engine) == {
        "hr:E1": "first_sight",
        "lms:L1": "email_name_birth_date",
        "sis:S1": "shared_identifier",
        "lms:L2": "first_sight",
    }


def test_attributes_are_kept_as_the_source_has_them(batches: Batches) -> None:
    batches.offer(
        DAY,
        lms__users=[user("L1", "Zoë O’Brien", "Zoe@Mail.example", "1990-01-01")],
        sis__students=[student("S1", "Zoë", "O’Brien", national_id="NX-1", lms_user="L9")],
        hr__employees=[employee("E1", "O’Brien, Zoë"), employee("E2", "Suharto")],
    )
    identify(batches)
    with batches.engine.connect() as connection:
        rows = connection.execute(
            text(
                "select source, given_name, family_name, full_name, email, birth_date, identifiers, day, run_id"
                " from identity.source_record order by source_key"
            )
        ).all()
    run = f"run {DAY}"
    assert [tuple(row) for row in rows] == [
        ("hr", "Zoë", "O’Brien", None, None, None, {}, DAY, run),
        ("hr", None, None, "Suharto", None, None, {}, DAY, run),
        ("lms", None, None, "Zoë O’Brien", "Zoe@Mail.example", date(1990, 1, 1), {}, DAY, run),
        ("sis", "Zoë", "O’Brien", None, None, None, {"national_id": "nx1", "key:lms": "L9"}, DAY, run),
    ]


def test_nothing_new_writes_nothing(batches: Batches) -> None:
    people = [user(f"L{n}", "Ann Lee", f"{n}@mail.example", BORN) for n in range(5)]
    batches.offer(DAY, lms__users=people)
    first = identify(batches)
    assert first == IdentifyResult(5, new_persons=5, linked=0, merged=0, uncertain=10, persons=5)
    before = snapshot(batches.engine)
    assert identify(batches) == IdentifyResult(5, new_persons=0, linked=0, merged=0, uncertain=0, persons=5)
    batches.offer(NEXT, lms__users=people)
    assert identify(batches, NEXT) == IdentifyResult(5, new_persons=0, linked=0, merged=0, uncertain=0, persons=5)
    assert snapshot(batches.engine) == before


def test_a_person_keeps_the_id_when_a_smaller_key_comes(batches: Batches) -> None:
    batches.offer(DAY, lms__users=[user("L1", "Ann Lee", "ann@mail.example", BORN)])
    identify(batches)
    batches.offer(NEXT, hr__employees=[employee("E1", "Lee, Ann", email="ann@mail.example", birth_date=BORN)])
    assert identify(batches, NEXT) == IdentifyResult(1, new_persons=0, linked=1, merged=0, uncertain=0, persons=1)
    assert set(persons(batches.engine).values()) == {of("lms:L1")}


def test_a_merge_keeps_the_oldest_and_records_an_alias(batches: Batches) -> None:
    batches.offer(DAY, sis__students=[student("S1", "Ann", "Lee", national_id="NX-1")])
    identify(batches)
    batches.offer(
        NEXT, lms__users=[user("L1", "Ann Lee", "ann@mail.example", BORN), user("L2", "Ann Lee", "a@x.example")]
    )
    identify(batches, NEXT)
    third = NEXT + timedelta(days=1)
    same = {"email": "ann@mail.example", "birth_date": BORN}
    batches.offer(third, hr__employees=[employee("E1", "Lee, Ann", national_id="NX-1", **same)])
    assert identify(batches, third) == IdentifyResult(1, new_persons=0, linked=1, merged=1, uncertain=0, persons=2)
    assert persons(batches.engine) == {
        "hr:E1": of("sis:S1"), "lms:L1": of("sis:S1"), "sis:S1": of("sis:S1"), "lms:L2": of("lms:L2"),
    }  # fmt: skip
    assert link_rules(batches.engine)["lms:L1"] == "email_name_birth_date"
    with batches.engine.connect() as connection:
        alias = connection.execute(text("select alias_id::text, person_id::text, reason from identity.person_alias"))
        assert [tuple(row) for row in alias] == [(of("lms:L1"), of("sis:S1"), "email_name_birth_date: hr:E1 = lms:L1")]
    before = snapshot(batches.engine)
    identify(batches, third)
    identify(batches, DAY)
    assert snapshot(batches.engine) == before


def test_chains_of_aliases_are_shortened(batches: Batches) -> None:
    """L1 (day 1), L2 (day 2), L3 (day 3): first L3 into L2, then both into L1."""
    corrections = [
        [user("L1", "Ann Lee", "one@mail.example", BORN)],
        [user("L2", "Ann Lee", "two@mail.example", BORN)],
        [user("L3", "Ann Lee", "three@mail.example", BORN)],
        [user("L3", "Ann Lee", "two@mail.example", BORN)],
        [user("L2", "Ann Lee", "one@mail.example", BORN)],
    ]
    for n, rows in enumerate(corrections):
        batches.offer(DAY + timedelta(days=n), lms__users=rows)
        identify(batches, DAY + timedelta(days=n))
    people = [person_id("northfield", f"lms:L{n}") for n in (1, 2, 3)]
    assert set(persons(batches.engine).values()) == {str(people[0])}
    with batches.engine.connect() as connection:
        assert resolve_persons(connection, people) == dict.fromkeys(people, people[0])
    # The pairs that waited while the three were apart are settled.
    assert {state for state, _ in reviews(batches.engine).values()} == {"same"}


def test_a_changed_record_stays_and_is_shown_to_a_person(batches: Batches) -> None:
    ann = user("L1", "Ann Lee", "ann@mail.example", BORN)
    batches.offer(DAY, lms__users=[ann], sis__students=[student("S1", "Ann", "Lee", lms_user="L1", birth_date=BORN)])
    identify(batches)
    batches.offer(NEXT, lms__users=[user("L1", "Peter Novak", "peter@mail.example", "1971-02-03")])
    assert identify(batches, NEXT) == IdentifyResult(1, new_persons=0, linked=0, merged=0, uncertain=1, persons=1)
    assert set(persons(batches.engine).values()) == {of("lms:L1")}
    assert link_rules(batches.engine) == {"lms:L1": "first_sight", "sis:S1": "cross_reference"}
    assert reviews(batches.engine) == {("lms:L1", "sis:S1"): ("waiting", "changed_record:birth_date_differs")}
    before = snapshot(batches.engine)
    identify(batches, DAY)  # run again, the older day does not put the old attributes back
    assert snapshot(batches.engine) == before


def test_pairs_that_rules_cannot_prove_wait_and_a_decision_is_never_touched(batches: Batches) -> None:
    batches.offer(
        DAY,
        lms__users=[user("L1", "Ann Lee", "ann@mail.example"), user("L2", "Bob Lee", "bob@mail.example", BORN)],
        sis__students=[
            student("S1", "Ann", "Lee", email="ann@mail.example", birth_date=BORN),
            student("S2", "Robert", "Lee", birth_date="1970-02-03", lms_user="L2"),
        ],
    )
    assert identify(batches) == IdentifyResult(4, new_persons=4, linked=0, merged=0, uncertain=2, persons=4)
    assert reviews(batches.engine) == {
        ("lms:L1", "sis:S1"): ("waiting", "same_email_and_name"),
        ("lms:L2", "sis:S2"): ("waiting", "cross_reference:birth_date_differs"),
    }
    with batches.engine.begin() as connection:
        connection.execute(text("update identity.review_pair set state = 'different', decided_by = 'registrar'"))
    batches.offer(NEXT, lms__users=[user("L1", "Ann Lee", "ann@mail.example", BORN)])  # now the rules would link them
    assert identify(batches, NEXT) == IdentifyResult(1, new_persons=0, linked=0, merged=0, uncertain=0, persons=4)
    assert {state for state, _ in reviews(batches.engine).values()} == {"different"}


def test_a_corrected_birth_date_joins_what_waited(batches: Batches) -> None:
    sis = [student("S1", "Ann", "Lee", email="ann@mail.example", birth_date=BORN)]
    batches.offer(DAY, lms__users=[user("L1", "Ann Lee", "ann@mail.example")], sis__students=sis)
    identify(batches)
    batches.offer(NEXT, lms__users=[user("L1", "Ann Lee", "ann@mail.example", BORN)])
    assert identify(batches, NEXT) == IdentifyResult(1, new_persons=0, linked=0, merged=1, uncertain=0, persons=1)
    assert {state for state, _ in reviews(batches.engine).values()} == {"same"}


def test_evidence_without_people(engine: Engine, open_university: Institution) -> None:
    batches = Batches(engine, open_university)
    rows = [
        {"person": "11391", "module": "AAA", "presentation": "2013J", "final_result": "Pass"},
        {"person": "11391", "module": "BBB", "presentation": "2014J", "final_result": "Pass"},
        {"person": "28400", "module": "AAA", "presentation": "2013J", "final_result": "Fail"},
    ]
    batches.offer(DAY, ou__registrations=rows)
    assert identify(batches) == IdentifyResult(2, new_persons=2, linked=0, merged=0, uncertain=0, persons=2)
    assert persons(engine) == {key: of(key, "open_university") for key in ("ou:11391", "ou:28400")}
    before = snapshot(engine)
    identify(batches)
    assert snapshot(engine) == before


def test_evidence_before_people(batches: Batches) -> None:
    """A bare record is linked by reference, and filled when its row comes; only a contradiction is reported."""
    done = {"course": "ART-100", "term": "2024FA", "completed_on": "2024-11-20", "outcome": "completed"}
    batches.offer(
        DAY,
        lms__completions=[{"person": "L1", **done}, {"person": "L2", **done}],
        sis__students=[student("S1", "Ann", "Lee", lms_user="L1"), student("S2", "Eve", "Ray", lms_user="L2")],
    )
    assert identify(batches) == IdentifyResult(4, new_persons=2, linked=2, merged=0, uncertain=0, persons=2)
    batches.offer(NEXT, lms__users=[user("L1", "Ann Lee"), user("L2", "Paul Novak")])
    assert identify(batches, NEXT) == IdentifyResult(2, new_persons=0, linked=0, merged=0, uncertain=1, persons=2)
    assert reviews(batches.engine) == {("lms:L2", "sis:S2"): ("waiting", "changed_record:given_name_differs")}


def test_the_id_of_a_key_that_a_split_gave_away(batches: Batches) -> None:
    batches.offer(DAY, lms__users=[user("L1", "Ann Lee")])
    identify(batches)
    with batches.engine.begin() as connection:  # as a split leaves it: the person keeps the id, the record left
        connection.execute(text("delete from identity.source_record"))
    identify(batches)
    assert persons(batches.engine) == {"lms:L1": of("lms:L1#split-1")}
    with batches.engine.connect() as connection:
        keys = set(connection.scalars(text("select first_source_key from identity.person")))
    assert keys == {"lms:L1", "lms:L1#split-1"}


def test_two_runs_at_once(batches: Batches) -> None:
    batches.offer(DAY, lms__users=[user(f"L{n}", "Ann Lee", f"{n}@mail.example") for n in range(50)])
    results: list[IdentifyResult] = []
    threads = [threading.Thread(target=lambda: results.append(identify(batches))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(r.new_persons for r in results) == [0, 0, 50]
    assert {r.persons for r in results} == {50}


CHILD = """
import sys
from datetime import date
from pathlib import Path
from credential_pipeline.identify.persons import identify_batch
from credential_pipeline.institution.load import load_institution
from credential_pipeline.store.postgres import open_engine
identify_batch(open_engine(sys.argv[1]), load_institution(Path(sys.argv[2])), date(2025, 9, 1), "killed")
"""


def test_killed_while_it_writes(batches: Batches, database_url: str) -> None:
    """Persons and records are written, review pairs are not: kill -9 there, and nothing has happened."""
    rows = [user(f"L{n}", "Ann Lee", "ann@mail.example") for n in range(3)]
    batches.offer(DAY, lms__users=rows)
    sample = Path(__file__).parents[2] / "samples" / "northfield"
    with batches.engine.connect() as blocker:
        blocker.execute(text("lock table identity.review_pair in exclusive mode"))
        child = subprocess.Popen([sys.executable, "-c", CHILD, database_url, str(sample)])
        try:
            with batches.engine.connect() as watcher:
                deadline = time.monotonic() + 60
                while not watcher.scalar(text("select exists (select from pg_locks where not granted)")):
                    watcher.rollback()
                    assert child.poll() is None
                    assert time.monotonic() < deadline
                    time.sleep(0.05)
        finally:
            child.kill()
            child.wait()
    assert identify(batches) == IdentifyResult(3, new_persons=3, linked=0, merged=0, uncertain=3, persons=3)
    assert persons(batches.engine) == {key: of(key) for key in ("lms:L0", "lms:L1", "lms:L2")}
    with batches.engine.connect() as connection:
        assert set(connection.scalars(text("select run_id from identity.source_record"))) == {f"run {DAY}"}

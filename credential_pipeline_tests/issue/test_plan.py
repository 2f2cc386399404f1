"""A plan: stored before anything happens, the same in another home, approved by whoever may."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from credential_pipeline.credential import identifiers
from credential_pipeline.credential.keys import Signer
from credential_pipeline.errors import Terminal
from credential_pipeline.issue.plan import PlanResult
from credential_pipeline.issue.plans import Stale, hash_of, open_plans
from credential_pipeline_tests.issue.desk import (
    ACHIEVEMENTS,
    AS_OF,
    DAY,
    KEY_START,
    Desk,
    achievement,
    institution,
    passed,
    user,
    written,
)

NewDesk = Callable[..., Desk]
NEXT = DAY + timedelta(days=1)
LATER = AS_OF + timedelta(days=1)
ROWS = (passed("UA"), passed("UB", "safety"), passed("UC", "diploma"), passed("UD", outcome="failed"))


def test_a_plan_has_a_line_for_every_award_and_every_row_that_earns_nothing(desk: Desk) -> None:
    desk.offer(ROWS)
    plan = desk.plan()
    assert plan.counts == {"create": 2, "hold": 1, "skip": 1}
    assert sorted(desk.lines(plan.plan_id), key=str) == [
        ("create", "planned", "knots", ["earned"]),
        ("create", "planned", "safety", ["earned"]),
        ("hold", "held", "diploma", ["approval_required"]),
        ("skip", "skipped", None, ["outcome=failed"]),
    ]
    ordinals = desk.rows("select ordinal from ledger.plan_line where plan_id = :plan order by 1", plan=plan.plan_id)
    assert ordinals == [(0,), (1,), (2,), (3,)]
    found = desk.rows("select plan_id, hash, scope, as_of, counts from ledger.plan where approval = 'auto'")
    assert found == [(plan.plan_id, plan.hash, f"day:{DAY}", AS_OF, dict(plan.counts))]
    assert plan.plan_id == identifiers.plan_id("school", plan.hash or b"")


def test_what_needs_four_eyes_is_a_plan_of_its_own_that_waits(desk: Desk) -> None:
    desk.offer([*ROWS, passed("UE", "diploma"), passed("UF", "diploma")], [user("UF", full_name="")])
    plan = desk.plan()
    assert plan.waiting is not None
    waiting, credentials = plan.waiting
    assert credentials == 2, "of the three diplomas one waits for a name as well"
    assert desk.rows("select state, approval, scope from ledger.plan where plan_id = :p", p=waiting) == [
        ("planned", "four_eyes", f"day:{DAY}")
    ]
    assert desk.lines(waiting) == [("create", "planned", "diploma", ["earned"])] * 2
    assert open_plans(desk.engine) == [plan.plan_id]


def test_the_hash_is_that_of_the_stored_lines(desk: Desk) -> None:
    """Recomputed from the tables alone: what an approver signs is what is there to be read."""
    desk.offer(ROWS)
    plan = desk.plan()
    header = {
        "institution": "school",
        "kind": "issue",
        "scope": f"day:{DAY}",
        "as_of": AS_OF.astimezone(UTC).isoformat(),
        "approval": "auto",
        "reason": None,
        "catalogue": desk.institution.catalogue.version.hex(),
    }
    lines = desk.rows(
        "select action, reasons, inputs, achievement, award_id::text, credential_id::text, prior_id::text, cause, facts"
        " from ledger.plan_line where plan_id = :plan order by ordinal",
        plan=plan.plan_id,
    )
    names = ("action", "reasons", "inputs", "achievement", "award", "credential", "prior", "cause", "facts")
    hashed = hashlib.sha256()
    for value in (header, *(dict(zip(names, line, strict=True)) for line in lines)):
        hashed.update(json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode() + b"\n")
    assert hashed.digest() == plan.hash
    with desk.engine.connect() as connection:
        for stored, digest in desk.rows("select plan_id, hash from ledger.plan"):
            assert hash_of(connection, "school", stored) == digest


def test_another_home_makes_the_same_plan_whatever_the_order_of_rows_and_the_name_of_the_run(new_desk: NewDesk) -> None:
    plans, lines = [], []
    for order, run_id in ((1, "run-1"), (-1, "run-2")):
        desk = new_desk()
        desk.offer([*ROWS, passed("UA", score="71")][::order])
        plans.append(desk.plan(run_id=run_id))
        lines.append(
            desk.rows("select ordinal, credential_id, status_ordinal, facts from ledger.plan_line order by ordinal")
        )
    assert plans[0] == plans[1]
    assert lines[0] == lines[1]


INPUTS: dict[str, dict[str, Any]] = {
    "as_of": {"as_of": AS_OF + timedelta(seconds=1)},
    "the scope": {"day": NEXT},
    "the institution": {"school": {"id": "other-school"}},
    "the catalogue": {"achievements": (achievement("knots", name="Better Knots"), *ACHIEVEMENTS[1:])},
    "a result": {"row": {"score": "71"}},
    "the day it was earned": {"row": {"done": "2026-02-02"}},
    "a score that is not shown": {"row": {"score": "-"}},
    "no score": {"row": {"score": ""}},
    "the occurrence": {"row": {"term": "2025FA"}},
    "the holder's name": {"user": {"full_name": "Somebody Else"}},
    "the holder's e-mail address": {"user": {"email": "else@school.example"}},
    "a field of the holder that the credential does not show": {"user": {"birth_date": "1990-05-17"}},
    "a reason to wait": {"user": {"full_name": ""}},
}


def planned(desk: Desk, change: dict[str, Any]) -> bytes | None:
    day = change.get("day", DAY)
    desk.offer([passed("UA", **change.get("row", {}))], [user("UA", **change.get("user", {}))], day)
    return desk.plan(day, change.get("as_of", AS_OF)).hash


def test_the_hash_changes_with_each_cited_input(new_desk: NewDesk) -> None:
    found: dict[bytes | None, str] = {planned(new_desk(), {}): "nothing"}
    for what, change in INPUTS.items():
        school = institution(*change.get("achievements", ACHIEVEMENTS), **change.get("school", {}))
        digest = planned(new_desk(school), change)
        assert digest not in found, f"{what} and {found.get(digest)} make one hash"
        found[digest] = what


def test_auto_achievements_are_approved_by_the_catalogues_version_and_this_hash(desk: Desk) -> None:
    desk.offer(ROWS)
    plan = desk.plan()
    version = desk.institution.catalogue.version.hex()
    assert desk.rows("select plan_id, plan_hash, kind, approver, signature from ledger.approval") == [
        (plan.plan_id, plan.hash, "catalogue", f"catalogue {version}", None)
    ]
    assert open_plans(desk.engine) == [plan.plan_id]


def test_places_are_reserved_when_the_plan_is_applied_and_not_before(desk: Desk) -> None:
    desk.offer(ROWS)
    plan = desk.planned()
    assert desk.count("ledger.status_block") == 0
    desk.apply(plan)
    assert desk.rows("select purpose, first_position, size, plan_id from ledger.status_block order by 1") == [
        ("revocation", 0, 1, plan),
        ("suspension", 0, 1, plan),
    ]


def test_four_eyes_are_held_and_nothing_is_approved_or_reserved_for_them(desk: Desk) -> None:
    desk.offer([passed("UC", "diploma")])
    assert desk.plan().counts == {"hold": 1}
    assert desk.holds() == [("create", "waiting", ["approval_required"])]
    assert desk.count("ledger.approval") == desk.count("ledger.status_block") == 0
    assert open_plans(desk.engine) == []
    assert desk.issue() == 0
    assert desk.count("ledger.credential") == 0


def test_places_are_counted_by_purpose_in_the_order_of_lines(desk: Desk) -> None:
    desk.offer([passed(f"U{n}", course) for n in range(5) for course in ("knots", "safety", "diploma")])
    plan = desk.plan()
    for course in ("knots", "safety"):
        found = desk.rows(
            "select status_ordinal from ledger.plan_line where achievement = :course order by ordinal", course=course
        )
        assert found == [(n,) for n in range(5)]
    held = "select count(status_ordinal) from ledger.plan_line where achievement = 'diploma' and plan_id = :plan"
    assert desk.value(held, plan=plan.plan_id) == 0


def test_nothing_new_is_no_plan(desk: Desk) -> None:
    desk.offer(ROWS)
    assert desk.issue() == 2
    waiting = desk.value("select plan_id from ledger.plan where approval = 'four_eyes'")
    before = written(desk.engine)
    assert desk.plan(as_of=LATER) == PlanResult(None, None, {}, (waiting, 1))
    desk.offer(ROWS, day=NEXT)
    assert desk.plan(NEXT, LATER) == PlanResult(None, None, {})
    assert written(desk.engine) == before, "one plan waits for the diploma, whatever day offers its row again"


def test_a_plan_that_a_dead_run_left_is_found_and_its_lines_are_not_planned_again(desk: Desk) -> None:
    desk.offer([passed("UA")])
    left = desk.planned()
    desk.offer([passed("UA"), passed("UB")], day=NEXT)
    second = desk.plan(NEXT, LATER)
    assert second.counts == {"create": 1}
    assert open_plans(desk.engine) == [left, second.plan_id]


def test_a_plan_that_could_not_be_signed_is_not_stored(desk: Desk) -> None:
    desk.offer(ROWS)
    desk.earn()
    before = written(desk.engine)
    with pytest.raises(Terminal, match=r"no signing key had started at 2025-12-31.*give a later --as-of"):
        desk.plan(as_of=KEY_START - timedelta(seconds=1))
    assert written(desk.engine) == before


def test_two_runs_of_a_day_at_once_make_one_plan(desk: Desk) -> None:
    desk.offer([passed(f"U{n:03}") for n in range(100)])
    desk.earn()
    with ThreadPoolExecutor(2) as pool:
        plans = list(pool.map(lambda run: desk.plan(run_id=run), ("run-a", "run-b")))
    assert plans[0] == plans[1], "whoever comes second finds the plan that stands"
    assert plans[0].counts == {"create": 100}
    assert desk.count("ledger.plan") == desk.count("ledger.approval") == 1
    assert desk.count("ledger.plan_line") == 100


def test_who_plans_again_waits_for_who_applies_and_sees_what_they_did(desk: Desk) -> None:
    """The plan is changed by a correction while its first chunk is being signed: it is neither voided nor doubled."""
    desk.offer([passed("UA"), passed("UB")])
    plan = desk.planned()
    signing, signed = threading.Event(), threading.Event()

    def slow(as_of: datetime) -> Signer:
        signing.set()
        assert signed.wait(60)
        return desk.signer(as_of)

    with ThreadPoolExecutor(2) as pool:
        applying = pool.submit(desk.apply, plan, signer_at=slow, chunk=1)
        assert signing.wait(60)
        desk.offer([passed("UA"), passed("UB"), passed("UC")])
        planning = pool.submit(desk.plan, DAY, LATER)
        deadline = time.monotonic() + 60
        waits = (
            "select count(*) from pg_locks where locktype = 'advisory' and not granted and database = (select oid from"
        )
        while not desk.value(f"{waits} pg_database where datname = current_database())"):
            assert time.monotonic() < deadline
            assert not planning.done()
            time.sleep(0.01)
        signed.set()
        again = planning.result(60)
        assert (again.counts, again.plan_id == plan) == ({"create": 1}, False)
        assert applying.result(60).issued == 2
    assert desk.issue(as_of=LATER) == 1
    assert desk.count("ledger.credential") == desk.count("outbox.message") == 3


def test_an_award_that_an_approved_plan_will_make_is_in_no_other(new_desk: NewDesk) -> None:
    """Its achievement began to need four eyes after it was planned: only when that plan is set aside it waits."""
    desk = new_desk()
    desk.offer([passed("UA")])
    first = desk.planned()
    desk.offer([passed("UA")], day=NEXT)
    desk.institution = institution(achievement("knots", approval="four_eyes"), *ACHIEVEMENTS[1:])
    assert desk.plan(NEXT, LATER).waiting is None
    with pytest.raises(Stale, match="approval: four_eyes of knots"):
        desk.apply(first)
    assert desk.plan(NEXT, LATER).waiting is not None
    assert desk.count("ledger.credential") == 0


def test_a_hold_is_released_when_its_reason_is_gone_and_says_who_did_it(desk: Desk) -> None:
    desk.offer([passed("UA")], [user("UA", full_name="")])
    first = desk.plan()
    assert first.counts == {"hold": 1}
    assert desk.plan(as_of=LATER) == first, "a plan that only holds is the same one when it is made again"
    assert desk.count("ledger.plan") == 1
    desk.offer([passed("UA")], [user("UA", full_name="Ada Learner")], NEXT)
    assert desk.plan(NEXT, LATER).counts == {"create": 1}
    assert desk.rows("select state, decided_by, decision_reason from ledger.hold") == [
        ("released", "pipeline", "the reasons to wait are gone")
    ]


def test_a_hold_with_other_reasons_is_planned_with_them(desk: Desk) -> None:
    desk.offer([passed("UA")], [user("UA", full_name="")])
    desk.plan()
    desk.offer([passed("UA")], [user("UA", full_name="ada99")], NEXT)
    second = desk.plan(NEXT, LATER)
    assert second.counts == {"hold": 1}
    assert desk.rows("select state, reasons, plan_id from ledger.hold") == [
        ("waiting", ["name_with_digits"], second.plan_id)
    ]


def test_a_rejected_hold_stays_rejected_whatever_happens_to_its_reasons(desk: Desk) -> None:
    desk.offer([passed("UA")], [user("UA", full_name="")])
    desk.plan()
    desk.write("update ledger.hold set state = 'rejected', decided_by = 'registrar', decision_reason = 'not ours'")
    desk.offer([passed("UA")], [user("UA")], NEXT)
    assert desk.plan(NEXT, LATER).plan_id is None
    assert desk.rows("select state, decided_by, reasons from ledger.hold") == [("rejected", "registrar", ["no_name"])]


def test_two_persons_who_may_be_one_human_wait_for_what_both_earned_alone(desk: Desk) -> None:
    desk.offer([passed("UA"), passed("UB"), passed("UB", "safety"), passed("UC")])
    desk.write(
        "insert into identity.review_pair (left_key, right_key, reason, state, run_id)"
        " values ('lms:UA', 'lms:UB', 'test', 'waiting', 'run')"
    )
    first = desk.plan()
    assert sorted(desk.lines(), key=str) == [
        ("create", "planned", "knots", ["earned"]),
        ("create", "planned", "safety", ["earned"]),
        *[("hold", "held", "knots", ["identity_uncertain"])] * 2,
    ]
    desk.write("update identity.review_pair set state = 'different'")
    assert desk.plan(as_of=LATER).counts == {"create": 4}
    assert desk.rows("select plan_id, state from ledger.plan where state = 'stale'") == [(first.plan_id, "stale")]


def test_awards_of_another_day_are_not_planned(desk: Desk) -> None:
    desk.offer([passed("UA")])
    desk.earn()
    desk.offer([passed("UB")], day=NEXT)
    assert desk.plan(NEXT, LATER).counts == {"create": 1}
    assert desk.value("select person_id from ledger.plan_line") == identifiers.person_id("school", "lms:UB")


def test_a_person_in_two_systems_is_cited_by_both_records(desk: Desk) -> None:
    same = {"birth_date": "1990-05-17", "full_name": "Ada Learner", "email": "ada@mail.example"}
    desk.offer([passed("UA")], [user("UA", **same)], sis__students=[user("S9", **same)])
    desk.plan()
    [(facts, inputs)] = desk.rows("select facts, inputs from ledger.plan_line")
    assert inputs["records"] == [
        digest for (digest,) in desk.rows("select encode(fields_hash, 'hex') from identity.source_record order by 1")
    ]
    assert len(inputs["records"]) == 2
    assert facts["identifiers"] == [
        {"type": "emailAddress", "value": "ada@mail.example"},
        {"type": "systemId", "value": "UA"},
    ]


def test_a_corrected_day_reaches_an_award_that_was_never_issued(desk: Desk) -> None:
    """Facts of one credential are all of one row: the correction's score never stands beside the old date."""
    desk.offer([passed("UA")], [user("UA", full_name="")])
    desk.plan()
    desk.offer([passed("UA", done="2026-02-09", score="80")], [user("UA")], NEXT)
    desk.plan(NEXT, LATER)
    facts = desk.value("select facts from ledger.plan_line where action = 'create'")
    assert (facts["results"], facts["awarded_on"]) == ([{"id": "score", "value": "80"}], "2026-02-09")


def test_the_same_plan_made_twice_is_found_again(desk: Desk) -> None:
    """A row that changed and changed back, planned at one `as_of`: the same lines are the same plan."""
    desk.offer([passed("UA")])
    first = desk.planned()
    desk.regate("UA", "knots", score="99")
    assert desk.apply(first).stale == 1
    desk.regate("UA", "knots", score="70")
    assert desk.issue() == 1


def test_a_corrected_day_leaves_an_award_alone_that_a_plan_or_a_credential_has(desk: Desk) -> None:
    desk.offer([passed("UA")])
    plan = desk.planned()
    desk.offer([passed("UA", done="2026-02-09")], day=NEXT)
    desk.earn(NEXT)
    assert str(desk.value("select awarded_on from ledger.award")) == "2026-02-01"
    desk.apply(plan)
    third = NEXT + timedelta(days=1)
    desk.offer([passed("UA", done="2026-02-10")], day=third)
    desk.earn(third)
    assert desk.rows(
        "select w.awarded_on = c.awarded_on from ledger.award w join ledger.credential c using (award_id)"
    ) == [(True,)]

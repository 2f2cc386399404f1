"""Carrying out a plan: sign, then check, then record; whole chunks or nothing; what went stale is held."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from credential_pipeline.credential import identifiers
from credential_pipeline.credential.keys import Signer
from credential_pipeline.credential.multikey import decode_ed25519_public
from credential_pipeline.credential.proof import verify_proof
from credential_pipeline.errors import Terminal
from credential_pipeline.issue.chunks import ApplyResult
from credential_pipeline.issue.compose import CheckError
from credential_pipeline.issue.plans import open_plans
from credential_pipeline.report.reconcile import reconcile
from credential_pipeline.store.document_form import store_document
from credential_pipeline_tests.issue.desk import (
    ACHIEVEMENTS,
    AS_OF,
    DAY,
    Desk,
    achievement,
    institution,
    passed,
    written,
)

NewDesk = Callable[..., Desk]
NEXT = DAY + timedelta(days=1)
LATER = AS_OF + timedelta(days=1)
ROWS = [passed(f"U{n}", course) for n in range(4) for course in ("knots", "safety")]


def test_an_applied_plan_has_recorded_all_that_belongs_to_a_credential(desk: Desk) -> None:
    desk.offer([*ROWS, passed("U9", "diploma")])
    plan = desk.planned()
    assert desk.apply(plan, run_id="run-2") == ApplyResult(issued=8, stale=0)
    assert desk.value("select state from ledger.plan where plan_id = :plan", plan=plan) == "applied"
    assert desk.rows(
        "select c.credential_id, c.award_id, c.cause, c.person_id, c.achievement, c.ordinal, c.as_of, c.run_id,"
        " c.awarded_on, s.state, s.version, e.seq, e.kind, m.kind"
        " from ledger.credential c join ledger.credential_state s using (credential_id)"
        " join ledger.event e using (credential_id) join outbox.message m using (credential_id) order by ordinal"
    ) == desk.rows(
        "select credential_id, award_id, 'issue', l.person_id, l.achievement, ordinal, cast(:as_of as timestamptz),"
        " 'run-2', w.awarded_on, 'current', 1, 1, 'issued', 'issued'"
        " from ledger.plan_line l join ledger.award w using (award_id)"
        " where action = 'create' and l.state = 'applied' and l.run_id = 'run-2' order by ordinal",
        as_of=AS_OF,
    )
    for credential, digest, public in desk.rows(
        "select credential_id, document_sha256, public_id from ledger.credential"
    ):
        assert hashlib.sha256(desk.documents()[credential]).digest() == digest
        assert public == identifiers.public_id(desk.secrets.secret("id").value, credential)


def test_every_credential_is_signed_twice_at_as_of_and_dated_by_its_day(desk: Desk) -> None:
    desk.offer(ROWS)
    desk.issue()
    key = decode_ed25519_public(desk.signer(AS_OF).public_key_multibase)
    assert len(desk.credentials()) == 8
    for document in desk.credentials():
        rdfc, jcs = document["proof"]
        assert (rdfc["cryptosuite"], jcs["cryptosuite"]) == ("eddsa-rdfc-2022", "eddsa-jcs-2022")
        for proof in (rdfc, jcs):
            verify_proof(document, proof, key)
        assert rdfc["created"] == jcs["created"] == document["validFrom"] == "2026-03-02T10:00:00Z"
        assert document["awardedDate"] == "2026-02-01T00:00:00Z"


def test_nothing_is_issued_twice(desk: Desk) -> None:
    desk.offer(ROWS)
    plan = desk.planned()
    desk.apply(plan)
    before = written(desk.engine)
    assert desk.apply(plan, run_id="run-2") == ApplyResult(0, 0)
    assert desk.issue(as_of=LATER) == 0
    assert written(desk.engine) == before


ALLOCATED = (
    "select credential_id, public_id, list_number, status_index, as_of, awarded_on, valid_until, key_id"
    " from ledger.credential order by 1"
)


def test_the_result_does_not_depend_on_the_size_of_chunks_nor_on_a_death_between_them(new_desk: NewDesk) -> None:
    whole, ones, killed = (new_desk() for _ in range(3))
    for desk in (whole, ones, killed):
        desk.offer(ROWS)
    assert whole.issue() == 8
    assert ones.issue(chunk=1) == 8

    plan, signed = killed.planned(), []

    def dies_at_the_third_chunk(as_of: datetime) -> Signer:
        signed.append(as_of)
        if len(signed) == 3:
            raise ConnectionError("the key service is gone")
        return killed.signer(as_of)

    with pytest.raises(ConnectionError):
        killed.apply(plan, chunk=3, signer_at=dies_at_the_third_chunk)
    assert killed.count("ledger.credential") == killed.count("ledger.event") == 6
    assert open_plans(killed.engine) == [plan]
    assert killed.apply(plan).issued == 2
    assert set(signed) == {AS_OF}
    for other in (ones, killed):
        assert other.documents() == whole.documents()
        assert other.rows(ALLOCATED) == whole.rows(ALLOCATED)


def test_two_runs_that_apply_at_once_issue_each_credential_once(desk: Desk) -> None:
    desk.offer(ROWS)
    plan = desk.planned()
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda run: desk.apply(plan, run_id=run, chunk=1), ("run-a", "run-b")))
    assert sum(result.issued for result in results) == 8
    assert desk.count("ledger.credential") == desk.count("ledger.event") == desk.count("outbox.message") == 8
    assert desk.value("select state from ledger.plan") == "applied"


STALE: dict[str, Callable[[Desk], None]] = {
    "the row was corrected": lambda desk: desk.regate("U1", "knots", score="99"),
    "the row is accepted no more": lambda desk: desk.write(
        "delete from accepted.row where fields->>'person' = 'U1' and fields->>'course' = 'knots'"
    ),
}


@pytest.mark.parametrize("case", STALE)
def test_a_line_whose_row_changed_is_held_and_the_others_are_issued(desk: Desk, case: str) -> None:
    desk.offer(ROWS)
    plan = desk.planned()
    STALE[case](desk)
    assert desk.apply(plan) == ApplyResult(issued=7, stale=1)
    assert desk.value("select state from ledger.plan") == "applied"
    assert desk.rows(
        "select l.state, l.reasons, h.state, h.action, h.reasons, h.plan_id from ledger.plan_line l"
        " join ledger.hold h using (award_id, cause) where l.state <> 'applied'"
    ) == [("held", ["earned", "stale"], "waiting", "create", ["stale"], plan)]
    held = "select award_id from ledger.hold where award_id in (select award_id from ledger.credential)"
    assert desk.rows(held) == []


def test_what_was_held_as_stale_is_planned_afresh_and_issued_as_it_is_now(desk: Desk) -> None:
    desk.offer([passed("UA")])
    plan = desk.planned()
    desk.regate("UA", "knots", score="99")
    desk.apply(plan)
    assert desk.issue(as_of=LATER) == 1
    [document] = desk.credentials()
    assert document["credentialSubject"]["result"][0]["value"] == "99"
    assert document["validFrom"] == "2026-03-03T10:00:00Z"
    assert desk.rows("select state, decided_by from ledger.hold") == [("released", "pipeline")]


def test_a_line_that_was_applied_before_its_row_changed_is_exempt(desk: Desk) -> None:
    desk.offer([passed("UA")])
    desk.issue()
    desk.regate("UA", "knots", score="99")
    assert desk.issue(as_of=LATER) == 0
    assert desk.holds() == []


def test_a_stale_line_leaves_its_place_in_the_status_list_empty(new_desk: NewDesk) -> None:
    """The others keep the index they would have had: a place is the plan's, not the chunk's."""
    undisturbed, desk = new_desk(), new_desk()
    for each in (undisturbed, desk):
        each.offer(ROWS)
    undisturbed.issue()
    plan = desk.planned()
    desk.regate("U1", "knots", score="99")
    desk.apply(plan)
    assert set(desk.rows(ALLOCATED)) < set(undisturbed.rows(ALLOCATED))


REFUSED = {
    "not approved": "update ledger.plan set state = 'planned'",
    "approved in name only": "delete from ledger.approval",
    "changed after it was approved": "update ledger.plan set hash = sha256(hash)",
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_plan_that_nobody_approved_as_it_is_issues_nothing(desk: Desk, case: str) -> None:
    desk.offer(ROWS)
    plan = desk.planned()
    desk.write(REFUSED[case])
    with pytest.raises(Terminal, match=rf"plan {plan} is \w+ and not approved with the hash it has now"):
        desk.apply(plan)
    assert desk.count("ledger.credential") == 0


def test_an_unknown_plan_is_refused(desk: Desk) -> None:
    with pytest.raises(Terminal, match=r"no plan [-0-9a-f]{36} in this ledger"):
        desk.apply(uuid4())


@dataclass
class FaultySigner:
    """A key service whose n-th signature is wrong; two signatures a credential, the rdfc proof's first."""

    sound: Signer
    fault_at: int
    signed: int = 0

    @property
    def verification_method(self) -> str:
        return self.sound.verification_method

    @property
    def public_key_multibase(self) -> str:
        return self.sound.public_key_multibase

    def sign(self, data: bytes) -> bytes:
        self.signed += 1
        signature = self.sound.sign(data)
        return signature[:-1] + bytes([signature[-1] ^ 1]) if self.signed == self.fault_at else signature


ALL = {"policies": {"verify": "all"}}
# (policy, which of the 20 signatures is wrong): the last credential is not the first of its achievement.
FAULTS = {
    "the first rdfc proof": ({}, 1),
    "the first jcs proof": ({}, 2),
    "the last jcs proof, verify: all": (ALL, 20),
    "an rdfc proof in the middle, verify: all": (ALL, 9),
    "the last rdfc proof, verify: all": (ALL, 19),
}


@pytest.mark.parametrize("case", FAULTS)
def test_a_wrong_signature_is_noticed_before_anything_of_its_chunk_is_recorded(new_desk: NewDesk, case: str) -> None:
    policies, fault_at = FAULTS[case]
    desk = new_desk(institution(**policies))
    desk.offer([passed(f"U{n}") for n in range(10)])
    plan = desk.planned()
    before = written(desk.engine)
    with pytest.raises(CheckError, match=r"credential [-0-9a-f]{36}: .*nothing of this chunk was recorded"):
        desk.apply(plan, signer_at=lambda as_of: FaultySigner(desk.signer(as_of), fault_at))
    after = written(desk.engine)
    # Positions and dictionaries are the plan's, whatever becomes of its chunks.
    changed = {table for table in before if before[table] != after[table]}
    assert changed == {"status_cursor", "status_block", "status_list", "document_dictionary"}
    assert desk.apply(plan).issued == 10


def test_chunks_before_a_wrong_signature_stay_recorded(desk: Desk) -> None:
    desk.offer([passed(f"U{n}") for n in range(4)])
    plan = desk.planned()
    signer = FaultySigner(desk.signer(AS_OF), fault_at=6)
    with pytest.raises(CheckError):
        desk.apply(plan, signer_at=lambda as_of: signer, chunk=2)
    assert desk.rows("select state, count(*) from ledger.plan_line group by 1 order by 1") == [
        ("applied", 2),
        ("planned", 2),
    ]
    assert desk.count("ledger.credential") == 2


def test_a_document_that_was_changed_in_the_database_is_found(desk: Desk) -> None:
    desk.offer([passed("UA"), passed("UB")])
    desk.issue()
    before = {difference.term for difference in reconcile(desk.engine, sample=None).differences}
    [(credential, data), _] = desk.documents().items()
    changed = store_document(data.replace(b'"70"', b'"99"'))[1]
    assert data.count(b'"70"') == 1
    desk.write("update ledger.credential set document = :d where credential_id = :c", d=changed, c=credential)
    [found] = [d for d in reconcile(desk.engine, sample=None).differences if d.term not in before]
    assert str(credential) in found.where


def test_an_edit_of_the_catalogue_is_for_the_next_plan(desk: Desk) -> None:
    desk.offer([passed("UA")])
    plan = desk.planned()
    desk.institution = institution(achievement("knots", name="Renamed"), *ACHIEVEMENTS[1:])
    desk.apply(plan)
    [document] = desk.credentials()
    assert document["name"] == "Knots"


def test_secrets_that_are_rotated_between_chunks_are_recorded_with_each_credential(desk: Desk) -> None:
    desk.offer(ROWS)
    plan = desk.planned()
    rotated: list[int] = []

    def rotates_after_the_first_chunk(as_of: datetime) -> Signer:
        if desk.count("ledger.credential") and not rotated:
            rotated.extend(desk.secrets.rotate(kind).version for kind in ("id", "salt", "status"))
        return desk.signer(as_of)

    # A chunk reads its secrets before it asks for the key: the second still has the old ones.
    assert desk.apply(plan, chunk=3, signer_at=rotates_after_the_first_chunk).issued == 8
    assert rotated == [2, 2, 2]
    found = desk.rows("select credential_id, public_id, id_secret_version, salt_secret_version from ledger.credential")
    assert sorted(version for *_, version, _ in found) == [1] * 6 + [2] * 2
    for credential, public, ids, salts in found:
        assert ids == salts
        assert public == identifiers.public_id(desk.secrets.secret("id", ids).value, credential)
    assert desk.rows("select distinct secret_version from ledger.status_list") == [(1,)]


def test_an_index_is_that_of_the_plans_block_and_the_lists_secret(desk: Desk) -> None:
    desk.offer(ROWS)
    desk.issue()
    secret = desk.secrets.secret("status", 1).value
    found = desk.rows(
        "select l.status_ordinal, k.purpose, c.status_index from ledger.credential c"
        " join ledger.plan_line l using (plan_id, ordinal) join ledger.status_list k using (list_number)"
    )
    assert len(found) == 8
    for ordinal, purpose, index in found:
        assert (0, index) == identifiers.status_place(secret, purpose, ordinal)


EAST = {
    "Auckland": ("Pacific/Auckland", datetime(2026, 3, 1, 20, tzinfo=UTC), "2026-03-02"),
    "London in summer": ("Europe/London", datetime(2026, 6, 30, 23, 30, tzinfo=UTC), "2026-07-01"),
}


@pytest.mark.parametrize("case", EAST)
def test_what_was_earned_on_a_day_that_utc_has_not_reached_keeps_no_other_line_back(
    new_desk: NewDesk, case: str
) -> None:
    zone, as_of, today = EAST[case]
    desk = new_desk(institution(time_zone=zone))
    desk.offer([passed("UA"), passed("UB", done=today)])
    assert desk.issue(as_of=as_of) == 1
    assert desk.holds() == [("create", "waiting", ["awarded_after_as_of"])]
    assert desk.issue(as_of=as_of + timedelta(hours=12)) == 1
    assert f"{today}T00:00:00Z" in {document["awardedDate"] for document in desk.credentials()}


def test_the_next_days_batch_makes_no_line_stale(desk: Desk) -> None:
    desk.offer([passed("UA")])
    plan = desk.planned()
    desk.offer([passed("UB")], day=NEXT)
    assert desk.apply(plan) == ApplyResult(issued=1, stale=0)

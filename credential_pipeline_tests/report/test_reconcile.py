"""Reconciliation on a ledger that balances, and on the same one broken in every way we know of."""

from __future__ import annotations

from dataclasses import asdict
from datetime import date

import pytest
from sqlalchemy import Engine, text

from credential_pipeline.report.reconcile import Reconciliation, reconcile
from credential_pipeline_tests.report import books

DAY = date.fromisoformat(books.DAY)


def test_balances(engine: Engine) -> None:
    objects = books.write(engine)
    for day in (None, DAY):
        found = reconcile(engine, day, read_object=objects.get)
        assert found.differences == ()
        assert found.balanced
        terms = {k: v for k, v in asdict(found).items() if isinstance(v, int)}
        assert terms == {
            "balanced": True, "landed": 12, "accepted": 10, "quarantined": 2, "earning": 9, "skipped": 1, "earned": 9,
            "issued": 8, "held": 1, "credentials": 8, "erased": 0, "published": 8, "documents_compared": 8,
            "objects_compared": 17, "erased_rows": 0,
        }  # fmt: skip
        assert [(d.dataset, d.evidence, d.landed) for d in found.datasets] == [
            ("lms.done", True, 12), ("lms.users", False, 1)
        ]  # fmt: skip


def test_empty_database_balances(engine: Engine) -> None:
    assert reconcile(engine).balanced
    assert reconcile(engine, DAY).balanced


def test_another_day_is_empty_and_balances(engine: Engine) -> None:
    books.write(engine)
    found = reconcile(engine, date(2026, 3, 3))
    assert found.balanced
    assert (found.landed, found.earned, found.credentials) == (0, 0, 0)


def test_writes_nothing(engine: Engine) -> None:
    books.write(engine)
    reconcile(engine)
    with engine.connect() as connection:
        assert connection.scalar(text("select count(*) from pg_class where relname like 'scope%'")) == 0


# term: what a superuser does to the ledger, (expected, found)
BROKEN = {
    "landed rows of a file": ("update landed.file set row_count = 13 where name = 'done.csv'", (0, 1)),
    "landed = accepted + quarantined": (
        "delete from quarantine.reason where row_id = (select row_id from landed.row where row_number = 11)", (13, 12),
    ),
    "rows both accepted and quarantined": (
        ("insert into quarantine.reason select row_id, 'x', '', dataset, null, '', gate_version, day, run_id"
        " from accepted.row where source_key = 'lms:2'"), (0, 1),
    ),
    "accepted = earning + skipped": ("delete from ledger.decision where outcome = 'skipped'", (10, 9)),
    "rows both skipped whole and decided otherwise": (
        ("insert into ledger.decision select row_id, '', 'skipped', 'no_rule', null, fields_hash, catalogue_version,"
        " day, run_id from ledger.decision where award_id = uuid_of(2, 4)"), (0, 1),
    ),
    "decisions on what a row said before": (
        "update accepted.row set fields_hash = sha256('other') where source_key = 'lms:5'", (0, 1),
    ),
    "decisions without an award or a reason": (
        "update ledger.decision set reason = null where outcome = 'skipped'", (0, 1),
    ),
    "earned = issued + held": ("update ledger.hold set state = 'released'", (9, 8)),
    "awards both issued and held": (
        ("insert into ledger.hold (award_id, cause, action, reasons, state, plan_id)"
        " values (uuid_of(2, 1), 'issue', 'create', '[]', 'rejected', uuid_of(4, 1))"), (0, 1),
    ),
    "credentials = applied plan lines": (
        "update ledger.plan_line set credential_id = uuid_of(3, 99) where ordinal = 2", (8, 7),
    ),
    "applied plan lines without a credential": (
        ("insert into ledger.plan_line"
        " (plan_id, ordinal, action, award_id, credential_id, cause, reasons, inputs, state)"
        " values (uuid_of(4, 1), 70, 'create', uuid_of(2, 9), uuid_of(3, 9), 'issue', '[]', '{}', 'applied')"), (0, 1),
    ),
    "open lines of applied plans": (
        ("insert into ledger.plan_line"
        " (plan_id, ordinal, action, award_id, credential_id, cause, reasons, inputs, state)"
        " values (uuid_of(4, 1), 70, 'create', uuid_of(2, 9), uuid_of(3, 9), 'issue', '[]', '{}', 'planned')"), (0, 1),
    ),
    "credentials = approved": ("update ledger.approval set plan_hash = sha256('another plan')", (8, 0)),
    "credentials = states": ("delete from ledger.credential_state where credential_id = uuid_of(3, 1)", (8, 7)),
    "credentials = issued events": ("delete from ledger.event where seq = 1 and credential_id = uuid_of(3, 1)", (8, 7)),
    "gaps in the events of a credential": (
        "update ledger.event set seq = 7 where seq = 2 and credential_id = uuid_of(3, 6)", (0, 1),
    ),
    "credentials = messages": ("delete from outbox.message where credential_id = uuid_of(3, 8)", (8, 7)),
    "credentials = places in status lists": (
        "update ledger.credential set status_index = 131072 where credential_id = uuid_of(3, 8)", (8, 7),
    ),
    "credentials that share a status index": (
        ("alter table ledger.credential drop constraint uq_credential_list_number_status_index;"
        "update ledger.credential set status_index = 1 where credential_id = uuid_of(3, 2)"), (0, 2),
    ),
    "credentials = published documents": (
        "delete from ledger.publication where kind = 'credential' and credential_id = uuid_of(3, 7)", (8, 7),
    ),
    "published documents = recorded documents": (
        ("update ledger.publication set digest = sha256('x')"
        " where kind = 'credential' and credential_id = uuid_of(3, 7)"), (0, 1),
    ),
    "published JWTs = recorded JWTs": (
        ("insert into ledger.publication (target, path, kind, credential_id, digest, version, size_bytes, run_id)"
        " select 'site', 'credentials/' || public_id || '.jwt', 'jwt', credential_id, sha256('x'), 1, 1, 'run'"
        " from ledger.credential where credential_id = uuid_of(3, 7)"), (0, 1),
    ),
    "erased credentials still published": (
        ("update ledger.credential set document = null where credential_id = uuid_of(3, 7);"
        "update ledger.credential_state set state = 'withdrawn' where credential_id = uuid_of(3, 7)"), (0, 1),
    ),
    "credentials = published states": (
        ("update ledger.credential_state set version = 2, state = 'revoked' where credential_id = uuid_of(3, 7);"
        "insert into ledger.event (credential_id, seq, kind, actor, run_id)"
        " values (uuid_of(3, 7), 3, 'revoked', 'x', 'run')"), (8, 7),
    ),
    "versions of states = events": (
        "delete from ledger.event where kind = 'revoked'", (8, 7),
    ),
    "erased rows are empty": (
        ("update landed.row set problems = '[\"erased\"]', cells = '{\"name\": \"x\"}'"
        " where dataset = 'lms.done' and row_number = 11"), (0, 1),
    ),
    "erased documents = withdrawn credentials": (
        "update ledger.credential_state set state = 'withdrawn' where credential_id = uuid_of(3, 3)", (0, 1),
    ),
    "published documents = published events": (
        "delete from ledger.event where seq = 2 and credential_id = uuid_of(3, 1)", (0, 1),
    ),
    "status lists = published status lists": ("delete from ledger.publication where kind = 'status_list'", (1, 0)),
    "documents = their SHA-256": (
        ("update ledger.credential set document = set_byte(document, 20, get_byte(document, 20) # 1)"
        " where credential_id = uuid_of(3, 2)"), (8, 7),
    ),
}  # fmt: skip


def test_an_erased_person_who_holds_something_is_a_difference_of_the_whole(
    engine: Engine, server_url: str, database_url: str
) -> None:
    books.write(engine)
    books.by_hand(
        server_url, database_url,
        "insert into ledger.erasure (person_id, actor, reason, counts, run_id)"
        " values (uuid_of(1, 5), 'x', 'x', '{}', 'run')",
    )  # fmt: skip
    (difference,) = reconcile(engine).differences
    assert difference.term == "erased persons hold nothing"
    assert difference.where == f"person {books.uuid(1, 5)}"


@pytest.mark.parametrize("term", BROKEN)
def test_finds_and_names(engine: Engine, server_url: str, database_url: str, term: str) -> None:
    books.write(engine)
    statement, (expected, number) = BROKEN[term]
    books.by_hand(server_url, database_url, statement)
    for day in (None, DAY):
        found = reconcile(engine, day)
        assert not found.balanced
        assert {d.term: (d.expected, d.found) for d in found.differences} == {term: (expected, number)}
        (difference,) = found.differences
        assert difference.remedy
        assert difference.where.split()[-1] in str(difference)


ORPHANS = (
    (
        "insert into ledger.publication (target, path, kind, digest, version, size_bytes, run_id)"
        " values ('site', 'credentials/stranger.json', 'credential', sha256('x'), 1, 1, 'run')"
    ),
    (
        "insert into ledger.publication (target, path, kind, credential_id, digest, version, size_bytes, run_id)"
        " values ('site', 'state/stranger.json', 'state', uuid_of(3, 1), sha256('x'), 1, 1, 'run')"
    ),
)


@pytest.mark.parametrize("statement", ORPHANS)
def test_an_object_of_no_credential_is_a_difference_of_the_whole(
    engine: Engine, server_url: str, database_url: str, statement: str
) -> None:
    books.write(engine)
    books.by_hand(server_url, database_url, statement)
    assert [d.term for d in reconcile(engine).differences] == ["published objects of no credential"]
    assert reconcile(engine, DAY).balanced


def test_a_credential_that_no_plan_made_is_named(engine: Engine) -> None:
    books.write(engine)
    with engine.begin() as connection:
        connection.execute(
            text(
                "insert into ledger.credential select gen_random_uuid(), award_id, 'again', 'p', 1, 1, person_id,"
                " achievement, plan_id, 999, key_id, 1, 999, as_of, awarded_on, valid_until, document, document_form,"
                " document_sha256, run_id from ledger.credential limit 1"
            )
        )
    found = {one.term: (one.expected, one.found) for one in reconcile(engine, DAY).differences}
    assert found["credentials = applied plan lines"] == (9, 8)


NAMES_NOTHING = {
    "an event": "insert into ledger.event (credential_id, seq, kind, actor, run_id)"
    " values (gen_random_uuid(), 1, 'issued', 'x', 'run')",
    "a message": "insert into outbox.message (message_id, kind, credential_id, person_id)"
    " select gen_random_uuid(), 'issued', gen_random_uuid(), person_id from identity.person limit 1",
    "a plan line's credential before": "update ledger.plan_line set prior_id = gen_random_uuid() where ordinal = 1",
    "a plan line's award": "update ledger.plan_line set award_id = gen_random_uuid() where ordinal = 2",
    "a credential's person": "update ledger.credential set person_id = gen_random_uuid()"
    " where credential_id = uuid_of(3, 1)",
}


@pytest.mark.parametrize("case", NAMES_NOTHING)
def test_a_row_that_names_what_is_not_there_is_named(
    engine: Engine, server_url: str, database_url: str, case: str
) -> None:
    books.write(engine)
    books.by_hand(server_url, database_url, NAMES_NOTHING[case])
    terms = {one.term for one in reconcile(engine).differences}
    assert any(term.startswith("rows that name a") and term.endswith("which is not there") for term in terms), terms


def test_two_errors_that_cancel_each_other_are_both_found(engine: Engine, server_url: str, database_url: str) -> None:
    """Landed is still accepted + quarantined by number: one row has no verdict and another has two."""
    books.write(engine)
    for term in ("landed = accepted + quarantined", "rows both accepted and quarantined"):
        books.by_hand(server_url, database_url, BROKEN[term][0])
    assert len(reconcile(engine).differences) == 2


def objects_of(found: Reconciliation) -> dict[str, str]:
    return {d.term: d.where for d in found.differences}


def test_objects(engine: Engine) -> None:
    objects = books.write(engine)
    assert reconcile(engine, read_object=objects.get, sample=None).balanced

    gone = {**objects}
    gone.pop("state/public2.json")
    where = f"site: object state of credential {books.credential(2)}"
    assert objects_of(reconcile(engine, read_object=gone.get)) == {"manifest = objects": where}

    changed = {**objects, "credentials/public4.json": b"{}"}
    where = f"site: object credential of credential {books.credential(4)}"
    assert objects_of(reconcile(engine, read_object=changed.get)) == {"manifest = bytes of objects": where}


@pytest.mark.parametrize(("indices", "wrong"), [(set(), 1), ({3, 100_000}, 1), ({4}, 2)])
def test_status_bits_are_the_states(engine: Engine, indices: set[int], wrong: int) -> None:
    objects = {**books.write(engine), "status/1.json": books.status_list(indices)}
    found = objects_of(reconcile(engine, read_object=objects.get))
    assert found["status bits = states"] == f"site: status/1.json, {wrong} bits differ"
    assert "manifest = bytes of objects" in found


def test_a_status_list_that_cannot_be_read(engine: Engine) -> None:
    objects = {**books.write(engine), "status/1.json": b"{}"}
    assert "status bits = states" in objects_of(reconcile(engine, read_object=objects.get))


def test_every_target_of_the_manifest_is_checked(engine: Engine) -> None:
    books.write(engine)
    with engine.begin() as connection:
        connection.execute(
            text(
                "insert into ledger.publication select 's3://b', path, kind, credential_id, digest, version,"
                " size_bytes, valid_until, run_id from ledger.publication where path <> 'credentials/public1.json'"
            )
        )
    found = reconcile(engine)
    assert objects_of(found) == {"credentials = published documents": f"s3://b: credential {books.credential(1)}"}
    assert found.published == 7
    assert reconcile(engine, target="site").balanced


def test_nothing_published_at_all(engine: Engine) -> None:
    books.write(engine)
    with engine.begin() as connection:
        connection.execute(text("delete from ledger.publication"))
    found = reconcile(engine)
    assert {d.term for d in found.differences} == {
        "credentials = published documents", "credentials = published states", "status lists = published status lists",
    }  # fmt: skip
    assert found.published == 0


def test_a_sample_compares_that_many(engine: Engine) -> None:
    objects = books.write(engine)
    found = reconcile(engine, read_object=objects.get, sample=3, seed=7)
    assert found.documents_compared == 3
    assert 1 <= found.objects_compared <= 4


def test_merged_persons_count_once(engine: Engine) -> None:
    """Award 2 became a duplicate of award 1: its credential stays, and the day earned one award less."""
    books.write(engine)
    with engine.begin() as connection:
        connection.execute(
            text("update ledger.award set duplicate_of = :one where award_id = :two"),
            {"one": books.award(1), "two": books.award(2)},
        )
    for day in (None, DAY):
        found = reconcile(engine, day)
        assert found.balanced
        assert (found.earned, found.issued, found.held, found.credentials) == (8, 7, 1, 8)


def test_evidence_can_be_named(engine: Engine) -> None:
    """A dataset without any rule or decision is evidence only if somebody says so."""
    books.write(engine)
    found = reconcile(engine, evidence=["lms.done", "lms.users"])
    assert {d.term for d in found.differences} == {"accepted = earning + skipped"}

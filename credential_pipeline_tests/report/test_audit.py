"""The audit export: both logs as one, in order, by subject and time; and nobody but their owner can touch them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import ProgrammingError

from credential_pipeline.errors import Terminal
from credential_pipeline.report.audit import as_json_line, audit_entries
from credential_pipeline_tests.report import books

# Two logs, written in turn: (log, instant, credential or subject, kind).
HISTORY = (
    ("action", "10:00", "plan:00000000-0000-0004-0000-000000000001", "approved"),
    ("event", "10:01", 1, "suspended"),
    ("action", "10:02", "key:key-1", "rotated"),
    ("event", "10:03", 2, "revoked"),
    ("event", "10:04", 1, "reinstated"),
    ("action", "10:05", "person:00000000-0000-0001-0000-000000000001", "erased"),
)


@pytest.fixture
def audited(engine: Engine) -> Engine:
    """Books whose own events are of before, and a history on top."""
    books.write(engine)
    with engine.begin() as connection:
        for n, (log, minute, subject, kind) in enumerate(HISTORY):
            at = datetime.fromisoformat(f"2030-01-01T{minute}:00+00:00")
            if log == "event":
                connection.execute(
                    text(
                        "insert into ledger.event (credential_id, seq, kind, actor, reason, run_id, happened_at)"
                        " values (:c, :seq, :kind, 'registrar', 'a reason', 'run-9', :at)"
                    ),
                    {"c": books.credential(int(subject)), "seq": 10 + n, "kind": kind, "at": at},
                )
            else:
                connection.execute(
                    text(
                        "insert into ledger.action (kind, subject, actor, detail, run_id, happened_at)"
                        " values (:kind, :subject, 'registrar', '{\"rows\": 3}', 'run-9', :at)"
                    ),
                    {"kind": kind, "subject": subject, "at": at},
                )
    return engine


SINCE = datetime(2030, 1, 1, tzinfo=UTC)


def told(engine: Engine, **options: Any) -> list[tuple[str, str]]:
    """(log, kind) of the history's entries, through JSON Lines and back."""
    lines = [as_json_line(e) for e in audit_entries(engine, **{"since": SINCE, **options})]
    return [(entry["log"], entry["kind"]) for entry in map(json.loads, lines)]


def test_both_logs_are_one_in_the_order_it_happened(audited: Engine) -> None:
    assert told(audited) == [(log, kind) for log, _, _, kind in HISTORY]
    everything = list(audit_entries(audited))
    assert len(everything) == 2 * books.CREDENTIALS + 1 + len(HISTORY)
    assert [e["at"] for e in everything] == sorted(e["at"] for e in everything)


def test_an_entry_says_who_did_what_when_and_why(audited: Engine) -> None:
    approved, suspended, *_ = (json.loads(as_json_line(e)) for e in audit_entries(audited, since=SINCE))
    assert {**approved, "id": 0} == {
        "at": "2030-01-01T10:00:00+00:00", "log": "action", "id": 0, "kind": "approved", "actor": "registrar",
        "subject": "plan:00000000-0000-0004-0000-000000000001", "detail": {"rows": 3}, "run_id": "run-9",
    }  # fmt: skip
    assert {**suspended, "id": 0} == {
        "at": "2030-01-01T10:01:00+00:00", "log": "event", "id": 0, "kind": "suspended", "actor": "registrar",
        "subject": f"credential:{books.credential(1)}", "reason": "a reason", "run_id": "run-9", "seq": 11,
    }  # fmt: skip


def test_since_and_until_cut_a_half_open_time(audited: Engine) -> None:
    cut = {"since": datetime(2030, 1, 1, 10, 2, tzinfo=UTC), "until": datetime(2030, 1, 1, 10, 4, tzinfo=UTC)}
    assert told(audited, **cut) == [("action", "rotated"), ("event", "revoked")]
    assert told(audited, since=datetime(2031, 1, 1, tzinfo=UTC)) == []


SUBJECTS = {
    f"credential:{books.credential(1)}": ["suspended", "reinstated"],
    f"award:{books.award(2)}": ["revoked"],
    "person:00000000-0000-0001-0000-000000000001": ["suspended", "reinstated", "erased"],
    "plan:00000000-0000-0004-0000-000000000001": ["approved", "suspended", "revoked", "reinstated"],
    "key:key-1": ["suspended", "rotated", "revoked", "reinstated"],
    "hold:00000000-0000-0004-0000-000000000001": [],
    "key:key-2": [],
}


@pytest.mark.parametrize("subject", SUBJECTS)
def test_a_subject_brings_its_actions_and_the_events_of_its_credentials(audited: Engine, subject: str) -> None:
    assert [kind for _, kind in told(audited, subject=subject)] == SUBJECTS[subject]


@pytest.mark.parametrize("subject", ["", "key-1", "plan:", "plan:17", "room:1", "credential:' or true --"])
def test_what_is_no_subject_is_refused(audited: Engine, subject: str) -> None:
    with pytest.raises(Terminal, match="is no subject"):
        list(audit_entries(audited, subject=subject))


CHANGES = ("update {} set actor = 'x'", "delete from {}", "truncate {} cascade", "drop table {} cascade",
           "alter table {} disable trigger append_only")  # fmt: skip


@pytest.mark.parametrize("table", ["ledger.event", "ledger.action"])
@pytest.mark.parametrize("change", CHANGES)
def test_the_application_cannot_change_a_log(audited: Engine, table: str, change: str) -> None:
    before = list(audit_entries(audited))
    with audited.connect() as connection, pytest.raises(ProgrammingError, match=r"InsufficientPrivilege|must be owner"):
        connection.execute(text(change.format(table)))
    assert list(audit_entries(audited)) == before


@pytest.mark.parametrize("table", ["ledger.erasure", "ledger.tombstone"])
def test_the_application_cannot_forget_that_somebody_was_erased(audited: Engine, table: str) -> None:
    for change in (f"delete from {table}", f"update {table} set person_id = person_id"):
        with audited.connect() as connection, pytest.raises(ProgrammingError, match="InsufficientPrivilege"):
            connection.execute(text(change))

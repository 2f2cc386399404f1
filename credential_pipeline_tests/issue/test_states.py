"""Every move of a credential's state and every refusal, with its event and message; replays; two callers at once."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import product
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Connection, Engine, text

from credential_pipeline.issue.states import MOVES, Move, Moved, move, supersede
from credential_pipeline.publish.credentials import record_events
from credential_pipeline_tests.ledger import Ledger

STATES = ("current", "suspended", "superseded", "revoked", "withdrawn")
LISTS = {"revocation": 1, "suspension": 2}
ALLOWED = {
    ("current", "suspended"), ("current", "superseded"), ("current", "revoked"), ("current", "withdrawn"),
    ("suspended", "current"), ("suspended", "superseded"), ("suspended", "revoked"), ("suspended", "withdrawn"),
    ("superseded", "withdrawn"), ("revoked", "withdrawn"),
}  # fmt: skip
PATIENCE_SECONDS = 60


@dataclass
class Books:
    """Credentials made by hand, and what is written about them."""

    engine: Engine

    def credentials(self, number: int, purpose: str = "revocation", state: str = "current") -> list[UUID]:
        """New ones, in the order of their ids."""
        made = []
        with self.engine.begin() as connection:
            ledger = Ledger(connection)
            first = connection.scalar(text("select count(*) from ledger.credential"))
            for n in range(first, first + number):
                award = ledger.award(ledger.person(f"s:{n}"), "knots")
                made.append(ledger.credential(award, index=n, list_number=LISTS[purpose]))
            connection.execute(
                text("update ledger.credential_state set state = :state where credential_id = any(:ids)"),
                {"state": state, "ids": made},
            )
        return sorted(made)

    def move(self, *moves: Move, tell: bool = True) -> Moved:
        with self.engine.begin() as connection:
            return move(connection, moves, actor="registrar", run_id="run-2", tell=tell)

    def rows(self, query: str, **parameters: object) -> list[tuple[object, ...]]:
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(query), parameters)]

    def state(self, credential: UUID) -> tuple[object, ...]:
        """(state, version, reason, superseded_by)."""
        query = "select state, version, reason, superseded_by from ledger.credential_state where credential_id = :c"
        [found] = self.rows(query, c=credential)
        return found

    def events(self, credential: UUID) -> list[tuple[object, ...]]:
        """(seq, kind, actor, reason, detail)."""
        query = "select seq, kind, actor, reason, detail from ledger.event where credential_id = :c order by seq"
        return self.rows(query, c=credential)

    def messages(self, credential: UUID) -> list[tuple[object, ...]]:
        """(kind, occasion)."""
        query = "select kind, occasion from outbox.message where credential_id = :c order by occasion"
        return self.rows(query, c=credential)


@pytest.fixture
def books(engine: Engine) -> Books:
    with engine.begin() as connection:
        Ledger(connection).base()
    return Books(engine)


def published(connection: Connection, ids: list[UUID]) -> None:
    record_events(connection, ids, "site", "run-2")


def test_the_moves_are_those_of_the_standard_and_no_others(books: Books) -> None:
    (successor,) = books.credentials(1)
    ways = [way for way in product(STATES, STATES) if way[0] != way[1]]
    done = {}
    for purpose, (before, after) in product(LISTS, ways):
        (credential,) = books.credentials(1, purpose, before)
        by = successor if after == "superseded" else None
        moved = books.move(Move(credential, after, "for a test", by))
        done[purpose, before, after] = moved
        if moved.done:
            assert books.state(credential) == (after, 2, "for a test", by)
            kind = "reinstated" if after == "current" else after
            assert [event[:4] for event in books.events(credential)][1:] == [(2, kind, "registrar", "for a test")]
            assert books.messages(credential) == [(kind, 2)]
        else:
            assert books.state(credential)[:2] == (before, 1)
            assert len(books.events(credential)) == 1
            assert books.messages(credential) == []
            assert set(moved.refused) == {credential}
    allowed = {(purpose, *way) for purpose, way in product(LISTS, ALLOWED)} - {("revocation", "current", "suspended")}
    assert {way for way, moved in done.items() if moved.done} == allowed
    assert {(before, after) for before, ways_on in MOVES.items() for after in ways_on} == ALLOWED


def test_a_refusal_says_why(books: Books) -> None:
    (entry,) = books.credentials(1)
    (revoked,) = books.credentials(1, state="revoked")
    unknown = uuid4()
    moved = books.move(
        Move(entry, "suspended", "why"), Move(revoked, "current", "why"), Move(unknown, "revoked", "why")
    )
    assert moved.done == moved.before == ()
    assert "its status list is for revocation" in moved.refused[entry]
    assert moved.refused[revoked] == "it is revoked and cannot become current"
    assert moved.refused[unknown] == "no such credential"


def test_superseded_goes_with_a_successor(books: Books) -> None:
    one, two = books.credentials(2)
    moved = books.move(Move(one, "superseded", "by nothing"), Move(two, "revoked", "by another", one))
    assert set(moved.refused) == {one, two}
    assert books.rows("select distinct state from ledger.credential_state") == [("current",)]


def test_what_is_refused_holds_up_nothing_else(books: Books) -> None:
    good, other = books.credentials(2)
    (bad,) = books.credentials(1, state="withdrawn")
    moved = books.move(Move(bad, "revoked", "why"), Move(good, "revoked", "why"))
    assert moved.done == (good,)
    assert set(moved.refused) == {bad}
    assert books.state(other)[0] == "current"


def test_a_replay_writes_nothing(books: Books) -> None:
    one, two = books.credentials(2)
    books.move(Move(one, "revoked", "first"))
    replay = books.move(Move(one, "revoked", "second"), Move(two, "revoked", "second"))
    assert (replay.before, replay.done, replay.refused) == ((one,), (two,), {})
    assert books.state(one) == ("revoked", 2, "first", None)
    assert [event[1] for event in books.events(one)] == ["issued", "revoked"]
    assert books.messages(one) == [("revoked", 2)]


def test_another_successor_is_no_replay(books: Books) -> None:
    old, new, other = books.credentials(3)
    books.move(Move(old, "superseded", "corrected", new))
    assert books.move(Move(old, "superseded", "corrected", new)).before == (old,)
    assert set(books.move(Move(old, "superseded", "corrected", other)).refused) == {old}
    assert books.state(old)[3] == new
    assert books.events(old)[1][4] == {"superseded_by": str(new)}


def test_each_version_has_its_event_and_its_message(books: Books) -> None:
    (credential,) = books.credentials(1, "suspension")
    for to in ("suspended", "current", "suspended", "revoked"):
        assert books.move(Move(credential, to, f"to {to}")).done
    kinds = ["suspended", "reinstated", "suspended", "revoked"]
    assert [(seq, kind) for seq, kind, *_ in books.events(credential)] == list(enumerate(["issued", *kinds], 1))
    assert books.messages(credential) == list(zip(kinds, range(2, 6), strict=True))
    assert len(set(books.rows("select message_id from outbox.message"))) == 4


def test_a_move_that_is_told_otherwise_has_no_message(books: Books) -> None:
    (credential,) = books.credentials(1)
    assert books.move(Move(credential, "revoked", "why"), tell=False).done
    assert books.messages(credential) == []
    assert len(books.events(credential)) == 2


def test_a_move_that_is_rolled_back_leaves_nothing(books: Books) -> None:
    (credential,) = books.credentials(1)
    with books.engine.connect() as connection:
        assert move(connection, [Move(credential, "revoked", "why")], actor="a", run_id="r").done
        connection.rollback()
    assert books.state(credential)[:2] == ("current", 1)
    assert (len(books.events(credential)), books.messages(credential)) == (1, [])


def test_two_moves_in_one_transaction_count_on(books: Books) -> None:
    (credential,) = books.credentials(1, "suspension")
    with books.engine.begin() as connection:
        for to in ("suspended", "current"):
            move(connection, [Move(credential, to, "why")], actor="a", run_id="r")
    assert [event[0] for event in books.events(credential)] == [1, 2, 3]


def wait_until_somebody_waits(books: Books) -> None:
    waiting = (
        "select exists (select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock')"
    )
    deadline = time.monotonic() + PATIENCE_SECONDS
    with closing(books.engine.connect()) as watcher:
        while not watcher.scalar(text(waiting)):
            watcher.rollback()
            assert time.monotonic() < deadline, "the second caller does not wait for the first"


@pytest.mark.parametrize(
    ("first", "second"), [("revoked", "revoked"), ("suspended", "revoked"), ("revoked", "current")]
)
def test_the_second_of_two_callers_sees_what_the_first_did(books: Books, first: str, second: str) -> None:
    (credential,) = books.credentials(1, "suspension")
    with ThreadPoolExecutor(1) as pool:
        with books.engine.begin() as connection:
            move(connection, [Move(credential, first, "first")], actor="a", run_id="r")
            other = pool.submit(books.move, Move(credential, second, "second"))
            wait_until_somebody_waits(books)
        moved = other.result(PATIENCE_SECONDS)
    if first == second:
        assert moved == Moved(before=(credential,))
    elif first == "suspended":
        assert moved == Moved(done=(credential,))
    else:
        assert set(moved.refused) == {credential}
    assert [event[0] for event in books.events(credential)] == [1, 2, 3][: 2 + bool(moved.done)]


def test_callers_in_any_order_and_the_publisher_never_stand_in_each_others_way(books: Books) -> None:
    ids = books.credentials(300)
    with ThreadPoolExecutor(3) as pool:

        def publish() -> None:
            for start in range(0, len(ids), 100):
                with books.engine.begin() as connection:
                    published(connection, ids[start : start + 100])

        there = pool.submit(lambda: [books.move(*(Move(c, "revoked", "why") for c in ids[n::3])) for n in range(3)])
        back = pool.submit(lambda: books.move(*(Move(c, "revoked", "why") for c in reversed(ids))))
        printed = pool.submit(publish)
        there.result(PATIENCE_SECONDS)
        back.result(PATIENCE_SECONDS)
        printed.result(PATIENCE_SECONDS)
    events = books.rows(
        "select credential_id, array_agg(seq order by seq), array_agg(kind order by kind) from ledger.event group by 1"
    )
    assert len(events) == 300
    assert all(seqs == [1, 2, 3] and kinds == ["issued", "published", "revoked"] for _, seqs, kinds in events)
    assert books.rows("select kind, count(*) from outbox.message group by 1") == [("revoked", 300)]


def test_a_move_counts_on_from_the_publishers_event(books: Books) -> None:
    (credential,) = books.credentials(1)
    with ThreadPoolExecutor(1) as pool:
        with books.engine.begin() as connection:
            published(connection, [credential])
            other = pool.submit(books.move, Move(credential, "revoked", "why"))
            wait_until_somebody_waits(books)
        assert other.result(PATIENCE_SECONDS).done == (credential,)
    assert [event[:2] for event in books.events(credential)] == [(1, "issued"), (2, "published"), (3, "revoked")]


def lines_about(books: Books, priors: list[UUID]) -> tuple[UUID, list[int]]:
    """A plan whose lines replace these credentials, and the lines' ordinals."""
    with books.engine.begin() as connection:
        plan = connection.scalar(text("select plan_id from ledger.credential limit 1"))
        first = connection.scalar(text("select coalesce(max(ordinal), 0) + 1 from ledger.plan_line"))
        ordinals = list(range(first, first + len(priors)))
        connection.execute(
            text(
                "insert into ledger.plan_line"
                " (plan_id, ordinal, action, credential_id, prior_id, reasons, inputs, state)"
                " select :plan, ordinal, 'renew', gen_random_uuid(), prior, '[]', '{}', 'planned'"
                " from unnest(cast(:ordinals as int[]), cast(:priors as uuid[])) as l(ordinal, prior)"
            ),
            {"plan": plan, "ordinals": ordinals, "priors": priors},
        )
    assert isinstance(plan, UUID)
    return plan, ordinals


def test_what_the_lines_of_a_chunk_name_gives_way_to_what_they_made(books: Books) -> None:
    one, two = books.credentials(2)
    plan, ordinals = lines_about(books, [one, two])
    with books.engine.begin() as connection:
        done, refused = supersede(connection, plan, ordinals, reason="renew", actor="pipeline", run_id="run-2")
    assert (done, refused) == (2, {})
    made = books.rows("select prior_id, credential_id from ledger.plan_line where ordinal = any(:o)", o=ordinals)
    for prior, successor in made:
        assert isinstance(prior, UUID)
        assert books.state(prior) == ("superseded", 2, "renew", successor)
        seq, kind = books.events(prior)[-1][:2]
        assert (seq, kind) == (2, "superseded")
    assert not books.rows("select from outbox.message where kind = 'superseded'"), "the message of the new one tells"


def test_one_that_cannot_give_way_keeps_all_of_a_chunk_as_they_were(books: Books) -> None:
    [good], [ended] = books.credentials(1), books.credentials(1, state="revoked")
    plan, ordinals = lines_about(books, [good, ended])
    with books.engine.begin() as connection:
        done, refused = supersede(connection, plan, ordinals, reason="renew", actor="pipeline", run_id="run-2")
    assert (done, refused) == (0, {ended: "it is revoked and cannot become superseded"})
    assert books.state(good)[:2] == ("current", 1)


def test_a_prior_that_has_no_state_is_not_counted(books: Books) -> None:
    [good] = books.credentials(1)
    plan, ordinals = lines_about(books, [good, uuid4()])
    with books.engine.begin() as connection:
        done, refused = supersede(connection, plan, ordinals, reason="renew", actor="pipeline", run_id="run-2")
    assert (done, refused) == (1, {}), "who asks compares with the priors it knows of"

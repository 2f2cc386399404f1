"""Positions in status lists: contiguous, never given back, and no two credentials at one index."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from uuid import UUID, uuid5

import pytest
from sqlalchemy import Connection, Engine, text

from credential_pipeline.credential.identifiers import NAMESPACE, STATUS_LIST_LENGTH
from credential_pipeline.issue.status_blocks import StatusBlock, blocks_of, reserve
from credential_pipeline_tests.ledger import AS_OF, VERSION

SECRET = b"k" * 32


def plan(connection: Connection, name: str) -> UUID:
    """A plan to reserve for."""
    found = uuid5(NAMESPACE, name)
    connection.execute(
        text(
            "insert into ledger.catalogue_version (catalogue_version, catalogue, run_id) values (:v, '{}', 'test')"
            " on conflict do nothing"
        ),
        {"v": VERSION},
    )
    connection.execute(
        text(
            "insert into ledger.plan (plan_id, hash, kind, scope, as_of, catalogue_version, counts, state, created_by,"
            " run_id) values (:p, :v, 'issue', 'test', :as_of, :v, '{}', 'planned', 'test', 'test')"
        ),
        {"p": found, "v": VERSION, "as_of": AS_OF},
    )
    return found


def reserved(engine: Engine, name: str, size: int, purpose: str = "revocation", version: int = 1) -> StatusBlock:
    """A block of a plan of its own, committed."""
    with engine.begin() as connection:
        made = plan(connection, name)
        reserve(connection, made, purpose, size, version)
        return blocks_of(connection, made)[purpose]


def lists(engine: Engine) -> list[tuple[object, ...]]:
    with engine.connect() as connection:
        found = connection.execute(
            text("select list_number, purpose, ordinal, secret_version from ledger.status_list order by 1")
        )
        return [tuple(row) for row in found]


def places(block: StatusBlock, size: int, secret: bytes = SECRET) -> list[tuple[int, int]]:
    return [block.place(n, lambda version: secret) for n in range(size)]


WHOLE = StatusBlock("revocation", 0, {0: (1, 1)})


def test_a_whole_list_has_no_collision_and_no_hole() -> None:
    found = places(WHOLE, STATUS_LIST_LENGTH)
    assert {number for number, _ in found} == {1}
    assert sorted(index for _, index in found) == list(range(STATUS_LIST_LENGTH))


def test_the_order_is_reproducible_and_another_with_another_secret_purpose_or_list() -> None:
    first = places(WHOLE, 500)
    assert places(StatusBlock("revocation", 0, {0: (1, 1)}), 500) == first
    others = [
        places(WHOLE, 500, b"l" * 32),
        places(StatusBlock("suspension", 0, {0: (1, 1)}), 500),
        places(StatusBlock("revocation", STATUS_LIST_LENGTH, {1: (1, 1)}), 500),
    ]
    for other in others:
        # By chance 500 draws from 131,072 agree in 0.004 places.
        assert sum(a == b for a, b in zip(first, other, strict=True)) <= 2


def test_blocks_follow_each_other_without_overlap(engine: Engine) -> None:
    blocks = [reserved(engine, f"plan {n}", size) for n, size in enumerate((3, 1, 5))]
    assert [block.first_position for block in blocks] == [0, 3, 4]
    assert lists(engine) == [(1, "revocation", 0, 1)]
    found = [place for block, size in zip(blocks, (3, 1, 5), strict=True) for place in places(block, size)]
    assert found == places(WHOLE, 9)


def test_a_block_over_the_end_of_a_list_opens_the_next(engine: Engine) -> None:
    reserved(engine, "nearly full", STATUS_LIST_LENGTH - 2)
    over = reserved(engine, "over the end", STATUS_LIST_LENGTH + 4)
    assert lists(engine) == [(n + 1, "revocation", n, 1) for n in range(3)]
    assert [over.place(n, lambda version: SECRET)[0] for n in (0, 1, 2, 3)] == [1, 1, 2, 2]
    assert over.place(STATUS_LIST_LENGTH + 3, lambda version: SECRET)[0] == 3


@pytest.mark.parametrize("size", [STATUS_LIST_LENGTH, STATUS_LIST_LENGTH + 1])
def test_a_list_is_opened_when_its_first_position_is_reserved(engine: Engine, size: int) -> None:
    reserved(engine, "first", size)
    assert len(lists(engine)) == 1 + (size > STATUS_LIST_LENGTH)


def test_purposes_count_for_themselves_and_share_the_numbers_of_lists(engine: Engine) -> None:
    assert reserved(engine, "a", 2).first_position == 0
    assert reserved(engine, "b", 2, "suspension").first_position == 0
    reserved(engine, "c", STATUS_LIST_LENGTH)
    assert lists(engine) == [(1, "revocation", 0, 1), (2, "suspension", 0, 1), (3, "revocation", 1, 1)]


def test_a_rotated_secret_is_for_the_lists_that_are_opened_after_it(engine: Engine) -> None:
    reserved(engine, "before", 1)
    block = reserved(engine, "after", STATUS_LIST_LENGTH, version=2)
    assert lists(engine) == [(1, "revocation", 0, 1), (2, "revocation", 1, 2)]
    asked: list[int] = []
    for ordinal in (0, STATUS_LIST_LENGTH - 1):
        block.place(ordinal, lambda version: asked.append(version) or SECRET)
    assert asked == [1, 2]


def test_a_reservation_that_is_rolled_back_leaves_nothing(engine: Engine) -> None:
    with engine.connect() as connection:
        reserve(connection, plan(connection, "dies"), "revocation", 10, 1)
        connection.rollback()
    assert lists(engine) == []
    assert reserved(engine, "lives", 1).first_position == 0


def test_a_plan_finds_its_own_blocks_again(engine: Engine) -> None:
    reserved(engine, "other", 4)
    with engine.begin() as connection:
        mine = plan(connection, "mine")
        reserve(connection, mine, "revocation", 2, 1)
        reserve(connection, mine, "suspension", 3, 1)
    with engine.connect() as connection:
        assert blocks_of(connection, mine) == {
            "revocation": StatusBlock("revocation", 4, {0: (1, 1)}),
            "suspension": StatusBlock("suspension", 0, {0: (2, 1)}),
        }


def test_plans_that_reserve_at_once_never_share_a_position(engine: Engine) -> None:
    with ThreadPoolExecutor(4) as pool:
        blocks = list(pool.map(lambda n: reserved(engine, f"plan {n}", 10), range(12)))
    assert sorted(block.first_position for block in blocks) == list(range(0, 120, 10))
    assert lists(engine) == [(1, "revocation", 0, 1)]

"""Many processes at once: no revocation is lost, and no two credentials share a place in a status list."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import datetime
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import Engine, text

from credential_pipeline.credential.keys import Signer
from credential_pipeline.issue.change import Changed, Office, Order, change
from credential_pipeline.issue.select import named
from credential_pipeline.issue.status_blocks import StatusBlock, blocks_of, reserve
from credential_pipeline.store.postgres import open_engine
from credential_pipeline.store.secrets import SecretsDirectory
from credential_pipeline_tests.issue.desk import Desk, institution, passed
from credential_pipeline_tests.issue.office import LATER, Registrar
from credential_pipeline_tests.ledger import AS_OF, VERSION

PROCESSES = 8
REVOKED = 1000
KEPT = 24
AT_ONCE = 25
"""Credentials an order names: 5 orders a process, each with a plan of its own, and one that another gives too."""

BLOCKS = 100
BLOCK = 250
SECRET = b"k" * 32


@pytest.fixture(scope="module")
def processes() -> Iterator[ProcessPoolExecutor]:
    """Forked from a server that has imported everything: 2 seconds of imports are paid once."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    with ProcessPoolExecutor(PROCESSES, mp_context=context) as pool:
        yield pool


def url_of(engine: Engine) -> str:
    return engine.url.render_as_string(hide_password=False)


def revoke(url: str, secrets: str, orders: Sequence[Sequence[str]]) -> list[tuple[int, int, int]]:
    """What each order of one process came to: (done, done before, stale)."""
    engine = open_engine(url)
    office = Office(engine, institution(), SecretsDirectory(Path(secrets), b"a passphrase of tests"), no_signer)
    order = Order("revoke", "annulled", "registrar", LATER, "run-2")
    told: list[Changed] = [change(office, order, named(names)) for names in orders]
    engine.dispose()
    return [(one.done, one.draft.already, one.stale) for one in told]


def no_signer(as_of: datetime) -> Signer:
    raise AssertionError(f"a revocation signs nothing, at {as_of}")


def test_a_thousand_revocations_of_eight_processes_are_all_published(
    new_desk: Callable[..., Desk], tmp_path: Path, processes: ProcessPoolExecutor
) -> None:
    desk = new_desk()
    registrar = Registrar(desk, tmp_path)
    desk.offer([passed(f"U{n % 8}", term=f"T{n}") for n in range(REVOKED + KEPT)])
    assert desk.issue() == REVOKED + KEPT
    registrar.publish()
    ids = [str(row[0]) for row in desk.rows("select credential_id from ledger.credential order by credential_id")]
    wanted = ids[:REVOKED]
    own = [wanted[n::PROCESSES] for n in range(PROCESSES)]
    orders = [[mine[n : n + AT_ONCE] for n in range(0, len(mine), AT_ONCE)] for mine in own]
    # Everybody gives the last order of the next one too: 200 credentials are asked for twice.
    for n, given in enumerate(orders):
        given.insert(n, orders[(n + 1) % PROCESSES][-1])
    running = [processes.submit(revoke, url_of(desk.engine), str(desk.secrets.path), given) for given in orders]
    told = [one for each in running for one in each.result(120)]
    assert sum(stale for _, _, stale in told) == 0
    assert sum(done + before for done, before, _ in told) == REVOKED + PROCESSES * AT_ONCE

    assert desk.rows("select state, version, count(*) from ledger.credential_state group by 1, 2 order by 1") == [
        ("current", 1, KEPT), ("revoked", 2, REVOKED),
    ]  # fmt: skip
    events = desk.rows(
        "select array_agg(kind order by seq), array_agg(seq order by seq), count(*) over () from ledger.event"
        " group by credential_id having count(*) > 2"
    )
    assert len(events) == REVOKED
    assert all((kinds, seqs) == (["issued", "published", "revoked"], [1, 2, 3]) for kinds, seqs, _ in events)
    assert registrar.messages() == [("revoked", REVOKED)]
    assert desk.value("select count(*) from ledger.plan where kind = 'revoke' and state <> 'applied'") == 0

    registrar.publish()
    public = dict(desk.rows("select credential_id::text, public_id from ledger.credential"))
    states = {one: registrar.read(f"state/{public[one]}.json")["state"] for one in ids}
    assert [one for one in ids if states[one] == "revoked"] == wanted
    set_bits = {(number, index) for number in registrar.lists() for index in registrar.set_bits(number)}
    assert set_bits == set(
        desk.rows(
            "select list_number, status_index from ledger.credential where credential_id::text = any(:w)", w=wanted
        )
    )
    assert len(set_bits) == REVOKED


def allocate(url: str, first: int) -> list[StatusBlock]:
    """The blocks of one process's plans, one transaction each."""
    engine = open_engine(url)
    blocks = []
    for n in range(first, first + BLOCKS):
        plan = UUID(int=n + 1)
        with engine.begin() as connection:
            connection.execute(
                text(
                    "insert into ledger.plan (plan_id, hash, kind, scope, as_of, catalogue_version, counts, state,"
                    " created_by, run_id) values (:plan, :hash, 'issue', 'test', :as_of, :version, '{}', 'planned',"
                    " 'test', 'test')"
                ),
                {"plan": plan, "hash": plan.bytes * 2, "as_of": AS_OF, "version": VERSION},
            )
            reserve(connection, plan, "revocation", BLOCK, 1)
            blocks.append(blocks_of(connection, plan)["revocation"])
    engine.dispose()
    return blocks


def test_two_hundred_thousand_places_of_eight_processes_are_all_different(
    engine: Engine, processes: ProcessPoolExecutor
) -> None:
    with engine.begin() as connection:
        connection.execute(
            text(
                "insert into ledger.catalogue_version (catalogue_version, catalogue, run_id) values (:v, '{}', 'test')"
            ),
            {"v": VERSION},
        )
    running = [processes.submit(allocate, url_of(engine), n * BLOCKS) for n in range(PROCESSES)]
    told = [one.result(120) for one in running]
    blocks = [block for each in told for block in each]
    places = [block.place(ordinal, lambda version: SECRET) for block in blocks for ordinal in range(BLOCK)]
    total = PROCESSES * BLOCKS * BLOCK
    assert len(places) == len(set(places)) == total == 200_000
    assert {number for number, _ in places} == {1, 2}
    assert sorted(block.first_position for block in blocks) == list(range(0, total, BLOCK))
    # The blocks came in turn, not one process after the other: else this would show nothing.
    assert all(each[-1].first_position - each[0].first_position > BLOCK * (BLOCKS - 1) for each in told)

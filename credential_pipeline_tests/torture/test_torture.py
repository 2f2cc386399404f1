"""Killed with -9 at a hundred random moments by twos, and then run once: the outcome is that of a run nobody killed."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Connection, Engine, make_url, text

from credential_pipeline.store.embedded import ensure_running
from credential_pipeline.store.postgres import lock_number, open_engine
from credential_pipeline_tests.databases import ROLE, SERVER
from credential_pipeline_tests.store.seaweed import S3Server, new_bucket, s3_server
from credential_pipeline_tests.torture.academy import write_academy
from credential_pipeline_tests.torture.compare import Account, account_of, differences, twice, unbalanced
from credential_pipeline_tests.torture.nursery import HIT_LEAST, Ordeal, Tale, suffer
from credential_pipeline_tests.torture.workers import BUCKET, SITE, World

__all__ = ["s3_server"]

SEED = 3
KILLS = 100
AGAIN = f"what is drawn is drawn again by `make torture SEED={SEED} KILLS={KILLS} CUTS=0`"

# Alone on two cores it takes half a minute; beside seven other suites it has taken five.
pytestmark = pytest.mark.timeout(1200)


@dataclass(frozen=True)
class Outcome:
    """The two worlds after the ordeal, and how it went."""

    tale: Tale
    disturbed: World
    undisturbed: World
    superuser_url: str

    @cached_property
    def wanted(self) -> Account:
        return read(self.undisturbed)

    @cached_property
    def found(self) -> Account:
        return read(self.disturbed)


def read(world: World) -> Account:
    with engine_of(world.database_url) as engine, engine.connect() as connection:
        return account_of(connection, world.stores())


@contextmanager
def engine_of(url: str) -> Iterator[Engine]:
    engine = open_engine(url)
    try:
        yield engine
    finally:
        engine.dispose()


@pytest.fixture(scope="module")
def outcome(
    server_url: str, template: str, tmp_path_factory: pytest.TempPathFactory, s3_server: S3Server
) -> Iterator[Outcome]:
    top = tmp_path_factory.mktemp("torture")
    academy = write_academy(top / "academy")
    names = [f"t_{uuid.uuid4().hex}" for _ in range(2)]
    server = ensure_running(Path(os.environ[SERVER]) / "postgres", durable=False)
    worlds: list[World] = []
    for name in names:
        with psycopg.connect(server_url, autocommit=True) as admin:
            admin.execute("select pg_advisory_lock(%s)", (lock_number("test template"),))
            admin.execute(f'create database "{name}" template "{template}"'.encode())
        bucket = f"s3://{new_bucket(s3_server).name}/site"
        worlds.append(
            World(
                academy, top / name, top / "data", top / "secrets", server.url(name, role=ROLE), bucket,
                s3_server.options,
            )
        )  # fmt: skip
    disturbed, undisturbed = worlds
    superuser_url = make_url(server_url).set(database=names[0]).render_as_string(hide_password=False)
    tale = suffer(Ordeal(SEED, KILLS, disturbed, undisturbed, superuser_url))
    yield Outcome(tale, disturbed, undisturbed, superuser_url)
    with psycopg.connect(server_url, autocommit=True) as admin:
        for name in names:
            admin.execute(f'drop database if exists "{name}" with (force)'.encode())


def test_a_hundred_workers_died_at_work_at_every_stage(outcome: Outcome) -> None:
    assert outcome.tale.kills.total() >= KILLS
    assert {stage for stage, least in HIT_LEAST.items() if outcome.tale.kills[stage] >= least} == set(HIT_LEAST)
    with psycopg.connect(outcome.superuser_url) as connection:
        left = connection.execute(
            "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
        ).fetchone()
    assert left == (0,), "the server has noticed every death"


def test_what_they_left_is_what_a_run_that_nobody_killed_comes_to(outcome: Outcome) -> None:
    assert differences(outcome.found, outcome.wanted) == [], AGAIN
    assert outcome.wanted.rows["credentials"].total() > KILLS // 2, "there was something to do"


def test_nothing_is_there_twice_and_all_sums_hold(outcome: Outcome) -> None:
    for world in (outcome.disturbed, outcome.undisturbed):
        with engine_of(world.database_url) as engine:
            with engine.connect() as connection:
                assert twice(connection) == [], AGAIN
            assert unbalanced(engine, world.stores()) == [], AGAIN


ONE = "credential_id = (select credential_id from ledger.credential order by 1 limit 1)"
DOUBLED = f"""
insert into ledger.event (credential_id, seq, kind, actor, run_id)
select credential_id, max(seq) + 1, 'published', 'pipeline', 'twice' from ledger.event where {ONE} group by 1
"""
REVOKED = "select credential_id from ledger.credential_state where state = 'revoked' order by 1 limit 1"

BROKEN = {
    "an event that is doubled": (DOUBLED, ["events: 1 too many"]),
    "a message that is gone": (
        f"delete from outbox.message where {ONE} and kind = 'issued'", ["messages: 1 missing"],
    ),
    "a document of other bytes": (
        f"update ledger.credential set document_sha256 = sha256('') where {ONE}",
        ["credentials: 1 too many", "credentials: 1 missing"],
    ),
    "a place that moved": (
        f"update ledger.credential set status_index = (status_index + 1) % 131072 where {ONE}",
        ["places: 1 too many", "places: 1 missing"],
    ),
    "a state that was lost": (
        f"update ledger.credential_state set state = 'current', version = 1 where credential_id = ({REVOKED})",
        ["states: 1 too many", "states: 1 missing"],
    ),
    "a plan that was not finished": (
        "update ledger.plan set state = 'approved' where plan_id = (select min(plan_id::text) from ledger.plan)::uuid",
        ["plans: 1 too many", "plans: 1 missing"],
    ),
    "a line of the manifest that is gone": (
        f"delete from ledger.publication where kind = 'state' and target = '{SITE}' and {ONE}",
        ["manifest: 1 missing"],
    ),
}  # fmt: skip


@pytest.fixture
def surgery(outcome: Outcome) -> Iterator[Connection]:
    """The ledger of the deaths, with everything allowed and nothing kept."""
    with engine_of(outcome.superuser_url) as engine, engine.connect() as connection:
        yield connection
        connection.rollback()


@pytest.mark.parametrize("what", BROKEN)
def test_the_comparison_sees(outcome: Outcome, surgery: Connection, what: str) -> None:
    statement, said = BROKEN[what]
    assert surgery.execute(text(statement)).rowcount == 1
    told = differences(account_of(surgery, {}), Account(outcome.wanted.rows, {}))
    assert [": ".join(one.split(": ")[:2]) for one in told] == said


def test_the_comparison_sees_what_is_twice(surgery: Connection) -> None:
    surgery.execute(text(DOUBLED))
    surgery.execute(
        text(
            "insert into ledger.action (kind, subject, actor, run_id)"
            " select kind, subject, actor, run_id from ledger.action where kind = 'plan_applied' limit 1"
        )
    )
    assert [one.partition(",")[0] for one in twice(surgery)] == [
        "events that happen once: 1 twice", "plans applied: 1 twice",
    ]  # fmt: skip


def test_the_comparison_sees_objects(outcome: Outcome) -> None:
    one, other, third = sorted(path for path in outcome.wanted.objects if path[0] == BUCKET)[:3]
    objects = {**outcome.wanted.objects, one: b"", (BUCKET, "orphan.json"): b""}
    del objects[other]
    assert third in objects
    assert differences(Account(outcome.wanted.rows, objects), outcome.wanted) == [
        f"objects: 1 too many: {BUCKET}/orphan.json",
        f"objects: 1 missing: {'/'.join(other)}",
        f"objects: 1 of other bytes: {'/'.join(one)}",
    ]

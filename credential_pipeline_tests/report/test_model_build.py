"""Building and testing SQL models in a real database, and the numbers in the bundled metric tables."""

from __future__ import annotations

import threading
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import ProgrammingError

from credential_pipeline.report.models import ModelError, Project, build, load_project, run_tests
from credential_pipeline_tests.report import books
from credential_pipeline_tests.report.projects import write_project

BUNDLED = Path(__file__).parent.parent.parent / "dbt_like_sql"
DAY = date.fromisoformat(books.DAY)
TABLE = "{{ config(materialized='table') }}\n"


def project(directory: Path, models: dict[str, str], **more: object) -> Project:
    write_project(directory, models, **more)
    return load_project(directory)


def rows(engine: Engine, statement: str) -> list[tuple[object, ...]]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(statement))]


def test_bundled_models_and_their_tests(engine: Engine) -> None:
    books.write(engine)
    bundled = load_project(BUNDLED)
    for _ in range(2):
        built = build(engine, bundled, "run-7")
        assert [r.name for r in built] == [m.name for m in bundled.models]
        assert {r.name: r.rows for r in built if r.rows is not None} == {
            "issuance_by_day": 1, "issuance_success": 2, "quarantine_reasons": 1, "holds_waiting": 2,
            "achievements_overview": 1, "expiring": 1, "reconciliation_by_day": 1,
        }  # fmt: skip
        assert {(t.model, t.name): t.failures for t in run_tests(engine, bundled) if t.failures} == {}

    assert rows(engine, "select * from metrics.issuance_by_day") == [(DAY, "knots", 8, 1)]
    assert rows(engine, "select * from metrics.issuance_success order by dataset") == [
        (DAY, "lms.done", True, 12, 10, 2, 9, 1, 8, 1, Decimal("0.7500")),
        (DAY, "lms.users", False, 1, 1, 0, 0, 0, 0, 0, Decimal("1.0000")),
    ]
    assert rows(engine, "select * from metrics.quarantine_reasons") == [("lms.done", "malformed_date", "on", 2, 0, DAY)]
    assert rows(engine, "select * from metrics.holds_waiting order by reason") == [
        ("knots", "create", "no_identifier", 1, DAY), ("knots", "create", "no_name", 1, DAY)
    ]  # fmt: skip
    assert rows(engine, "select * from metrics.achievements_overview") == [
        ("knots", 8, 7, 8, date(2026, 2, 2), date(2026, 2, 9))
    ]
    assert rows(engine, "select * from metrics.expiring") == [(date(2027, 2, 1), "knots", 4)]
    assert rows(engine, "select * from metrics.reconciliation_by_day") == [
        (DAY, 13, 11, 2, 10, 9, 1, 9, 8, 1, 8, 0, 8, 8, 0, 0, 0, 0, 0)
    ]


def test_bundled_models_of_an_empty_ledger(engine: Engine) -> None:
    bundled = load_project(BUNDLED)
    build(engine, bundled, "run-1")
    assert not any(test.failures for test in run_tests(engine, bundled))


@pytest.mark.parametrize(
    ("statement", "column"),
    [
        ("delete from quarantine.reason", "unjudged"),
        ("delete from ledger.decision where outcome = 'skipped'", "undecided"),
        ("update ledger.hold set state = 'released'", "unissued"),
        ("delete from ledger.publication where path = 'credentials/public1.json'", "unpublished"),
        ("delete from outbox.message where credential_id = uuid_of(3, 1)", "untold"),
    ],
)
def test_the_metric_of_reconciliation_finds_what_is_missing(engine: Engine, statement: str, column: str) -> None:
    books.write(engine)
    with engine.begin() as connection:
        connection.execute(text(books.UUID_OF))
        books.run(connection, statement, {})
    bundled = load_project(BUNDLED)
    build(engine, bundled, "run-1")
    failing = [test.name for test in run_tests(engine, bundled) if test.failures]
    assert failing == ["reconciliation_adds_up"]
    off = rows(engine, "select unjudged, undecided, unissued, unpublished, untold from metrics.reconciliation_by_day")
    names = ("unjudged", "undecided", "unissued", "unpublished", "untold")
    assert [name for name, number in zip(names, off[0], strict=True) if number] == [column]


def test_comments_tell_what_a_table_is(engine: Engine, tmp_path: Path) -> None:
    build(engine, project(tmp_path, {"a": TABLE + "select 1 as n"}), "run-7")
    assert rows(engine, "select obj_description('metrics.a'::regclass), col_description('metrics.a'::regclass, 1)") == [
        ("What a is. (run run-7)", "The n.")
    ]


def test_percent_and_colons_are_plain_sql(engine: Engine, tmp_path: Path) -> None:
    sql = "select (17 % 5)::integer as n where 'a%b' like 'a%' and ':x' <> '%(y)s'"
    build(engine, project(tmp_path, {"a": TABLE + sql}), "run")
    assert rows(engine, "select n from metrics.a") == [(2,)]


def test_readers_see_the_old_table_until_the_new_one_is_whole(engine: Engine, tmp_path: Path) -> None:
    build(engine, project(tmp_path, {"a": TABLE + "select 1 as n"}), "run")
    # The second build waits in the middle of its SELECT, for a lock that this test holds.
    slow = TABLE + "select 2 as n from (select pg_advisory_xact_lock(4711)::text as waited offset 0) as w"
    second = project(tmp_path, {"a": slow})
    with engine.connect() as gate:
        gate.execute(text("select pg_advisory_xact_lock(4711)"))
        builder = threading.Thread(target=build, args=(engine, second, "run"))
        builder.start()
        try:
            waiting = "select count(*) from pg_locks where locktype = 'advisory' and not granted and objid = 4711"
            while rows(engine, waiting) == [(0,)] and builder.is_alive():
                pass
            assert builder.is_alive()
            assert rows(engine, "select n from metrics.a") == [(1,)]
        finally:
            gate.rollback()
            builder.join()
    assert rows(engine, "select n from metrics.a") == [(2,)]


def test_two_builds_at_once(engine: Engine, tmp_path: Path) -> None:
    small = project(tmp_path, {"a": TABLE + "select n from {{ ref('b') }}", "b": "select 1 as n"})
    errors: list[Exception] = []

    def work() -> None:
        try:
            for _ in range(5):
                build(engine, small, "run")
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert rows(engine, "select n from metrics.a") == [(1,)]


def test_a_model_that_the_database_refuses_leaves_the_old_one(engine: Engine, tmp_path: Path) -> None:
    build(engine, project(tmp_path, {"a": TABLE + "select 1 as n"}), "run")
    broken = project(
        tmp_path, {"a": TABLE + "select\n  award.nothing as n\nfrom {{ source('ledger', 'award') }} as award"}
    )
    with pytest.raises(
        ModelError, match=r"models/a.sql:3: the database refuses it: column award.nothing does not exist"
    ):
        build(engine, broken, "run")
    assert rows(engine, "select n from metrics.a") == [(1,)]


@pytest.mark.parametrize(("before", "after"), [("", TABLE), (TABLE, "")])
def test_a_view_becomes_a_table_and_back(engine: Engine, tmp_path: Path, before: str, after: str) -> None:
    build(engine, project(tmp_path, {"a": before + "select 1 as n"}), "run")
    build(engine, project(tmp_path, {"a": after + "select 2 as n"}), "run")
    assert rows(engine, "select n from metrics.a") == [(2,)]


def test_a_view_may_change_its_columns(engine: Engine, tmp_path: Path) -> None:
    sql = {"a": "select 1 as n", "b": "select a.n from {{ ref('a') }} as a"}
    build(engine, project(tmp_path, sql), "run")
    sql = {"a": "select 'x' as n", "b": "select a.n from {{ ref('a') }} as a"}
    build(engine, project(tmp_path, sql), "run")
    assert rows(engine, "select n from metrics.b") == [("x",)]


def test_what_stands_on_a_table_is_not_dropped_silently(engine: Engine, tmp_path: Path) -> None:
    small = project(tmp_path, {"a": TABLE + "select 1 as n"})
    build(engine, small, "run")
    with engine.begin() as connection:
        connection.execute(text("create view metrics.of_an_analyst as select * from metrics.a"))
    with pytest.raises(
        ModelError, match=r"cannot be replaced: view metrics\.of_an_analyst depends on table metrics\.a"
    ):
        build(engine, small, "run")
    assert rows(engine, "select * from metrics.of_an_analyst") == [(1,)]


TESTS = {
    "unique": ("[unique]", "values (1), (1), (2), (null), (null)", 1),
    "not_null": ("[not_null]", "values (1), (null), (null)", 2),
    "accepted_values": ("[{accepted_values: {values: ['1', '2']}}]", "values (1), (2), (3), (3), (null)", 1),
    "relationships": ("[{relationships: {to: ref('other'), field: n}}]", "values (1), (2), (3), (null)", 2),
}


@pytest.mark.parametrize("kind", TESTS)
def test_each_kind_of_test_counts_what_fails_it(engine: Engine, tmp_path: Path, kind: str) -> None:
    asked, values, failures = TESTS[kind]
    models = {
        "a": TABLE + f"select v.n::integer as n from ({values}) as v(n)", "other": TABLE + "select 1 as n"
    }  # fmt: skip
    write_project(tmp_path, models, columns={"n": asked})
    # `other` is asked the same and passes, as 1 does everywhere.
    small = load_project(tmp_path)
    build(engine, small, "run")
    results = {t.model: (t.name, t.column, t.failures) for t in run_tests(engine, small)}
    assert results == {"a": (f"{kind}_n", "n", failures), "other": (f"{kind}_n", "n", 0)}


def test_a_test_of_ones_own(engine: Engine, tmp_path: Path) -> None:
    small = project(
        tmp_path,
        {"a": TABLE + "select v.n from (values (1), (-1)) as v(n)"},
        tests={"positive": "-- n is\n-- positive.\nselect a.n from {{ ref('a') }} as a where a.n < 0"},
    )
    build(engine, small, "run")
    (test,) = small.tests
    (result,) = run_tests(engine, small)
    assert (test.name, test.model, test.column, test.description) == ("positive", "a", None, "n is positive.")
    assert (result.name, result.failures) == ("positive", 1)
    assert "metrics.a" in result.sql


def test_a_test_of_what_is_not_built(engine: Engine, tmp_path: Path) -> None:
    write_project(tmp_path, {"a": "select 1 as n"}, columns={"n": "[unique]"})
    with pytest.raises(ModelError, match=r"schema.yml: test unique_n of a: relation \"metrics.a\" does not exist"):
        run_tests(engine, load_project(tmp_path))


def test_models_live_in_metrics_only(engine: Engine) -> None:
    """The application's role may not make tables anywhere else."""
    with engine.connect() as connection, pytest.raises(ProgrammingError, match="permission denied for schema ledger"):
        connection.execute(text("create table ledger.x (n integer)"))

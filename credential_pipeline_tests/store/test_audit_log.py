"""Who may touch the audit log: the application adds to it, and neither it nor the owner changes what it says."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError, ProgrammingError

from credential_pipeline.store.embedded import APPLICATION_ROLE, OWNER_ROLE
from credential_pipeline.store.postgres import migrate, open_engine
from credential_pipeline.store.tables import metadata
from credential_pipeline_tests.store.test_schema import Databases, with_an_event

# Every statement by which somebody could change what the audit log says happened.
REWRITING = {
    "update": "update ledger.event set actor = 'somebody else'",
    "update of no row": "update ledger.event set actor = 'x' where false",
    "delete": "delete from ledger.event",
    "truncate": "truncate ledger.event",
    "upsert": "insert into ledger.event (credential_id, seq, kind, actor, run_id)"
    " select credential_id, seq, kind, 'x', run_id from ledger.event"
    " on conflict (credential_id, seq) do update set actor = 'x'",
    "merge": "merge into ledger.event e using ledger.credential c on e.credential_id = c.credential_id"
    " when matched then update set actor = 'x'",
    "a locking read": "select * from ledger.event for update",
    "update of an action": "update ledger.action set actor = 'somebody else'",
    "delete of an action": "delete from ledger.action",
    "truncate of actions": "truncate ledger.action",
    "upsert of an action": "insert into ledger.action (action_id, kind, subject, actor, run_id)"
    " overriding system value select action_id, kind, subject, 'x', run_id from ledger.action"
    " on conflict (action_id) do update set actor = 'x'",
    "update of a dictionary": "update ledger.document_dictionary set content = ''",
    "delete of a dictionary": "delete from ledger.document_dictionary",
    "truncate of dictionaries": "truncate ledger.document_dictionary",
    "a locking read of actions": "select * from ledger.action for update",
}
# And every way around the trigger or the grant; the owner is an administrator and may.
REBUILDING = {
    "truncate by cascade": "truncate ledger.credential cascade",
    "disable the trigger of actions": "alter table ledger.action disable trigger append_only",
    "drop the actions": "drop table ledger.action",
    "alter": "alter table ledger.event add column note text",
    "rename": "alter table ledger.event rename to event_of_old",
    "drop": "drop table ledger.event",
    "disable the trigger": "alter table ledger.event disable trigger append_only",
    "drop the trigger": "drop trigger append_only on ledger.event",
    "another trigger": "create trigger also before insert on ledger.event for each row"
    " execute function ledger.refuse_change()",
    "a rule": "create rule away as on insert to ledger.event do instead nothing",
    "replace the trigger's function": "create or replace function ledger.refuse_change() returns trigger"
    " language plpgsql as $$ begin return null; end $$",
    "drop the trigger's function": "drop function ledger.refuse_change() cascade",
    "replay as a replica": "set session_replication_role = replica",
    "become the owner": f"set role {OWNER_ROLE}",
    "own the table": "alter table ledger.event owner to current_user",
    "drop the schema": "drop schema ledger cascade",
    "a table in the ledger": "create table ledger.note (note text)",
    "pretend a migration": "update ledger.alembic_version set version_num = '0000'",
    "forget the migrations": "delete from ledger.alembic_version",
}


@pytest.fixture(scope="module")
def logged(server_url: str) -> Iterator[tuple[Engine, Engine]]:
    """(application, owner) of one database with one event: every attempt on it is refused, so all may share it."""
    databases = Databases(server_url)
    name = databases.new()
    application, owner = (open_engine(databases.url(name, role)) for role in (APPLICATION_ROLE, OWNER_ROLE))
    migrate(owner, application_role=APPLICATION_ROLE)
    with_an_event(application)
    yield application, owner
    application.dispose()
    owner.dispose()
    databases.drop()


def log(engine: Engine) -> list[tuple[object, ...]]:
    with engine.connect() as connection:
        return [
            tuple(row)
            for table in ("event", "action")
            for row in connection.execute(text(f"select *, xmin::text from ledger.{table}"))
        ]


@pytest.mark.parametrize("way", [*REWRITING, *REBUILDING])
def test_the_application_cannot_rewrite_the_audit_log(logged: tuple[Engine, Engine], way: str) -> None:
    application, owner = logged
    before = log(owner)
    with (
        application.connect() as connection,
        pytest.raises(ProgrammingError, match=r"InsufficientPrivilege|must be owner|permission denied"),
    ):
        connection.execute(text((REWRITING | REBUILDING)[way]))
    assert log(application) == before
    assert len(before) == 2


def test_the_application_grants_itself_nothing(logged: tuple[Engine, Engine]) -> None:
    """PostgreSQL only warns about a grant by somebody who has no right to give."""
    application, _ = logged
    with application.begin() as connection:
        connection.execute(text("grant update, delete, truncate on ledger.event to current_user"))
    with application.connect() as connection, pytest.raises(ProgrammingError, match="permission denied"):
        connection.execute(text(REWRITING["update"]))


@pytest.mark.parametrize("way", [way for way in REWRITING if not way.startswith("a locking read")])
def test_the_trigger_binds_the_owner_too(logged: tuple[Engine, Engine], way: str) -> None:
    _, owner = logged
    before = log(owner)
    with (
        owner.connect() as connection,
        pytest.raises(DBAPIError, match=r"the audit log ledger\.(event|action|document_dictionary) is append-only"),
    ):
        connection.execute(text(REWRITING[way]))
    assert log(owner) == before


WRITTEN_ONCE = {
    "ledger.event", "ledger.action", "ledger.erasure", "ledger.tombstone", "ledger.document_dictionary",
    "ledger.credential_jwt",
}  # fmt: skip
"""Tables that the application adds to and never changes."""


def test_the_application_may_do_everything_else_with_rows_and_build_metrics(logged: tuple[Engine, Engine]) -> None:
    application, _ = logged
    with application.connect() as connection:
        for table in metadata.tables.values():
            rights = ("select", "insert") if str(table) in WRITTEN_ONCE else ("select", "insert", "update", "delete")
            changes = connection.scalar(text("select has_table_privilege(:t, 'update, delete')"), {"t": str(table)})
            assert changes is (str(table) not in WRITTEN_ONCE), table
            for right in rights:
                assert connection.scalar(text("select has_table_privilege(:t, :r)"), {"t": str(table), "r": right}), (
                    table,
                    right,
                )
            assert not connection.scalar(text("select has_table_privilege(:t, 'truncate')"), {"t": str(table)})
        connection.execute(text("create table metrics.built as select 1 as one"))
        connection.execute(text("drop table metrics.built"))
        connection.rollback()

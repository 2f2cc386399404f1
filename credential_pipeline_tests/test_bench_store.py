"""What `bench proofs --store` measures is what a run does: its plan is applied, verifies and balances."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import make_url

from credential_pipeline.bench.approved_plan import PLAN
from credential_pipeline.bench.store import applied
from credential_pipeline.report.reconcile import reconcile
from credential_pipeline.store.postgres import open_engine
from credential_pipeline.store.secrets import SecretsDirectory

COUNT = 50


def test_a_plan_is_made_and_applied_and_the_books_balance(
    new_database: Callable[[], str], server_url: str, tmp_path: Path
) -> None:
    engine = open_engine(new_database())
    superuser = open_engine(
        make_url(server_url).set(database=engine.url.database).render_as_string(hide_password=False)
    )
    secrets = SecretsDirectory(tmp_path / "secrets", b"a passphrase of tests")
    found = applied(engine, superuser, secrets, COUNT, "sample", 2, str(os.getpid()), COUNT // 5)
    assert found["seconds"] > 0
    assert found["peak_mb"] > 100  # this process and two workers
    assert found["server_mb"] > 0
    assert 300 < found["document_bytes"] < 600
    result = reconcile(engine, sample=None)
    assert result.credentials == result.documents_compared == COUNT
    # It knows neither batches nor decisions, and publishes nothing: what issuing itself wrote is in order.
    assert {d.term for d in result.differences} <= {
        "credentials = published documents", "credentials = published states", "versions of states = events",
        "status lists = published status lists",
    }  # fmt: skip
    with engine.connect() as connection:
        states = connection.exec_driver_sql("select state, count(*) from ledger.plan_line group by 1").all()
        plan = connection.exec_driver_sql(f"select state from ledger.plan where plan_id = '{PLAN}'").scalar()
    assert [tuple(row) for row in states] == [("applied", COUNT)]
    assert plan == "applied"
    engine.dispose()
    superuser.dispose()

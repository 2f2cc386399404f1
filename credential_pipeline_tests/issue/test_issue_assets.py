"""What Dagster is told of the stage: what waits, why, a warning that blocks nothing, and plans that were refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from dagster import AssetCheckEvaluation, AssetCheckSeverity, DagsterInstance, ExecuteInProcessResult, materialize

from credential_pipeline.issue.approve import approve
from credential_pipeline.issue.assets import issue_assets
from credential_pipeline.runtime import Runtime, open_runtime
from credential_pipeline.settings import load_settings
from credential_pipeline_tests.issue.desk import AS_OF, DAY, Desk, institution, passed
from credential_pipeline_tests.issue.signers import RITA

SCHOOL = institution(people=[RITA.listed])


@pytest.fixture
def runtime(database_url: str, tmp_path: Path) -> Iterator[Runtime]:
    settings = replace(
        load_settings(home=tmp_path / "home", environ={"CREDENTIAL_PIPELINE_DATABASE_URL": database_url}),
        institution=SCHOOL,
    )
    with open_runtime(settings, as_of=AS_OF, clock=lambda: AS_OF) as opened:
        yield opened


def issue(runtime: Runtime) -> ExecuteInProcessResult:
    """The three assets of the stage for the desk's day, as a run."""
    with DagsterInstance.ephemeral() as instance:
        return materialize(
            issue_assets(SCHOOL), partition_key=str(DAY), resources={"runtime": runtime}, instance=instance
        )


def rows(result: ExecuteInProcessResult, asset: str, table: str) -> list[dict[str, object]]:
    [event] = result.asset_materializations_for_node(asset)
    return [dict(record.data) for record in event.metadata[table].records]


def check(result: ExecuteInProcessResult) -> AssetCheckEvaluation:
    [found] = result.get_asset_check_evaluations()
    return found


def test_what_waits_is_shown_and_warned_of_and_holds_up_nobody(runtime: Runtime) -> None:
    desk = Desk(runtime.engine, SCHOOL, runtime.secrets)
    desk.offer([passed("UA", "diploma"), passed("UB")])
    result = issue(runtime)
    plan = UUID(desk.value("select plan_id::text from ledger.plan where approval = 'four_eyes'"))
    [waits] = rows(result, "plans", "waiting")
    assert waits == {
        "plan": str(plan), "kind": "issue", "scope": f"day:{DAY}", "lines": 1, "waits_for": "nobody has approved it",
    }  # fmt: skip
    assert (check(result).passed, check(result).severity) == (False, AssetCheckSeverity.WARN)
    [credentials] = result.asset_materializations_for_node("credentials")
    assert (result.success, credentials.metadata["issued"].value) == (True, 1)

    digest = desk.value("select hash from ledger.plan where plan_id = :plan", plan=plan)
    approve(runtime.engine, SCHOOL, plan, "rita", RITA.sign_plan(digest), AS_OF, "run")
    result = issue(runtime)
    assert check(result).passed, "what is approved waits for nobody: the same run applies it"
    [credentials] = result.asset_materializations_for_node("credentials")
    assert credentials.metadata["issued"].value == 1
    assert rows(issue(runtime), "plans", "waiting") == []
    said = str(result.all_events)
    assert [word for word in ("Learner", "@school.example") if word in said] == []


def test_an_approval_that_ran_out_is_told_and_fails_no_run(runtime: Runtime) -> None:
    desk = Desk(runtime.engine, SCHOOL, runtime.secrets)
    desk.offer([passed("UA", "diploma"), passed("UB")])
    waiting = desk.plan().waiting
    assert waiting is not None
    digest = desk.value("select hash from ledger.plan where plan_id = :plan", plan=waiting[0])
    approve(runtime.engine, SCHOOL, waiting[0], "rita", RITA.sign_plan(digest), AS_OF - timedelta(hours=72), "run")
    result = issue(runtime)
    assert result.success
    [refused] = rows(result, "credentials", "refused")
    assert refused["plan"] == str(waiting[0])
    assert "expired" in str(refused["why"])
    assert not check(result).passed
    [credentials] = result.asset_materializations_for_node("credentials")
    assert credentials.metadata["issued"].value == 1

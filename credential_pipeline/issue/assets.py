"""Assets of stage 4: `awards`, `plans`, `credentials`, one after the other, for the day's batch."""

from datetime import date

from dagster import AssetExecutionContext, AssetsDefinition, MaterializeResult, asset

from credential_pipeline.institution import Institution
from credential_pipeline.issue.apply import apply_plan
from credential_pipeline.issue.earn import earn_batch
from credential_pipeline.issue.plan import open_plans, plan_day
from credential_pipeline.partitions import days
from credential_pipeline.runtime import Runtime
from credential_pipeline.steps import OWNERS, columns, dagster_errors, small_table
from credential_pipeline.store.tables import ledger


def issue_assets(institution: Institution) -> list[AssetsDefinition]:
    """The three assets of the stage; all hold the pool `issuing`, one run at a time."""
    return [_awards(institution), _plans(institution), _credentials(institution)]


def _awards(institution: Institution) -> AssetsDefinition:
    @asset(
        name="awards",
        group_name="issue",
        deps=["persons", *(f"accepted_{d.asset_suffix}" for d in institution.datasets_of("evidence"))],
        partitions_def=days(institution),
        kinds={"python", "postgres"},
        owners=OWNERS,
        pool="issuing",
        description="What the catalogue's rules make of the day's evidence: an award, or a reason why not.",
        metadata={"dagster/column_schema": columns(ledger.award), "dagster/table_name": "ledger.award"},
        required_resource_keys={"runtime"},
    )
    def awards(context: AssetExecutionContext) -> MaterializeResult:
        runtime: Runtime = context.resources.runtime
        with dagster_errors():
            results = [
                earn_batch(runtime.engine, institution, date.fromisoformat(key), context.run.run_id)
                for key in context.partition_keys
            ]
        skipped: dict[str, int] = {}
        for result in results:
            for reason, rows in result.skipped.items():
                skipped[reason] = skipped.get(reason, 0) + rows
        return MaterializeResult(
            metadata={
                "accepted": sum(r.accepted for r in results),
                "earning": sum(r.earning for r in results),
                "awards": sum(r.awards for r in results),
                "skipped": small_table(("reason", "rows"), sorted(skipped.items())),
            }
        )

    return awards


def _plans(institution: Institution) -> AssetsDefinition:
    @asset(
        name="plans",
        group_name="issue",
        deps=["awards"],
        partitions_def=days(institution),
        kinds={"python", "postgres"},
        owners=OWNERS,
        pool="issuing",
        description="A stored plan of create, hold and skip lines, with reasons; `auto` achievements are approved "
        "by the catalogue's version.",
        metadata={"dagster/column_schema": columns(ledger.plan_line), "dagster/table_name": "ledger.plan_line"},
        required_resource_keys={"runtime"},
    )
    def plans(context: AssetExecutionContext) -> MaterializeResult:
        runtime: Runtime = context.resources.runtime
        with dagster_errors():
            results = [
                plan_day(
                    runtime.engine,
                    institution,
                    runtime.secrets,
                    date.fromisoformat(key),
                    runtime.as_of,
                    context.run.run_id,
                )
                for key in context.partition_keys
            ]
        return MaterializeResult(
            metadata={
                "plans": ", ".join(str(r.plan_id) for r in results if r.plan_id) or "nothing to do",
                "hashes": ", ".join(r.hash.hex() for r in results if r.hash),
                "as_of": runtime.as_of.isoformat(),
                **{action: sum(r.counts.get(action, 0) for r in results) for action in ("create", "hold", "skip")},
            }
        )

    return plans


def _credentials(institution: Institution) -> AssetsDefinition:
    @asset(
        name="credentials",
        group_name="issue",
        deps=["plans"],
        partitions_def=days(institution),
        kinds={"python", "postgres"},
        owners=OWNERS,
        pool="issuing",
        description="Signed with both proofs, checked against the plan, recorded: every approved plan that is not "
        "finished, also one that an earlier run left.",
        metadata={"dagster/column_schema": columns(ledger.credential), "dagster/table_name": "ledger.credential"},
        required_resource_keys={"runtime"},
    )
    def credentials(context: AssetExecutionContext) -> MaterializeResult:
        runtime: Runtime = context.resources.runtime
        with dagster_errors():
            results = [
                apply_plan(runtime.engine, institution, runtime.secrets, runtime.signer, plan, context.run.run_id)
                for plan in open_plans(runtime.engine)
            ]
        return MaterializeResult(
            metadata={
                "issued": sum(r.issued for r in results),
                "stale": sum(r.stale for r in results),
                "plans": len(results),
            }
        )

    return credentials

"""Assets of stage 4: `awards`, `plans`, `credentials`, one after the other, for the day's batch."""

from collections.abc import Sequence
from datetime import date

from dagster import (
    AssetCheckResult,
    AssetCheckSeverity,
    AssetCheckSpec,
    AssetExecutionContext,
    AssetsDefinition,
    MaterializeResult,
    TableMetadataValue,
    asset,
)

from credential_pipeline.institution import Institution
from credential_pipeline.issue.apply import apply_approved
from credential_pipeline.issue.earn import earn_batch
from credential_pipeline.issue.plan import plan_day
from credential_pipeline.issue.waiting import WaitingPlan, waiting_plans
from credential_pipeline.partitions import days
from credential_pipeline.runtime import Runtime
from credential_pipeline.steps import OWNERS, columns, dagster_errors, small_table
from credential_pipeline.store.tables import ledger

APPROVALS = "approvals"


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
        description="Stored plans of create, hold and skip lines, with reasons: one that the catalogue's version "
        "approves, and one of `four_eyes` achievements, which waits for signatures.",
        metadata={"dagster/column_schema": columns(ledger.plan_line), "dagster/table_name": "ledger.plan_line"},
        required_resource_keys={"runtime"},
        check_specs=[
            AssetCheckSpec(
                APPROVALS,
                asset="plans",
                blocking=False,
                description="No plan waits for a signed approval; a warning, because nobody else is held up by it.",
            )
        ],
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
            waiting = waiting_plans(runtime.engine, institution, runtime.clock())
        return MaterializeResult(
            metadata={
                "plans": ", ".join(str(r.plan_id) for r in results if r.plan_id) or "nothing to do",
                "hashes": ", ".join(r.hash.hex() for r in results if r.hash),
                "as_of": runtime.as_of.isoformat(),
                **{
                    action: sum(r.counts.get(action, 0) for r in results)
                    for action in ("create", "revoke", "hold", "skip")
                },
                "waiting": _waiting_table(waiting),
            },
            check_results=[
                AssetCheckResult(
                    check_name=APPROVALS,
                    passed=not any(plan.waits_for for plan in waiting),
                    severity=AssetCheckSeverity.WARN,
                    metadata={"waiting": _waiting_table([plan for plan in waiting if plan.waits_for])},
                )
            ],
        )

    return plans


def _waiting_table(waiting: Sequence[WaitingPlan]) -> TableMetadataValue:
    """Four-eyes plans that are not finished; ids, counts and who signed, nothing of the persons they are about."""
    return small_table(
        ("plan", "kind", "scope", "lines", "waits_for"),
        [(str(plan.plan_id), plan.kind, plan.scope, plan.lines, plan.waits_for or "nothing") for plan in waiting],
    )


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
            applied = apply_approved(
                runtime.engine,
                institution,
                runtime.secrets,
                runtime.signer,
                context.run.run_id,
                now=runtime.clock(),
                workers=runtime.workers,
            )
            waiting = waiting_plans(runtime.engine, institution, runtime.clock())
        return MaterializeResult(
            metadata={
                "issued": applied.issued,
                "stale": applied.stale,
                "changed": applied.moved,
                "plans": len(applied.results),
                "refused": small_table(("plan", "why"), [(str(plan), why) for plan, why in applied.refused.items()]),
                "waiting": _waiting_table(waiting),
            }
        )

    return credentials

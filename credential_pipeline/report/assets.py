"""Assets of stage 7: one a SQL model of dbt_like_sql/, with its schema.yml tests as checks; and `reconciliation`."""

from collections.abc import Iterator
from pathlib import Path

from dagster import (
    AssetCheckResult,
    AssetCheckSeverity,
    AssetCheckSpec,
    AssetExecutionContext,
    AssetKey,
    AssetsDefinition,
    AssetSpec,
    MaterializeResult,
    MetadataValue,
    RunsFilter,
    TableColumn,
    TableSchema,
    asset,
    multi_asset,
)
from dagster._core.storage.dagster_run import IN_PROGRESS_RUN_STATUSES

from credential_pipeline.institution import Institution
from credential_pipeline.report.models import Project, build, load_project, run_tests
from credential_pipeline.report.reconcile import reconcile
from credential_pipeline.runtime import Runtime
from credential_pipeline.steps import OWNERS, dagster_errors, small_table

MODELS = Path(__file__).parent.parent.parent / "dbt_like_sql"

DIFFERENCE = ("term", "expected", "found", "where")

# Which asset stands behind a table that a model reads; schemas not named here belong to the gate or to landing.
ASSETS_OF_TABLES = {
    "ledger.decision": ["awards"],
    "ledger.award": ["awards"],
    "ledger.plan": ["plans"],
    "ledger.plan_line": ["plans"],
    "ledger.hold": ["plans"],
    "ledger.credential": ["credentials"],
    "ledger.credential_state": ["credentials"],
    "ledger.event": ["credentials"],
    "ledger.publication": ["publications"],
    "outbox.message": ["credentials"],
    "identity.person": ["persons"],
    "identity.source_record": ["persons"],
}


def report_assets(institution: Institution) -> list[AssetsDefinition]:
    """The SQL models, and the reconciliation after them."""
    return [_models(institution, load_project(MODELS)), _reconciliation(institution)]


def _models(institution: Institution, project: Project) -> AssetsDefinition:
    specs = [
        AssetSpec(
            model.name,
            group_name="report",
            deps=sorted({*model.refs, *(a for table in model.sources for a in _behind(institution, table))}),
            kinds={"sql", model.materialized},
            owners=OWNERS,
            description=model.description,
            metadata={
                "dagster/table_name": f"metrics.{model.name}",
                "dagster/column_schema": TableSchema(
                    [TableColumn(c.name, description=c.description) for c in model.columns]
                ),
            },
        )
        for model in project.models
    ]
    checks = [
        AssetCheckSpec(test.name, asset=AssetKey(test.model), description=test.description) for test in project.tests
    ]

    @multi_asset(name="metrics", specs=specs, check_specs=checks, required_resource_keys={"runtime"})
    def metrics(context: AssetExecutionContext) -> Iterator[MaterializeResult | AssetCheckResult]:
        runtime: Runtime = context.resources.runtime
        with dagster_errors():
            built = build(runtime.engine, project, context.run.run_id)
            tested = run_tests(runtime.engine, project)
        for model in built:
            yield MaterializeResult(
                asset_key=model.name, metadata={"dagster/row_count": model.rows or 0, "seconds": model.seconds}
            )
        for test in tested:
            yield AssetCheckResult(
                asset_key=AssetKey(test.model),
                check_name=test.name,
                passed=test.failures == 0,
                severity=AssetCheckSeverity.ERROR,
                metadata={"failures": test.failures, "sql": MetadataValue.md(f"```sql\n{test.sql}\n```")},
            )

    return metrics


def _behind(institution: Institution, table: str) -> list[str]:
    if table in ASSETS_OF_TABLES:
        return ASSETS_OF_TABLES[table]
    schema = table.partition(".")[0]
    stage = {"landed": "landed", "accepted": "accepted", "quarantine": "accepted"}.get(schema)
    return [f"{stage}_{d.asset_suffix}" for d in institution.datasets] if stage else []


def _reconciliation(institution: Institution) -> AssetsDefinition:
    check = AssetCheckSpec("adds_up", asset="reconciliation", description="Every sum holds, from rows to objects.")

    @asset(
        name="reconciliation",
        group_name="report",
        deps=["publications"],
        kinds={"sql"},
        owners=OWNERS,
        description="landed = accepted + quarantined; accepted = earning + skipped; earned = issued + already issued + "
        "held; issued = recorded = published = told. Every difference is named.",
        metadata={"dagster/column_schema": TableSchema([TableColumn(name) for name in DIFFERENCE])},
        check_specs=[check],
        required_resource_keys={"runtime"},
    )
    def reconciliation(context: AssetExecutionContext) -> MaterializeResult:
        runtime: Runtime = context.resources.runtime
        others = _others_at_work(context)
        with dagster_errors():
            found = reconcile(
                runtime.engine,
                read_object=runtime.store.get,
                target=institution.targets.site,
                evidence=[dataset.name for dataset in institution.datasets_of("evidence")],
            )
        return MaterializeResult(
            metadata={
                "balanced": found.balanced,
                "others_at_work": ", ".join(others) or "none",
                "differences": small_table(
                    DIFFERENCE,
                    [(d.term, d.expected, d.found, d.where) for d in found.differences],
                ),
            },
            check_results=[
                AssetCheckResult(
                    check_name="adds_up",
                    passed=found.balanced,
                    severity=AssetCheckSeverity.WARN if others else AssetCheckSeverity.ERROR,
                )
            ],
        )

    return reconciliation


def _others_at_work(context: AssetExecutionContext) -> list[str]:
    """Ids of runs that may be half-way through a batch: what does not add up now is looked at again after them."""
    at_work = context.instance.get_runs(RunsFilter(statuses=IN_PROGRESS_RUN_STATUSES))
    return [run.run_id for run in at_work if run.job_name != context.run.job_name]

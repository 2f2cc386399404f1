"""Assets of stage 2: `accepted_SOURCE__DATASET`, one a dataset; what is not accepted is in quarantine."""

from datetime import date

from dagster import (
    AssetCheckResult,
    AssetCheckSeverity,
    AssetCheckSpec,
    AssetExecutionContext,
    AssetsDefinition,
    MaterializeResult,
    asset,
)

from credential_pipeline.gate.gate import GateResult, gate_dataset
from credential_pipeline.institution import Institution
from credential_pipeline.institution.sources import DatasetOfSource
from credential_pipeline.partitions import days
from credential_pipeline.runtime import Runtime
from credential_pipeline.steps import OWNERS, columns, dagster_errors, small_table
from credential_pipeline.store.tables import accepted

CHECK = "within_reject_limit"


def gate_assets(institution: Institution) -> list[AssetsDefinition]:
    """One asset a dataset."""
    suffixes = {dataset.name: dataset.asset_suffix for dataset in institution.datasets}
    return [_accepted(institution, dataset, suffixes) for dataset in institution.datasets]


def _accepted(institution: Institution, dataset: DatasetOfSource, suffixes: dict[str, str]) -> AssetsDefinition:
    name = f"accepted_{dataset.asset_suffix}"
    limit = dataset.dataset.gate.reject_limit

    @asset(
        name=name,
        group_name="gate",
        deps=[f"landed_{dataset.asset_suffix}", *(f"accepted_{suffixes[needed]}" for needed in dataset.needs)],
        partitions_def=days(institution),
        kinds={"greatexpectations", "postgres"},
        owners=OWNERS,
        description=f"{dataset.source.name}: rows of {dataset.dataset.id} that passed "
        f"{len(dataset.dataset.gate.checks)} checks; the others are in quarantine with code, field and remedy.",
        metadata={"dagster/column_schema": columns(accepted.row), "dagster/table_name": "accepted.row"},
        required_resource_keys={"runtime"},
        check_specs=[
            AssetCheckSpec(
                CHECK,
                asset=name,
                blocking=dataset.on_breach == "stop",
                description=f"At most {limit:.0%} of the batch's rows are bad; else the whole batch is refused.",
            )
        ],
    )
    def _asset(context: AssetExecutionContext) -> MaterializeResult:
        runtime: Runtime = context.resources.runtime
        with dagster_errors():
            results = {
                key: gate_dataset(runtime.engine, institution, dataset, date.fromisoformat(key), context.run.run_id)
                for key in context.partition_keys
            }
        return _materialized(results)

    return _asset


def _materialized(results: dict[str, GateResult]) -> MaterializeResult:
    codes: dict[str, int] = {}
    for result in results.values():
        for code, rows in result.by_code.items():
            codes[code] = codes.get(code, 0) + rows
    landed = sum(r.landed for r in results.values())
    accepted_rows = sum(r.accepted for r in results.values())
    breaches = [f"{day}: {r.breach}" for day, r in results.items() if r.breach]
    return MaterializeResult(
        metadata={
            "landed": landed,
            "dagster/partition_row_count": accepted_rows,
            "quarantined": sum(r.quarantined for r in results.values()),
            "accepted_share": round(accepted_rows / landed, 4) if landed else 1.0,
            "unchanged": all(r.unchanged for r in results.values()),
            "quarantine": small_table(("code", "rows"), sorted(codes.items())),
        },
        check_results=[
            AssetCheckResult(
                check_name=CHECK,
                passed=not breaches,
                severity=AssetCheckSeverity.ERROR,
                metadata={"days": ", ".join(results), "breaches": "\n".join(breaches)},
            )
        ],
    )

"""Assets of stage 1: `landed_SOURCE__DATASET`, one a dataset, partitioned by the day the rows arrived."""

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

from credential_pipeline.extract.files import ExtractResult, extract_dataset
from credential_pipeline.institution import Institution
from credential_pipeline.institution.sources import DatasetOfSource
from credential_pipeline.partitions import days
from credential_pipeline.runtime import Runtime
from credential_pipeline.steps import OWNERS, columns, dagster_errors
from credential_pipeline.store.tables import landed

CHECK = "batch_is_whole"


def extract_assets(institution: Institution) -> list[AssetsDefinition]:
    """One asset a dataset."""
    return [_landed(institution, dataset) for dataset in institution.datasets]


def _landed(institution: Institution, dataset: DatasetOfSource) -> AssetsDefinition:
    name = f"landed_{dataset.asset_suffix}"
    stops = dataset.on_breach == "stop"

    @asset(
        name=name,
        group_name="extract",
        partitions_def=days(institution),
        kinds={dataset.source.kind, "postgres"},
        owners=OWNERS,
        description=f"{dataset.source.name}: rows of `{dataset.dataset.files}` as landed ({dataset.dataset.role}).",
        metadata={"dagster/column_schema": columns(landed.row), "dagster/table_name": "landed.row"},
        required_resource_keys={"runtime"},
        check_specs=[
            AssetCheckSpec(
                CHECK,
                asset=name,
                blocking=stops,
                description="No file of the batch was set aside"
                + ("; a breach stops the day." if stops else "; a breach leaves that file out and the day goes on."),
            )
        ],
    )
    def _asset(context: AssetExecutionContext) -> MaterializeResult:
        runtime: Runtime = context.resources.runtime
        with dagster_errors():
            results = {
                key: extract_dataset(
                    runtime.engine,
                    dataset,
                    runtime.data,
                    date.fromisoformat(key),
                    context.run.run_id,
                    lambda: runtime.secrets,
                )
                for key in context.partition_keys
            }
        return _materialized(results)

    return _asset


def _materialized(results: dict[str, ExtractResult]) -> MaterializeResult:
    breaches = [(day, breach) for day, result in results.items() for breach in result.breaches]
    return MaterializeResult(
        metadata={
            "files": sum(r.files for r in results.values()),
            "dagster/partition_row_count": sum(r.rows for r in results.values()),
            "new_rows": sum(r.new_rows for r in results.values()),
        },
        check_results=[
            AssetCheckResult(
                check_name=CHECK,
                passed=not breaches,
                severity=AssetCheckSeverity.ERROR,
                metadata={"days": ", ".join(results), "breaches": "\n".join(f"{day}: {b}" for day, b in breaches)},
            )
        ],
    )

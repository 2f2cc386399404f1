"""Assets of stage 3: `persons`, those the day's batch touched."""

from datetime import date

from dagster import AssetExecutionContext, AssetsDefinition, MaterializeResult, asset

from credential_pipeline.identify.persons import identify_batch
from credential_pipeline.institution import Institution
from credential_pipeline.partitions import days
from credential_pipeline.runtime import Runtime
from credential_pipeline.steps import OWNERS, columns, dagster_errors
from credential_pipeline.store.tables import identity


def identify_assets(institution: Institution) -> list[AssetsDefinition]:
    """The one asset of the stage."""

    @asset(
        name="persons",
        group_name="identify",
        deps=[f"accepted_{d.asset_suffix}" for d in institution.datasets if d.dataset.role != "reference"],
        partitions_def=days(institution),
        kinds={"python", "postgres"},
        owners=OWNERS,
        pool="identity",
        description="Source records linked to persons by strict rules; ids stay the same from run to run.",
        metadata={"dagster/column_schema": columns(identity.source_record), "dagster/table_name": "identity.person"},
        required_resource_keys={"runtime"},
    )
    def persons(context: AssetExecutionContext) -> MaterializeResult:
        runtime: Runtime = context.resources.runtime
        with dagster_errors():
            results = [
                identify_batch(runtime.engine, institution, date.fromisoformat(key), context.run.run_id)
                for key in context.partition_keys
            ]
        return MaterializeResult(
            metadata={
                "source_records": sum(r.records for r in results),
                "new_persons": sum(r.new_persons for r in results),
                "linked": sum(r.linked for r in results),
                "merged": sum(r.merged for r in results),
                "uncertain_pairs": sum(r.uncertain for r in results),
                "persons_known": results[-1].persons,
            }
        )

    return [persons]

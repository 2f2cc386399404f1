"""Assets of stage 5: `publications`, everything that stands at the target. Not partitioned: it has no bad days."""

from dagster import AssetExecutionContext, AssetsDefinition, MaterializeResult, MetadataValue, asset

from credential_pipeline.institution import Institution
from credential_pipeline.publish.documents import recorded_keys
from credential_pipeline.publish.publish import publish
from credential_pipeline.runtime import Runtime
from credential_pipeline.steps import OWNERS, columns, dagster_errors
from credential_pipeline.store.tables import ledger


def publish_assets(institution: Institution) -> list[AssetsDefinition]:
    """The one asset of the stage."""
    target = institution.targets.site

    @asset(
        name="publications",
        group_name="publish",
        deps=["credentials"],
        kinds={"s3" if target.startswith("s3://") else "file", "json"},
        owners=OWNERS,
        pool="publishing",
        description="Credentials, state objects, status lists and the issuer's documents: sent when recorded and not "
        "yet there, or when their signature runs out.",
        metadata={"dagster/column_schema": columns(ledger.publication), "dagster/table_name": "ledger.publication"},
        required_resource_keys={"runtime"},
    )
    def publications(context: AssetExecutionContext) -> MaterializeResult:
        runtime: Runtime = context.resources.runtime
        with dagster_errors():
            signer = runtime.signer(runtime.as_of)
            result = publish(
                runtime.engine,
                institution,
                runtime.store,
                target,
                signer,
                recorded_keys(runtime.engine, institution),
                runtime.as_of,
                context.run.run_id,
                jwt_signer=runtime.jwt_signer(runtime.as_of),
            )
        return MaterializeResult(
            metadata={
                "credentials": result.credentials,
                "jwts": result.jwts,
                "state_objects": result.states,
                "status_lists": result.status_lists,
                "documents": result.documents,
                "written": result.written,
                "unchanged": result.unchanged,
                "site": MetadataValue.path(runtime.site),
            }
        )

    return [publications]

"""Assets of stage 6: `expiring_credentials`, partitioned by renewal window (month x shard)."""

import warnings

from dagster import (
    AllPartitionMapping,
    AssetDep,
    AssetExecutionContext,
    AssetsDefinition,
    BackfillPolicy,
    BetaWarning,
    MaterializeResult,
    MultiPartitionKey,
    asset,
)

from credential_pipeline.institution import Institution
from credential_pipeline.partitions import renewal_windows
from credential_pipeline.renew.due import due_in, window
from credential_pipeline.runtime import Runtime
from credential_pipeline.steps import OWNERS, columns, dagster_errors, small_table
from credential_pipeline.store.tables import ledger


def renew_assets(institution: Institution) -> list[AssetsDefinition]:
    """The one asset of the stage."""
    with warnings.catch_warnings():
        # Dagster calls backfill policies beta; every process of a deployment would say so on every start.
        warnings.simplefilter("ignore", BetaWarning)
        return [_expiring_credentials(institution)]


def _expiring_credentials(institution: Institution) -> AssetsDefinition:
    @asset(
        name="expiring_credentials",
        group_name="renew",
        # Every day's credentials may end in a window: the mapping Dagster would infer pairs days with months.
        deps=[AssetDep("credentials", partition_mapping=AllPartitionMapping())],
        partitions_def=renewal_windows(institution),
        backfill_policy=BackfillPolicy.single_run(),
        kinds={"python", "postgres"},
        owners=OWNERS,
        metadata={"dagster/column_schema": columns(ledger.credential)},
        description="Credentials that end in a month, by shard of persons, and how many the catalogue lets be renewed.",
        required_resource_keys={"runtime"},
    )
    def expiring_credentials(context: AssetExecutionContext) -> MaterializeResult:
        runtime: Runtime = context.resources.runtime
        expiring: dict[str, int] = {}
        renewable: dict[str, int] = {}
        with dagster_errors():
            for key in context.partition_keys:
                # A multi-partition key arrives as text `month|shard`, dimensions in alphabetical order.
                parts = key.keys_by_dimension if isinstance(key, MultiPartitionKey) else None
                month, shard = (parts["month"], parts["shard"]) if parts else key.split("|")
                found = due_in(runtime.engine, institution, window(month, shard))
                for total, part in ((expiring, found.expiring), (renewable, found.renewable)):
                    for achievement, count in part.items():
                        total[achievement] = total.get(achievement, 0) + count
        return MaterializeResult(
            metadata={
                "expiring": sum(expiring.values()),
                "renewable": sum(renewable.values()),
                "by_achievement": small_table(
                    ("achievement", "expiring", "renewable"),
                    [(a, n, renewable.get(a, 0)) for a, n in sorted(expiring.items())],
                ),
            }
        )

    return expiring_credentials

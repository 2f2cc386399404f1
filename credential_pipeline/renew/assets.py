"""Assets of stage 6, partitioned by renewal window (month x shard): what expires, its plans, and the next versions."""

import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from dagster import (
    AllPartitionMapping,
    AssetDep,
    AssetExecutionContext,
    AssetMaterialization,
    AssetsDefinition,
    BackfillPolicy,
    BetaWarning,
    MaterializeResult,
    MultiPartitionKey,
    asset,
)

from credential_pipeline.errors import Terminal
from credential_pipeline.institution import Institution
from credential_pipeline.partitions import renewal_windows
from credential_pipeline.renew.due import Window, due_in, remind, window
from credential_pipeline.renew.plan import apply_window, plan_window
from credential_pipeline.renew.waiting import still_blocked, still_waiting
from credential_pipeline.runtime import Runtime
from credential_pipeline.steps import OWNERS, columns, dagster_errors, small_table
from credential_pipeline.store.tables import ledger

with warnings.catch_warnings():
    # Dagster calls backfill policies beta; every process of a deployment would say so on every start.
    warnings.simplefilter("ignore", BetaWarning)
    ONE_RUN = BackfillPolicy.single_run()
    """A run for each shard of a backfill, with all its months: start-up is paid four times, and one shard is planned
    while another is issued. Twelve months of four shards are four runs: Dagster cuts by the shorter dimension."""


def renew_assets(institution: Institution) -> list[AssetsDefinition]:
    """The three assets of the stage. One run plans while another issues: pools `planning` and `issuing`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BetaWarning)
        return [_expiring_credentials(institution), _renewal_plans(institution), _renewed_credentials(institution)]


def _asset(
    institution: Institution, **of_its_own: Any
) -> Callable[[Callable[..., MaterializeResult]], AssetsDefinition]:
    """The decorator of the stage's assets, with what they share."""
    decorator: Callable[[Callable[..., MaterializeResult]], AssetsDefinition] = asset(
        group_name="renew",
        partitions_def=renewal_windows(institution),
        backfill_policy=ONE_RUN,
        kinds={"python", "postgres"},
        owners=OWNERS,
        required_resource_keys={"runtime"},
        **of_its_own,
    )
    return decorator


def _windows(context: AssetExecutionContext) -> list[tuple[str, Window]]:
    """The run's partitions and their windows, month by month."""
    found = []
    for key in context.partition_keys:
        # A multi-partition key arrives as text `month|shard`, dimensions in alphabetical order.
        parts = key.keys_by_dimension if isinstance(key, MultiPartitionKey) else None
        month, shard = (parts["month"], parts["shard"]) if parts else key.split("|")
        found.append((str(key), window(month, shard)))
    return sorted(found, key=lambda one: (one[1].first, one[1].shard or 0))


def _runs_before(context: AssetExecutionContext) -> list[str]:
    """The runs that this one is a retry of."""
    if context.run.root_run_id is None:
        return []
    group = context.instance.get_run_group(context.run.run_id)
    return [run.run_id for run in group[1] if run.run_id != context.run.run_id] if group else []


@contextmanager
def _each_by_itself(context: AssetExecutionContext) -> Iterator[Callable[[Callable[[Window], None]], None]]:
    """Work window by window: one that fails stops no other, and is named; those that are done are recorded so.

    A run that fails materializes nothing by itself: then the good windows are recorded one by one, and a backfill of
    what is missing repeats the failed ones alone.
    """
    failed: dict[str, Terminal] = {}
    good: list[str] = []

    def work(on: Callable[[Window], None]) -> None:
        for key, of in _windows(context):
            try:
                on(of)
                good.append(key)
            except Terminal as error:
                failed[key] = error
                context.log.error(f"window {key}: {error}")

    with dagster_errors():
        yield work
        if failed:
            for key in good:
                context.log_event(AssetMaterialization(context.asset_key, partition=key))
            told = "; ".join(f"{key}: {error}" for key, error in failed.items())
            raise Terminal(f"{len(failed)} of {len(failed) + len(good)} windows failed: {told}")


def _expiring_credentials(institution: Institution) -> AssetsDefinition:
    @_asset(
        institution,
        name="expiring_credentials",
        # Every day's credentials may end in a window: the mapping Dagster would infer pairs days with months.
        deps=[AssetDep("credentials", partition_mapping=AllPartitionMapping())],
        metadata={"dagster/column_schema": columns(ledger.credential)},
        description="Credentials that end in a month, by shard of persons, and how many the catalogue lets be renewed; "
        "reminders of an open window are put into the outbox, one a credential.",
    )
    def expiring_credentials(context: AssetExecutionContext) -> MaterializeResult:
        runtime: Runtime = context.resources.runtime
        expiring, renewable, reminded = Counter[str](), Counter[str](), Counter[str]()

        def look(of: Window) -> None:
            found = due_in(runtime.engine, institution, of)
            expiring.update(found.expiring)
            renewable.update(found.renewable)
            reminded[of.scope] = remind(runtime.engine, institution, of, runtime.as_of)

        with _each_by_itself(context) as each:
            each(look)
        return MaterializeResult(
            metadata={
                "expiring": expiring.total(),
                "renewable": renewable.total(),
                "reminded": reminded.total(),
                "by_achievement": small_table(
                    ("achievement", "expiring", "renewable"),
                    [(a, n, renewable.get(a, 0)) for a, n in sorted(expiring.items())],
                ),
            }
        )

    return expiring_credentials


def _renewal_plans(institution: Institution) -> AssetsDefinition:
    @_asset(
        institution,
        name="renewal_plans",
        deps=["expiring_credentials"],
        pool="planning",
        metadata={"dagster/column_schema": columns(ledger.plan_line), "dagster/table_name": "ledger.plan_line"},
        description="What would be renewed in a window, what is blocked and why. `auto` achievements are approved by "
        "the catalogue's version, shard by shard; the others wait for one approval of the whole window.",
    )
    def renewal_plans(context: AssetExecutionContext) -> MaterializeResult:
        runtime: Runtime = context.resources.runtime
        counts = Counter[str]()
        waiting: dict[UUID, int] = {}
        months: set[str] = set()
        before = _runs_before(context)

        def plan(of: Window) -> None:
            found = plan_window(
                runtime.engine, institution, runtime.secrets, of, runtime.as_of, context.run.run_id,
                four_eyes=of.month not in months, goes_on=before,
            )  # fmt: skip
            months.add(of.month)
            counts.update(found.counts)
            if found.four_eyes and found.four_eyes.does_something:
                waiting[found.four_eyes.plan_id] = found.four_eyes.counts.get("renew", 0)

        with _each_by_itself(context) as each:
            each(plan)
        with dagster_errors(), runtime.engine.connect() as connection:
            reasons = still_blocked(connection, [of for _, of in _windows(context)])
            open_still = still_waiting(connection, list(waiting))
        return MaterializeResult(
            metadata={
                "as_of": runtime.as_of.isoformat(),
                "renew": counts["renew"],
                "hold": counts["hold"],
                "blocked": small_table(("reason", "credentials"), sorted(reasons.items())),
                "waiting_for_approval": small_table(
                    ("plan", "credentials"), [(str(plan), n) for plan, n in waiting.items() if plan in open_still]
                ),
            }
        )

    return renewal_plans


def _renewed_credentials(institution: Institution) -> AssetsDefinition:
    @_asset(
        institution,
        name="renewed_credentials",
        deps=["renewal_plans"],
        pool="issuing",
        metadata={"dagster/column_schema": columns(ledger.credential), "dagster/table_name": "ledger.credential"},
        description="The next versions, as the window's approved plans say: signed, checked, recorded; each supersedes "
        "the one before in the same transaction. What an earlier run did is found done.",
    )
    def renewed_credentials(context: AssetExecutionContext) -> MaterializeResult:
        runtime: Runtime = context.resources.runtime
        issued, stale = Counter[str](), Counter[str]()

        def renew(of: Window) -> None:
            done = apply_window(
                runtime.engine, institution, runtime.secrets, runtime.signer, of, context.run.run_id,
                now=runtime.clock(), workers=runtime.workers,
            )  # fmt: skip
            issued[of.scope], stale[of.scope] = done.issued, done.stale

        with _each_by_itself(context) as each:
            each(renew)
        return MaterializeResult(
            metadata={
                "renewed": issued.total(),
                "stale": stale.total(),
                "by_window": small_table(("window", "renewed", "stale"), [(w, n, stale[w]) for w, n in issued.items()]),
            }
        )

    return renewed_credentials

"""How the flow is cut: days of arrival, and renewal windows by shard. Never by person."""

from __future__ import annotations

from dagster import (
    DailyPartitionsDefinition,
    MultiPartitionsDefinition,
    StaticPartitionsDefinition,
    TimeWindowPartitionsDefinition,
)

from credential_pipeline.institution import Institution

SHARDS = tuple(f"{n:x}" for n in range(4))
"""A shard is the persons whose id starts with two bits of this value: four can be renewed apart."""

MONTHS_AHEAD = 36
"""Renewal windows that exist before their month: a credential valid for three years is due in one of them."""


def days(institution: Institution) -> DailyPartitionsDefinition:
    """The day a row arrived, in the institution's zone; `end_offset=1` so that today has a partition."""
    return DailyPartitionsDefinition(
        start_date=institution.history_from.isoformat(), timezone=institution.time_zone, end_offset=1
    )


def renewal_windows(institution: Institution) -> MultiPartitionsDefinition:
    """Month of expiry x shard."""
    months = TimeWindowPartitionsDefinition(
        start=institution.history_from.strftime("%Y-%m"),
        fmt="%Y-%m",
        cron_schedule="0 0 1 * *",
        timezone=institution.time_zone,
        end_offset=MONTHS_AHEAD,
    )
    return MultiPartitionsDefinition({"month": months, "shard": StaticPartitionsDefinition(list(SHARDS))})

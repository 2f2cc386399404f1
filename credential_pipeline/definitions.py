"""The one assembly: everything Dagster knows of an institution, for production and tests alike.

Loading it reads the institution's files and nothing else: no database, no network, no secrets.
"""

import os
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path

from dagster import (
    Definitions,
    Field,
    InitResourceContext,
    Noneable,
    ResourceDefinition,
    definitions,
    in_process_executor,
    resource,
)

from credential_pipeline.automation import jobs, schedules, sensors
from credential_pipeline.errors import Terminal
from credential_pipeline.extract.assets import extract_assets
from credential_pipeline.gate.assets import gate_assets
from credential_pipeline.identify.assets import identify_assets
from credential_pipeline.issue.assets import issue_assets
from credential_pipeline.publish.assets import publish_assets
from credential_pipeline.renew.assets import renew_assets
from credential_pipeline.report.assets import report_assets
from credential_pipeline.runtime import Runtime, open_runtime
from credential_pipeline.settings import Settings, load_settings


def build_definitions(settings: Settings, *, resources: Mapping[str, ResourceDefinition] | None = None) -> Definitions:
    """All assets, checks, jobs, schedules and sensors of an institution.

    Args:
        settings: which institution, and where its state is.
        resources: replaces ours by name (`runtime`).
    """
    institution = settings.institution
    all_jobs = jobs()
    return Definitions(
        assets=[
            *extract_assets(institution),
            *gate_assets(institution),
            *identify_assets(institution),
            *issue_assets(institution),
            *publish_assets(institution),
            *renew_assets(institution),
            *report_assets(institution),
        ],
        jobs=list(all_jobs.values()),
        schedules=schedules(institution, all_jobs),
        sensors=sensors(institution, settings.data, all_jobs),
        resources={"runtime": runtime_resource(settings), **(resources or {})},
        executor=in_process_executor,
    )


def runtime_resource(settings: Settings) -> ResourceDefinition:
    """The Runtime of a run; its config is what `--data` and `--as-of` set."""

    @resource(
        config_schema={
            "data": Field(
                Noneable(str), default_value=None, description="A data directory instead of the institution's."
            ),
            "as_of": Field(
                Noneable(str), default_value=None, description="The instant to date credentials with (ISO 8601)."
            ),
        },
        description="The institution's database, secrets, object store and clock.",
    )
    def runtime(context: InitResourceContext) -> Iterator[Runtime]:
        data, as_of = context.resource_config["data"], context.resource_config["as_of"]
        with open_runtime(
            settings, data=Path(data) if data else None, as_of=parse_instant(as_of) if as_of else None
        ) as opened:
            yield opened

    return runtime


def parse_instant(value: str) -> datetime:
    """An ISO 8601 instant with its offset, in whole seconds.

    Raises:
        Terminal: it is not one.
    """
    try:
        instant = datetime.fromisoformat(value)
    except ValueError as error:
        raise Terminal(f"{value!r} is not an instant; write it as 2026-01-31T12:00:00Z") from error
    if instant.tzinfo is None:
        raise Terminal(f"{value!r} has no time zone; write it as {value}Z or with an offset such as +01:00")
    return instant.replace(microsecond=0)


@definitions
def defs() -> Definitions:
    """What a code location loads: the institution that the environment names."""
    return build_definitions(load_settings(environ=os.environ))

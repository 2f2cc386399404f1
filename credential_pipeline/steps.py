"""What the asset bodies of all stages share: errors as Dagster understands them, and descriptions of columns.

Belongs here: the thin seam between plain functions and Dagster. Does not belong here: anything a stage does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from dagster import (
    Failure,
    MetadataValue,
    RetryRequested,
    TableColumn,
    TableMetadataValue,
    TableRecord,
    TableSchema,
)
from sqlalchemy import Table
from sqlalchemy.exc import OperationalError

from credential_pipeline.errors import Terminal, Transient

OWNERS = ["team:data-engineering"]
RETRIES = 3
RETRY_SECONDS = 5.0


@contextmanager
def dagster_errors() -> Iterator[None]:
    """Only what is Transient is tried again; what is Terminal fails at once, with its own text."""
    try:
        yield
    except (Transient, OperationalError) as error:
        # OperationalError is the server going away; its own text may quote a URL, ours does not.
        raise RetryRequested(max_retries=RETRIES, seconds_to_wait=RETRY_SECONDS) from error
    except Terminal as error:
        raise Failure(description=str(error), allow_retries=False) from error


def columns(table: Table, about: Mapping[str, str] | None = None) -> TableSchema:
    """A table of ours as Dagster shows it."""
    said = about or {}
    return TableSchema(
        columns=[TableColumn(c.name, str(c.type).lower(), description=said.get(c.name)) for c in table.columns]
    )


def small_table(header: Sequence[str], rows: Iterable[Sequence[str | int | float | bool | None]]) -> TableMetadataValue:
    """A few rows for a person who would rather look than query; an empty table is a table too."""
    return MetadataValue.table(
        [TableRecord(dict(zip(header, row, strict=True))) for row in rows],
        schema=TableSchema([TableColumn(name) for name in header]),
    )

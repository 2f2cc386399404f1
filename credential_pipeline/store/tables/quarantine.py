"""Schema `quarantine`: rows and files that were not let through, each with code, field, value and remedy."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Identity, Index, PrimaryKeyConstraint, Table, Text

from credential_pipeline.store.tables.base import day, instant, metadata, recorded_at, sha256, text

reason = Table(
    "reason",
    metadata,
    Column("row_id", BigInteger, ForeignKey("landed.row.row_id"), nullable=False),
    text("code"),
    text("field"),
    text("dataset"),
    Column("value", Text, nullable=True),
    text("remedy"),
    sha256("gate_version"),
    day(),
    text("run_id"),
    recorded_at("opened_at"),
    instant("resolved_at", null=True),
    PrimaryKeyConstraint("row_id", "code", "field"),
    Index(None, "dataset", postgresql_where="resolved_at is null"),
    schema="quarantine",
    comment="Why a landed row is in quarantine. A row with several faults has several reasons and counts once.",
)

breach = Table(
    "breach",
    metadata,
    Column("breach_id", BigInteger, Identity(), primary_key=True),
    day(),
    text("dataset"),
    Column("file_name", Text, nullable=True),
    sha256("file_digest", null=True),
    text("code"),
    text("detail"),
    text("remedy"),
    text("run_id"),
    recorded_at("opened_at"),
    instant("resolved_at", null=True),
    Index(None, "day", "dataset"),
    schema="quarantine",
    comment="A whole file or batch that was set aside: wrong columns, wrong encoding, empty, too many bad rows.",
)

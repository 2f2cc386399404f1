"""Schema `accepted`: rows that passed their gate, in the institution's own field names, typed and completed."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, Table, Text
from sqlalchemy.dialects.postgresql import ARRAY

from credential_pipeline.store.tables.base import day, document, metadata, recorded_at, sha256, text

row = Table(
    "row",
    metadata,
    Column("row_id", BigInteger, ForeignKey("landed.row.row_id"), primary_key=True),
    text("dataset"),
    Column("source_key", Text, nullable=True),
    document("fields"),
    sha256("fields_hash"),
    Column("lookup_rows", ARRAY(BigInteger), nullable=False, server_default="{}"),
    sha256("gate_version"),
    day(),
    text("run_id"),
    recorded_at(),
    Index(None, "dataset"),
    Index(None, "source_key"),
    Index(None, "lookup_rows", postgresql_using="gin", postgresql_where="lookup_rows <> '{}'"),
    schema="accepted",
    comment="An accepted row. lookup_rows: landed rows of other datasets that its fields were completed from.",
)

gated_batch = Table(
    "gated_batch",
    metadata,
    Column("day", day().type, primary_key=True),
    Column("dataset", Text, primary_key=True),
    sha256("fingerprint"),
    Column("landed", Integer, nullable=False),
    Column("accepted", Integer, nullable=False),
    Column("quarantined", Integer, nullable=False),
    text("run_id"),
    recorded_at(),
    schema="accepted",
    comment="What the gate last judged of a day's batch. fingerprint: of files, checks and references.",
)

"""Schema `landed`: every row as its source gave it, and where it came from. Nothing is changed or judged here."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Identity,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Table,
    UniqueConstraint,
)

from credential_pipeline.store.tables.base import day, document, metadata, recorded_at, sha256, text

file = Table(
    "file",
    metadata,
    Column("file_id", BigInteger, Identity(), primary_key=True),
    text("dataset"),
    text("name"),
    sha256("digest"),
    Column("size_bytes", BigInteger, nullable=False),
    Column("row_count", Integer, nullable=False),
    day(),
    text("run_id"),
    recorded_at(),
    UniqueConstraint("dataset", "name", "digest"),
    schema="landed",
    comment="A source file, once per content: the same bytes offered again are the same file.",
)

row = Table(
    "row",
    metadata,
    Column("row_id", BigInteger, Identity(), primary_key=True),
    text("dataset"),
    sha256("row_hash"),
    Column("copy", Integer, nullable=False, server_default="0"),
    document("cells"),
    document("problems", null=True),
    Column("file_id", BigInteger, ForeignKey("landed.file.file_id"), nullable=False),
    Column("row_number", Integer, nullable=False),
    day(),
    text("run_id"),
    UniqueConstraint("dataset", "row_hash", "copy"),
    schema="landed",
    comment="A row as landed: cells by column name, as text. file_id and row_number say where it was seen first.",
)

file_row = Table(
    "file_row",
    metadata,
    Column("file_id", BigInteger, ForeignKey("landed.file.file_id"), nullable=False),
    Column("row_number", Integer, nullable=False),
    Column("row_id", BigInteger, ForeignKey("landed.row.row_id"), nullable=False),
    PrimaryKeyConstraint("file_id", "row_number"),
    Index(None, "row_id"),
    schema="landed",
    comment="Which landed row stands at row N (1 = first after the header) of a file.",
)

batch_file = Table(
    "batch_file",
    metadata,
    day(),
    text("dataset"),
    Column("file_id", BigInteger, ForeignKey("landed.file.file_id"), nullable=False),
    text("run_id"),
    recorded_at(),
    PrimaryKeyConstraint("day", "dataset", "file_id"),
    schema="landed",
    comment="A day's batch: the files its sources offered when the day was last extracted.",
)

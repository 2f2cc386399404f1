"""Schema `identity`: who the source records are, with person ids that stay the same from run to run."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Date, ForeignKey, Index, PrimaryKeyConstraint, Table, Text, Uuid

from credential_pipeline.store.tables.base import day, document, instant, metadata, recorded_at, sha256, text

person = Table(
    "person",
    metadata,
    Column("person_id", Uuid, primary_key=True),
    text("first_source_key"),
    day("first_day"),
    text("run_id"),
    recorded_at(),
    schema="identity",
    comment="A human, as far as the source records show. first_source_key is the input of person_id.",
)

person_alias = Table(
    "person_alias",
    metadata,
    Column("alias_id", Uuid, ForeignKey("identity.person.person_id"), primary_key=True),
    Column("person_id", Uuid, ForeignKey("identity.person.person_id"), nullable=False),
    text("reason"),
    text("run_id"),
    recorded_at("merged_at"),
    Index(None, "person_id"),
    schema="identity",
    comment="alias_id was merged into person_id, always the final survivor: chains are shortened when they form.",
)

source_record = Table(
    "source_record",
    metadata,
    Column("source_key", Text, primary_key=True),
    text("source"),
    Column("person_id", Uuid, ForeignKey("identity.person.person_id"), nullable=False),
    Column("row_id", BigInteger, ForeignKey("landed.row.row_id"), nullable=False),
    sha256("fields_hash"),
    Column("given_name", Text, nullable=True),
    Column("family_name", Text, nullable=True),
    Column("full_name", Text, nullable=True),
    Column("email", Text, nullable=True),
    Column("birth_date", Date, nullable=True),
    document("identifiers"),
    text("link_rule"),
    day(),
    text("run_id"),
    Index(None, "person_id"),
    Index(None, "row_id"),
    schema="identity",
    comment="A person as one system knows them; link_rule says why it belongs to person_id (first_sight when alone).",
)

review_pair = Table(
    "review_pair",
    metadata,
    Column("left_key", Text, ForeignKey("identity.source_record.source_key"), nullable=False),
    Column("right_key", Text, ForeignKey("identity.source_record.source_key"), nullable=False),
    text("reason"),
    text("state"),
    Column("decided_by", Text, nullable=True),
    instant("decided_at", null=True),
    text("run_id"),
    recorded_at("opened_at"),
    PrimaryKeyConstraint("left_key", "right_key"),
    schema="identity",
    comment="Two records that may be one person and that the strict rules could not prove: waiting | same | different.",
)

"""Schema `outbox`: what has to be told to somebody. Written with the credential, sent by a later stage."""

from __future__ import annotations

from sqlalchemy import Column, Index, Integer, Table, UniqueConstraint, Uuid

from credential_pipeline.store.tables.base import instant, metadata, recorded_at, text

message = Table(
    "message",
    metadata,
    Column("message_id", Uuid, primary_key=True),
    text("kind"),
    Column("credential_id", Uuid, nullable=False),
    Column("person_id", Uuid, nullable=False),
    recorded_at(),
    instant("sent_at", null=True),
    Column("occasion", Integer, nullable=False, server_default="1"),
    UniqueConstraint("credential_id", "kind", "occasion"),
    Index(None, "recorded_at", postgresql_where="sent_at is null"),
    schema="outbox",
    comment="A notification that waits to be sent: issued | superseded | revoked | suspended | reinstated | expiring. "
    "occasion: the version of the credential's state that it tells of. No address is kept here.",
)

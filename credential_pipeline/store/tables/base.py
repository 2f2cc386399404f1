"""The MetaData all tables share, and column shapes that recur in them."""

from __future__ import annotations

import datetime

from sqlalchemy import Column, Date, DateTime, LargeBinary, MetaData, Text, func
from sqlalchemy.dialects.postgresql import JSONB

SCHEMAS = ("landed", "accepted", "quarantine", "identity", "ledger", "outbox", "metrics")

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def text(name: str, *, null: bool = False) -> Column[str]:
    """A text column, required unless said otherwise."""
    return Column(name, Text, nullable=null)


def sha256(name: str, *, null: bool = False) -> Column[bytes]:
    """The 32 bytes of a SHA-256."""
    return Column(name, LargeBinary(32), nullable=null)


def instant(name: str, *, null: bool = False) -> Column[datetime.datetime]:
    """An instant that is part of the record's meaning; the writer passes it."""
    return Column(name, DateTime(timezone=True), nullable=null)


def recorded_at(name: str = "recorded_at") -> Column[datetime.datetime]:
    """When the row was written, by the database's clock: for people and audits, never an input of anything."""
    return Column(name, DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp())


def day(name: str = "day") -> Column[datetime.date]:
    """The day of arrival, in the institution's time zone."""
    return Column(name, Date, nullable=False)


def document(name: str, *, null: bool = False) -> Column[object]:
    """A JSON value that SQL can look into."""
    return Column(name, JSONB, nullable=null)

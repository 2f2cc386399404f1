"""The tables that last, one module a schema; docs/data-model.md tells them to an analyst.

Belongs here: columns, constraints and indexes. Does not belong here: queries, and the `metrics` schema, which
SQL models build. All share one MetaData, which the migrations are compared with.
"""

from credential_pipeline.store.tables import accepted, identity, landed, ledger, outbox, quarantine
from credential_pipeline.store.tables.base import SCHEMAS, metadata

__all__ = ["SCHEMAS", "accepted", "identity", "landed", "ledger", "metadata", "outbox", "quarantine"]

"""Credentials and their state objects: what is recorded and not, or not in this version, published at a target.

Belongs here: finding them and making their bytes. Does not belong here: sending and recording (publish.py).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from credential_pipeline.credential.document import serialize, state_document
from credential_pipeline.credential.in_flight import in_flight, together
from credential_pipeline.credential.keys import Signer
from credential_pipeline.credential.proof import JCS, sign
from credential_pipeline.errors import Terminal
from credential_pipeline.institution import Institution
from credential_pipeline.institution.describe import credential_path, credential_url, state_path, state_url
from credential_pipeline.publish.manifest import Item
from credential_pipeline.store.document_form import DocumentReader

CREDENTIAL = "credential"
STATE = "state"

# An erased credential has no document: it is never sent again, its state object stays. Once a key is declared
# compromised, any state from before may be signed with it: all are signed again.
DUE = """
select * from (
  select c.credential_id, c.public_id, c.document_form, c.document_sha256,
         case when p.path is null then c.document end as document,
         s.path is null or s.version < t.version or s.valid_until < :due or s.published_at <= (
           select max(happened_at) from ledger.action where kind = 'key_compromised') as state_is_due,
         t.state, t.version, n.public_id as superseded_by, s.valid_until as last_valid_until
  from ledger.credential c
  join ledger.credential_state t using (credential_id)
  left join ledger.credential n on n.credential_id = t.superseded_by
  left join ledger.publication p on p.target = :target and p.kind = 'credential' and p.credential_id = c.credential_id
  left join ledger.publication s on s.target = :target and s.kind = 'state' and s.credential_id = c.credential_id
) found where document is not null or state_is_due
"""


@dataclass(frozen=True)
class Credentials:
    """Makes the objects of credentials for one target; states are signed by one key at one instant."""

    institution: Institution
    target: str
    signer: Signer
    as_of: datetime

    def due(self, connection: Connection, chunk: int) -> Iterator[Sequence[Row[Any]]]:
        """The ledger's rows with something to publish, `chunk` at a time.

        One query with a cursor on the server, so that its cost grows with the ledger once and not once a chunk.
        """
        # A cursor is planned for its first tenth, and after a bulk load the statistics are old: both lead to a loop
        # over the manifest for each credential (3,000 took 0.5 s, a million would take a day; hashed: 7 ms).
        connection.execute(text("set local cursor_tuple_fraction = 1"))
        connection.execute(text("set local enable_nestloop = off"))
        half = timedelta(days=self.institution.policies.state_valid_days) / 2
        parameters = {"target": self.target, "due": self.as_of + half}
        yield from connection.execute(text(DUE), parameters, execution_options={"yield_per": chunk}).partitions()

    def items(self, rows: Sequence[Row[Any]], reader: DocumentReader) -> list[Item]:
        """The objects of some rows; states come first, so that a credential never points at one that is not there.

        Raises:
            Terminal: a recorded document is damaged.
        """
        signer = in_flight(self.signer)
        states = together(signer, lambda: [self._state(row, signer) for row in rows if row.state_is_due])
        return states + [self._credential(row, reader) for row in rows if row.document is not None]

    def _credential(self, row: Row[Any], reader: DocumentReader) -> Item:
        data = reader.read(row.document_form, row.document)
        if hashlib.sha256(data).digest() != bytes(row.document_sha256):
            raise Terminal(
                f"the document of credential {row.credential_id} is not what was recorded (its SHA-256 differs); it"
                " was not published; restore the ledger from its backup"
            )
        return Item(credential_path(row.public_id), CREDENTIAL, data, credential_id=row.credential_id, fixed=True)

    def _state(self, row: Row[Any], signer: Signer) -> Item:
        until = self.as_of + timedelta(days=self.institution.policies.state_valid_days)
        if row.last_valid_until:  # a run with an earlier as_of must not make the state stale sooner
            until = max(until, row.last_valid_until)
        by = row.superseded_by and credential_url(self.institution, row.superseded_by)
        # The reason stays in the ledger: staff write it, and it may be about a person.
        document = state_document(
            state_url(self.institution, row.public_id),
            credential_url(self.institution, row.public_id),
            self.institution.issuer_did,
            row.state,
            row.version,
            self.as_of,
            until,
            superseded_by=by if row.state == "superseded" else None,
        )
        data = serialize(sign(document, signer, self.as_of, suites=(JCS,)))
        return Item(state_path(row.public_id), STATE, data, row.version, row.credential_id, until)


def record_events(connection: Connection, credentials: Sequence[UUID], target: str, run_id: str) -> None:
    """The event `published` of each credential, once: at the first target that it reaches."""
    parameters = {"ids": list(credentials), "target": target, "run": run_id}
    # Another event may take the number at the same moment: then the next statement sees it and counts on.
    while connection.scalar(
        text(
            "select exists (select from unnest(cast(:ids as uuid[])) i(credential_id) where not exists ("
            " select from ledger.event e where e.credential_id = i.credential_id and e.kind = 'published'))"
        ),
        parameters,
    ):
        connection.execute(
            text(
                "insert into ledger.event (credential_id, seq, kind, actor, detail, run_id)"
                " select credential_id, coalesce(max(e.seq), 0) + 1, 'published', 'pipeline',"
                "  jsonb_build_object('target', cast(:target as text)), :run"
                " from unnest(cast(:ids as uuid[])) i(credential_id) left join ledger.event e using (credential_id)"
                " group by credential_id having not coalesce(bool_or(e.kind = 'published'), false)"
                " order by credential_id on conflict (credential_id, seq) do nothing"
            ),
            parameters,
        )

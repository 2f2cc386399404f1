"""Status lists: the ledger's states as bit strings (W3C Bitstring Status List 1.0).

Belongs here: which bits are set, when a list is signed anew, and its version. Does not belong here: how a bit string
is encoded (credential/) and how a state comes to be (issue/).
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, text

from credential_pipeline.credential.document import serialize, status_list_credential
from credential_pipeline.credential.identifiers import STATUS_LIST_LENGTH
from credential_pipeline.credential.keys import Signer
from credential_pipeline.credential.proof import sign
from credential_pipeline.credential.status_list import encode
from credential_pipeline.institution import Institution
from credential_pipeline.institution.describe import status_list_path, status_list_url
from credential_pipeline.publish.manifest import Item, Recorded, Sender, record, recorded
from credential_pipeline.store.objects import ObjectStore

log = logging.getLogger(__name__)

KIND = "status_list"

# A superseded or withdrawn version is revoked as well, and a revocation holds on a suspension list too.
STATES_THAT_SET: Mapping[str, tuple[str, ...]] = {
    "revocation": ("revoked", "superseded", "withdrawn"),
    "suspension": ("suspended", "revoked", "superseded", "withdrawn"),
}


@dataclass(frozen=True)
class StatusLists:
    """Publishes the status lists of one target, signed by one key at one instant.

    `lost`: verification methods of compromised keys; what they signed is signed again.
    """

    engine: Engine
    institution: Institution
    store: ObjectStore
    target: str
    signer: Signer
    as_of: datetime
    run_id: str
    lost: frozenset[str] = frozenset()

    def publish(self, sender: Sender) -> int:
        """Sign and send every list whose bits changed or that has less than half its validity left; how many."""
        with self.engine.connect() as connection:
            numbers = connection.scalars(text("select list_number from ledger.status_list order by 1")).all()
            known = recorded(connection, self.target, [KIND])
        return sum(self._publish(sender, number, known.get(status_list_path(number))) for number in numbers)

    def _publish(self, sender: Sender, number: int, last: Recorded | None) -> bool:
        # The row's lock covers reading the bits, sending and recording, for all targets: versions are handed out,
        # and reach the store, in the order in which the bits were read.
        with self.engine.begin() as connection:
            purpose, version = connection.execute(
                text("select purpose, version from ledger.status_list where list_number = :number for update"),
                {"number": number},
            ).one()
            encoded = encode(STATUS_LIST_LENGTH, set_indices(connection, number, purpose))
            if last and self._still_good(number, last, encoded):
                return False
            item = self._signed(number, purpose, encoded, version + 1, last)
            sender.send([item])
            connection.execute(
                text("update ledger.status_list set version = :version where list_number = :number"),
                {"number": number, "version": item.version},
            )
            record(connection, self.target, [item], self.run_id)
        log.info("status list %d: version %d published", number, item.version)
        return True

    def _still_good(self, number: int, last: Recorded, encoded: str) -> bool:
        validity = timedelta(days=self.institution.policies.status_valid_days)
        if last.valid_until is None or last.valid_until - self.as_of < validity / 2:
            return False
        # The object itself says which bits are public; a list is a few kB and there is one for 131,072 credentials.
        present = self.store.get(status_list_path(number))
        if present is None or hashlib.sha256(present).digest() != last.digest:
            return False
        document: dict[str, Any] = json.loads(present)
        if any(proof["verificationMethod"] in self.lost for proof in document["proof"]):
            return False
        return bool(document["credentialSubject"]["encodedList"] == encoded)

    def _signed(self, number: int, purpose: str, encoded: str, version: int, last: Recorded | None) -> Item:
        policies = self.institution.policies
        until = self.as_of + timedelta(days=policies.status_valid_days)
        if last and last.valid_until:  # a run with an earlier as_of must not make the list stale sooner
            until = max(until, last.valid_until)
        document = status_list_credential(
            status_list_url(self.institution, number),
            self.institution.issuer_did,
            purpose,
            encoded,
            self.as_of,
            until,
            policies.status_ttl_minutes * 60_000,
        )
        data = serialize(sign(document, self.signer, self.as_of))
        return Item(status_list_path(number), KIND, data, version, valid_until=until)


def set_indices(connection: Connection, number: int, purpose: str) -> list[int]:
    """The indexes of a list whose bit is set."""
    return list(
        connection.scalars(
            text(
                "select c.status_index from ledger.credential_state s join ledger.credential c using (credential_id)"
                " where s.state <> 'current' and s.state = any(:states) and c.list_number = :number order by 1"
            ),
            {"number": number, "states": list(STATES_THAT_SET[purpose])},
        )
    )

"""The desk of the issuing room with a registrar at it: orders about credentials that exist, and what is published then.

Belongs here: giving orders with defaults and reading what came of them. Does not belong here: assertions.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from credential_pipeline.credential.status_list import decode, is_set
from credential_pipeline.issue.change import Changed, Office, Order, change
from credential_pipeline.issue.correct import Correction, correct
from credential_pipeline.issue.select import Named, Query, named
from credential_pipeline.publish.documents import recorded_keys
from credential_pipeline.publish.publish import publish
from credential_pipeline.store.objects import open_store
from credential_pipeline.store.postgres import open_engine
from credential_pipeline.store.secrets import SecretsDirectory
from credential_pipeline.store.signing import ensure_signing_key
from credential_pipeline_tests.databases import lent
from credential_pipeline_tests.issue.desk import AS_OF, KEY_START, Desk, institution

LATER = AS_OF + timedelta(days=3)


@dataclass
class Registrar:
    """Gives orders at a desk; `folder` is where its site is published."""

    desk: Desk
    folder: Path

    def office(self) -> Office:
        return Office(self.desk.engine, self.desk.institution, self.desk.secrets, self.desk.signer)

    def order(self, kind: str, **given: Any) -> Order:
        members = {"reason": "for a test", "actor": "registrar", "as_of": LATER, "run_id": "run-2", **given}
        return Order(kind, **members)

    def change(self, kind: str, *names: UUID | str, query: Query | None = None, **given: Any) -> Changed:
        return change(self.office(), self.order(kind, **given), named(map(str, names)), query)

    def correct(self, credential: UUID | str, *, order: dict[str, Any] | None = None, **members: Any) -> Changed:
        return self.corrections([Correction(Named(str(credential), "argument"), **members)], **(order or {}))

    def corrections(self, wanted: Sequence[Correction], **given: Any) -> Changed:
        return correct(self.office(), self.order("correct", **given), wanted)

    def credential(self, achievement: str = "knots", person: str = "U1") -> UUID:
        """The version of a person's award that was issued first."""
        found: UUID = self.desk.value(
            "select c.credential_id from ledger.credential c join ledger.award w using (award_id)"
            " join identity.source_record r on r.person_id = w.person_id"
            " where c.achievement = :achievement and r.source_key = :key and c.cause = 'issue'",
            achievement=achievement,
            key=f"lms:{person}",
        )
        return found

    def public_id(self, credential: UUID) -> str:
        found: str = self.desk.value("select public_id from ledger.credential where credential_id = :c", c=credential)
        return found

    def state(self, credential: UUID) -> str:
        found: str = self.desk.value("select state from ledger.credential_state where credential_id = :c", c=credential)
        return found

    def events(self, credential: UUID) -> list[tuple[Any, ...]]:
        """(seq, kind, actor, reason) but for the publisher's."""
        return self.desk.rows(
            "select seq, kind, actor, reason from ledger.event where credential_id = :c and kind <> 'published'"
            " order by seq",
            c=credential,
        )

    def messages(self) -> list[tuple[Any, ...]]:
        """(kind, how many) of all messages but those of the first versions."""
        return self.desk.rows(
            "select m.kind, count(*) from outbox.message m join ledger.credential c using (credential_id)"
            " where m.kind <> 'issued' or c.cause <> 'issue' group by 1 order by 1"
        )

    def publish(self, as_of: datetime = LATER) -> None:
        engine, school = self.desk.engine, self.desk.institution
        store = open_store("site", self.folder)
        publish(engine, school, store, "site", self.desk.signer(as_of), recorded_keys(engine, school), as_of, "run-3")

    def read(self, path: str) -> Any:
        """A published document."""
        return json.loads((self.folder / "site" / path).read_bytes())

    def lists(self) -> list[int]:
        """The numbers of the published status lists."""
        return sorted(int(path.stem) for path in (self.folder / "site" / "status").glob("*.json"))

    def set_bits(self, number: int) -> list[int]:
        """The indexes whose bit is set in a published status list."""
        bits = decode(self.read(f"status/{number}.json")["credentialSubject"]["encodedList"])
        return [index for index in range(len(bits) * 8) if bits[index >> 3] and is_set(bits, index)]

    def published(self, credential: UUID) -> tuple[str, bool]:
        """What its state object and its bit in the status list say."""
        public = self.public_id(credential)
        entry = self.read(f"credentials/{public}.json")["credentialStatus"]
        number = int(entry["statusListCredential"].rpartition("/")[2].removesuffix(".json"))
        set_there = int(entry["statusListIndex"]) in self.set_bits(number)
        return self.read(f"state/{public}.json")["state"], set_there


@contextmanager
def lasting_registrar(server_url: str, template: str, directory: Path) -> Iterator[Registrar]:
    """A registrar for all tests of a module; the database goes when the block ends."""
    with lent() as url:
        engine = open_engine(url)
        try:
            secrets = SecretsDirectory(directory / "secrets", b"a passphrase of tests")
            ensure_signing_key(engine, secrets, KEY_START)
            yield Registrar(Desk(engine, institution(), secrets), directory)
        finally:
            engine.dispose()

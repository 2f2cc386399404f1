"""A hand-made ledger for tests: the fewest rows that the schema's own constraints demand, by real identifiers.

Belongs here: writing rows past the stages, to put the database into a state that a stage would take long to reach.
Does not belong here: assertions, and anything a stage is being tested for.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from uuid import UUID

from sqlalchemy import Connection, text

from credential_pipeline.credential import identifiers

INSTITUTION = "testland"
DAY = date(2026, 1, 15)
AS_OF = datetime(2026, 1, 15, 12, tzinfo=UTC)
VERSION = bytes(32)
ID_SECRET = b"i" * 32


@dataclass
class Ledger:
    """Writes into one connection; `run` is recorded as the run id."""

    connection: Connection
    run: str = "run-1"

    def execute(self, statement: str, **parameters: object) -> None:
        """Run one statement with `:run` and `:day` at hand."""
        self.connection.execute(text(statement), {"run": self.run, "day": DAY, **parameters})

    def base(self) -> None:
        """A file, a catalogue version, a key, a list and an applied plan: what other rows refer to."""
        self.execute(
            "insert into landed.file (dataset, name, digest, size_bytes, row_count, day, run_id)"
            " values ('s.d', 'd.csv', :digest, 1, 1, :day, :run)",
            digest=bytes(32),
        )
        self.execute(
            "insert into ledger.catalogue_version (catalogue_version, catalogue, run_id) values (:v, '{}', :run)",
            v=VERSION,
        )
        self.execute(
            "insert into ledger.signing_key (key_id, algorithm, public_key_multibase, valid_from)"
            " values ('key-1', 'Ed25519', 'z6Mk', :as_of)",
            as_of=AS_OF,
        )
        for number, purpose in ((1, "revocation"), (2, "suspension")):
            self.execute(
                "insert into ledger.status_list (list_number, purpose, ordinal, secret_version)"
                " values (:number, :purpose, 0, 1)",
                number=number,
                purpose=purpose,
            )

    def row(self, content: str) -> int:
        """A landed row; returns its row_id."""
        return int(
            self.connection.execute(
                text(
                    "insert into landed.row (dataset, row_hash, cells, file_id, row_number, day, run_id)"
                    " select 's.d', :hash, '{}', min(file_id), 1, :day, :run from landed.file returning row_id"
                ),
                {"hash": identifiers.row_hash("s.d", {"content": content}), "day": DAY, "run": self.run},
            ).scalar_one()
        )

    def person(self, *source_keys: str, day: date = DAY) -> UUID:
        """A person with source records, as identify/ would store them."""
        person = identifiers.person_id(INSTITUTION, min(source_keys))
        self.connection.execute(
            text(
                "insert into identity.person (person_id, first_source_key, first_day, run_id) values (:p, :k, :d, :r)"
            ),
            {"p": person, "k": min(source_keys), "d": day, "r": self.run},
        )
        for key in source_keys:
            self.execute(
                "insert into identity.source_record (source_key, source, person_id, row_id, fields_hash, identifiers,"
                " link_rule, day, run_id) values (:k, :s, :p, :row, :h, '{}', 'first_sight', :day, :run)",
                k=key,
                s=key.partition(":")[0],
                p=person,
                row=self.row(key),
                h=bytes(32),
            )
        return person

    def award(
        self, person: UUID, achievement: str, occurrence: str = "once", *, minted_for: UUID | None = None
    ) -> UUID:
        """An award of a person."""
        award = identifiers.award_id(INSTITUTION, minted_for or person, achievement, occurrence)
        self.execute(
            "insert into ledger.award (award_id, person_id, achievement, occurrence, awarded_on, day, run_id)"
            " values (:a, :p, :c, :o, :day, :day, :run)",
            a=award,
            p=person,
            c=achievement,
            o=occurrence,
        )
        return award

    def credential(self, award: UUID, cause: str = "issue", *, index: int = 0, list_number: int = 1) -> UUID:
        """An applied version of an award, with its plan line, state and first event."""
        credential = identifiers.credential_id(award, cause)
        plan = identifiers.plan_id(INSTITUTION, credential.bytes * 2)
        self.execute(
            "insert into ledger.plan (plan_id, hash, kind, scope, as_of, catalogue_version, counts, state, created_by,"
            " run_id) values (:p, :h, 'issue', 'test', :as_of, :v, '{}', 'applied', 'test', :run)",
            p=plan,
            h=credential.bytes * 2,
            as_of=AS_OF,
            v=VERSION,
        )
        self.execute(
            "insert into ledger.plan_line (plan_id, ordinal, action, award_id, credential_id, cause, reasons, inputs,"
            " state) values (:p, 0, 'create', :a, :c, :cause, '[]', '{}', 'applied')",
            p=plan,
            a=award,
            c=credential,
            cause=cause,
        )
        self.execute(
            "insert into ledger.credential (credential_id, award_id, cause, public_id, id_secret_version,"
            " salt_secret_version, person_id, achievement, plan_id, ordinal, key_id, list_number, status_index, as_of,"
            " awarded_on, document, document_form, document_sha256, run_id)"
            " select :c, award_id, :cause, :public, 1, 1, person_id, achievement, :p, 0, 'key-1', :list, :index,"
            " :as_of, awarded_on, :document, 'zstd', :h, :run from ledger.award where award_id = :a",
            c=credential,
            a=award,
            cause=cause,
            public=identifiers.public_id(ID_SECRET, credential),
            p=plan,
            list=list_number,
            index=index,
            as_of=AS_OF,
            document=b"document",
            h=bytes(32),
        )
        self.execute("insert into ledger.credential_state (credential_id, state) values (:c, 'current')", c=credential)
        self.execute(
            "insert into ledger.event (credential_id, seq, kind, actor, run_id) values (:c, 1, 'issued', 'test', :run)",
            c=credential,
        )
        return credential

    def merge(self, alias: UUID, survivor: UUID) -> None:
        """What identify/ stores when two persons turn out to be one."""
        self.execute(
            "insert into identity.person_alias (alias_id, person_id, reason, run_id) values (:a, :s, 'test', :run)",
            a=alias,
            s=survivor,
        )
        self.execute("update identity.source_record set person_id = :s where person_id = :a", a=alias, s=survivor)

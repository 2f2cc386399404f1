"""A small ledger with real, signed credentials, as the issue stage leaves it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Engine, text

from credential_pipeline.credential import identifiers
from credential_pipeline.credential.document import (
    CredentialFacts,
    HashedIdentifier,
    StatusEntry,
    open_badge_credential,
    serialize,
)
from credential_pipeline.credential.keys import Ed25519FileSigner
from credential_pipeline.credential.proof import sign
from credential_pipeline.institution import Institution
from credential_pipeline.institution.describe import (
    achievement_of,
    credential_url,
    issuer_of,
    state_url,
    status_list_url,
)
from credential_pipeline.store.document_form import store_document

KEY_START = datetime(2024, 1, 1, tzinfo=UTC)
AS_OF = datetime(2024, 6, 1, 12, tzinfo=UTC)
RUN = "run-1"

Rows = dict[str, list[dict[str, Any]]]


def institution(**changes: Any) -> Institution:
    """Two achievements, one for each purpose of a status list."""
    achievement = {
        "type": "Course", "description": "Learned it.", "criteria": "Passed it.", "occurrence": "once",
        "earned_by": [{"dataset": "lms.done", "where": {"course": "X"}, "awarded_on": "on"}],
    }  # fmt: skip
    members = {
        "id": "college",
        "issuer": {"name": "Collège <Test>", "url": "https://college.example", "email": "registrar@college.example"},
        "base_url": "https://badges.college.example",
        "time_zone": "Europe/London",
        "history_from": "2024-01-01",
        "recipient": {"identifiers": [{"type": "emailAddress", "from": "email"}]},
        "sources": [
            {
                "id": "lms", "kind": "files", "system": "lms", "name": "LMS",
                "datasets": [{"id": "done", "role": "evidence", "files": "done.csv",
                              "columns": {"person": "p", "course": "c", "on": "d"},
                              "gate": {"checks": [{"check": "required", "field": "person"},
                                                  {"check": "required", "field": "on"},
                                                  {"check": "date", "field": "on"}]}}],
            }
        ],
        "catalogue": {
            "programmes": [
                {
                    "id": "courses", "name": "Courses",
                    "achievements": [
                        {"id": "knots", "name": "Knots", **achievement},
                        {"id": "first-aid", "name": "First aid", "status_purpose": "suspension", **achievement},
                    ],
                }
            ]
        },
    }  # fmt: skip
    return Institution.model_validate(members | changes)


def signer_of(college: Institution, key_id: str = "key-1") -> Ed25519FileSigner:
    """A key that is the same in every test."""
    key = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(key_id.encode()).digest())
    return Ed25519FileSigner(key, f"{college.issuer_did}#{key_id}")


@dataclass(frozen=True)
class Issued:
    """A credential of the ledger."""

    credential_id: UUID
    public_id: str
    list_number: int
    status_index: int
    document: bytes


def record_key(engine: Engine, college: Institution, key_id: str = "key-1", start: datetime = KEY_START) -> None:
    """The key's row."""
    with engine.begin() as connection:
        connection.execute(
            text(
                "insert into ledger.signing_key (key_id, algorithm, public_key_multibase, valid_from)"
                " values (:id, 'Ed25519', :public, :start)"
            ),
            {"id": key_id, "public": signer_of(college, key_id).public_key_multibase, "start": start},
        )


def issue(
    engine: Engine, college: Institution, count: int, *, achievement: str = "knots", first: int = 0
) -> list[Issued]:
    """Record `count` credentials of one achievement, in a plan of their own, with their states and first events."""
    plan = identifiers.plan_id(college.id, f"{achievement} {first}".encode())
    number = 1 if achievement == "knots" else 2
    signer = signer_of(college)
    described = achievement_of(college, college.catalogue.achievements[achievement])
    issued: list[Issued] = []
    insert: Rows = {
        "identity.person": [], "ledger.award": [], "ledger.plan_line": [], "ledger.credential": [],
        "ledger.credential_state": [], "ledger.event": [],
    }  # fmt: skip
    for n in range(first, first + count):
        person = identifiers.person_id(college.id, f"lms:{achievement}-{n}")
        award = identifiers.award_id(college.id, person, achievement, "once")
        credential = identifiers.credential_id(award, "issue")
        public = identifiers.public_id(b"i" * 32, credential)
        index = identifiers.status_place(b"s" * 32, "any", n)[1]
        facts = CredentialFacts(
            url=credential_url(college, public),
            as_of=AS_OF,
            awarded_on=date(2024, 5, 1),
            issuer=issuer_of(college),
            achievement=described,
            identifiers=(HashedIdentifier("emailAddress", f"p{n}@x.example", identifiers.salt(b"t", credential, "e")),),
            name=f"Person {n}",
            status=StatusEntry(
                status_list_url(college, number),
                index,
                college.catalogue.achievements[achievement].status_purpose,
            ),
            refresh_url=state_url(college, public),
        )
        document = serialize(sign(open_badge_credential(facts), signer, AS_OF))
        form, stored = store_document(document)
        ids = {"person_id": person, "award_id": award, "credential_id": credential}
        ledger = {"achievement": achievement, "run_id": RUN}
        insert["identity.person"].append(
            {
                "person_id": person,
                "first_source_key": f"lms:{achievement}-{n}",
                "first_day": "2024-05-02",
                "run_id": RUN,
            }
        )  # fmt: skip
        insert["ledger.award"].append(
            {
                "person_id": person, "award_id": award, "occurrence": "once", "awarded_on": "2024-05-01",
                "day": "2024-05-02", **ledger,
            }
        )  # fmt: skip
        insert["ledger.plan_line"].append(
            {"plan_id": plan, "ordinal": n, "action": "create", "reasons": "[]", "inputs": "{}", "state": "applied"}
        )
        insert["ledger.credential"].append(
            {
                **ids, **ledger, "cause": "issue", "public_id": public, "id_secret_version": 1,
                "salt_secret_version": 1, "plan_id": plan, "ordinal": n, "key_id": "key-1", "list_number": number,
                "status_index": index, "as_of": AS_OF, "awarded_on": "2024-05-01", "document": stored,
                "document_form": form, "document_sha256": hashlib.sha256(document).digest(),
            }
        )  # fmt: skip
        insert["ledger.credential_state"].append({"credential_id": credential, "state": "current"})
        insert["ledger.event"].append(
            {"credential_id": credential, "seq": 1, "kind": "issued", "actor": "pipeline", "run_id": RUN}
        )
        issued.append(Issued(credential, public, number, index, document))
    _insert(engine, college, plan, number, achievement, insert)
    return issued


def _insert(
    engine: Engine,
    college: Institution,
    plan: UUID,
    number: int,
    achievement: str,
    rows: dict[str, list[dict[str, Any]]],
) -> None:
    version = college.catalogue.version
    purpose = college.catalogue.achievements[achievement].status_purpose
    with engine.begin() as connection:
        connection.execute(
            text(
                "insert into ledger.catalogue_version (catalogue_version, catalogue, run_id)"
                " values (:version, cast(:catalogue as jsonb), :run) on conflict do nothing"
            ),
            {"version": version, "catalogue": college.catalogue.model_dump_json(), "run": RUN},
        )
        connection.execute(
            text(
                "insert into ledger.plan (plan_id, hash, kind, scope, as_of, catalogue_version, counts, state,"
                " created_by, run_id) values (:plan, :hash, 'issue', 'day:2024-05-02', :as_of, :version, '{}',"
                " 'applied', 'pipeline', :run)"
            ),
            {"plan": plan, "hash": hashlib.sha256(plan.bytes).digest(), "as_of": AS_OF, "version": version, "run": RUN},
        )
        connection.execute(
            text(
                "insert into ledger.status_list (list_number, purpose, ordinal, secret_version)"
                " values (:number, :purpose, 0, 1) on conflict do nothing"
            ),
            {"number": number, "purpose": purpose},
        )
        for table, values in rows.items():
            columns = ", ".join(values[0])
            marks = ", ".join(f":{column}" for column in values[0])
            connection.execute(text(f"insert into {table} ({columns}) values ({marks})"), values)


def move(engine: Engine, credential: UUID, state: str, *, superseded_by: UUID | None = None) -> None:
    """A new state, with its event, as a later stage records it."""
    with engine.begin() as connection:
        connection.execute(
            text(
                "update ledger.credential_state set state = :state, version = version + 1, superseded_by = :by,"
                " reason = 'a note of the registrar' where credential_id = :id"
            ),
            {"state": state, "by": superseded_by, "id": credential},
        )
        connection.execute(
            text(
                "insert into ledger.event (credential_id, seq, kind, actor, run_id)"
                " select :id, max(seq) + 1, :state, 'registrar', :run from ledger.event where credential_id = :id"
            ),
            {"id": credential, "state": state, "run": RUN},
        )


def events(engine: Engine) -> dict[UUID, list[str]]:
    """The kinds of the events of each credential, in order."""
    with engine.connect() as connection:
        rows = connection.execute(
            text("select credential_id, array_agg(kind order by seq) from ledger.event group by 1")
        ).all()
    return {row[0]: row[1] for row in rows}


def manifest(engine: Engine, target: str = "site") -> dict[str, tuple[bytes, int]]:
    """(digest, version) by path."""
    with engine.connect() as connection:
        rows = connection.execute(
            text("select path, digest, version from ledger.publication where target = :target"), {"target": target}
        ).all()
    return {path: (bytes(digest), version) for path, digest, version in rows}


def as_json(data: bytes | None) -> Any:
    """The document."""
    assert data is not None
    return json.loads(data)

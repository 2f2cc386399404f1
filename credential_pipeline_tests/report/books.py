"""A small ledger that balances, made by hand: twelve rows of evidence, eight of which end as a credential.

Documents are not signed: reconciliation and metrics compare bytes and counts. Rows 1-8 are issued, 9 is held,
10 skipped, 11 and 12 are quarantined; row 13 is a person.
"""

from __future__ import annotations

import hashlib
import json
from uuid import UUID

from sqlalchemy import Connection, Engine, create_engine, make_url, text
from sqlalchemy.pool import NullPool

from credential_pipeline.credential.status_list import encode
from credential_pipeline.store.document_form import store_document

DAY = "2026-03-02"
CREDENTIALS = 8
EVIDENCE = 12
TARGET = "site"


def uuid(kind: int, n: int) -> UUID:
    return UUID(int=kind << 64 | n)


def award(n: int) -> UUID:
    return uuid(2, n)


def credential(n: int) -> UUID:
    return uuid(3, n)


def digest(value: str | bytes) -> bytes:
    return hashlib.sha256(value.encode() if isinstance(value, str) else value).digest()


CATALOGUE = {"programmes": [{"achievements": [{"id": "knots", "earned_by": [{"dataset": "lms.done"}]}]}]}

ROWS = """
insert into ledger.catalogue_version values (:version, cast(:catalogue as jsonb), 'run');
insert into ledger.signing_key (key_id, algorithm, public_key_multibase, valid_from)
  values ('key-1', 'Ed25519', 'z', '2026-01-01Z');
insert into landed.file (dataset, name, digest, size_bytes, row_count, day, run_id)
  values ('lms.done', 'done.csv', :version, 1, 12, :day, 'run'),
         ('lms.users', 'users.csv', :version, 1, 1, :day, 'run');
insert into landed.batch_file (day, dataset, file_id, run_id) select :day, dataset, file_id, 'run' from landed.file;
insert into landed.row (dataset, row_hash, cells, file_id, row_number, day, run_id)
  select f.dataset, sha256((f.dataset || n)::bytea), '{}', f.file_id, n, :day, 'run'
  from landed.file f, generate_series(1, f.row_count) n order by f.dataset, n;
insert into landed.file_row select file_id, row_number, row_id from landed.row;
insert into accepted.row (row_id, dataset, source_key, fields, fields_hash, gate_version, day, run_id)
  select row_id, dataset, 'lms:' || row_number, '{}', row_hash, :version, :day, 'run' from landed.row
  where dataset = 'lms.users' or row_number <= 10;
insert into accepted.gated_batch (day, dataset, fingerprint, landed, accepted, quarantined, run_id)
  values (:day, 'lms.done', :version, 12, 10, 2, 'run'), (:day, 'lms.users', :version, 1, 1, 0, 'run');
insert into quarantine.reason (row_id, code, field, dataset, value, remedy, gate_version, day, run_id)
  select row_id, 'malformed_date', 'on', dataset, 'x', 'write a date', :version, :day, 'run' from landed.row
  where dataset = 'lms.done' and row_number > 10;
"""

LEDGER = """
insert into identity.person select uuid_of(1, n), 'lms:' || n, :day, 'run' from generate_series(1, 9) n;
insert into ledger.award (award_id, person_id, achievement, occurrence, awarded_on, day, run_id)
  select uuid_of(2, n), uuid_of(1, n), 'knots', 'once', date '2026-02-01' + n, :day, 'run'
  from generate_series(1, 9) n;
insert into ledger.decision (row_id, achievement, outcome, reason, award_id, fields_hash, catalogue_version, day,
    run_id)
  select row_id, case when row_number < 10 then 'knots' else '' end,
    case when row_number < 10 then 'earning' else 'skipped' end,
    case when row_number = 10 then 'outcome=failed' end,
    case when row_number < 10 then uuid_of(2, row_number) end, row_hash, :version, :day, 'run'
  from landed.row where dataset = 'lms.done' and row_number <= 10;
insert into ledger.plan (plan_id, hash, kind, scope, as_of, catalogue_version, counts, state, created_by, run_id)
  values (uuid_of(4, 1), :version, 'issue', 'day:' || :day, '2026-03-02 12:00Z', :version, '{}', 'applied', 'x', 'run');
insert into ledger.approval (plan_id, plan_hash, kind, approver) values (uuid_of(4, 1), :version, 'catalogue', 'x');
insert into ledger.plan_line (plan_id, ordinal, action, achievement, award_id, credential_id, cause, person_id, row_id,
    reasons, inputs, state)
  select uuid_of(4, 1), n, case n when 9 then 'hold' else 'create' end, 'knots', uuid_of(2, n), uuid_of(3, n), 'issue',
    uuid_of(1, n), r.row_id, '[]', '{}', case n when 9 then 'held' else 'applied' end
  from generate_series(1, 9) n join landed.row r on r.dataset = 'lms.done' and r.row_number = n;
insert into ledger.hold (award_id, cause, action, reasons, state, plan_id)
  values (uuid_of(2, 9), 'issue', 'create', '["no_name", "no_identifier"]', 'waiting', uuid_of(4, 1));
insert into ledger.status_list (list_number, purpose, ordinal, secret_version, version)
  values (1, 'revocation', 0, 1, 1);
"""

ISSUED = """
insert into ledger.credential (credential_id, award_id, cause, public_id, id_secret_version, salt_secret_version,
    person_id, achievement, plan_id, ordinal, key_id, list_number, status_index, as_of, awarded_on, valid_until,
    document, document_form, document_sha256, run_id)
  values (uuid_of(3, :n), uuid_of(2, :n), 'issue', :public, 1, 1, uuid_of(1, :n), 'knots', uuid_of(4, 1), :n, 'key-1',
    1, :n, '2026-03-02 12:00Z', date '2026-02-01' + :n, case when :n > 4 then timestamptz '2027-02-15Z' end,
    :stored, :form, :sha, 'run');
insert into ledger.credential_state (credential_id, state, version) values (uuid_of(3, :n), :state, :version);
insert into ledger.event (credential_id, seq, kind, actor, run_id)
  values (uuid_of(3, :n), 1, 'issued', 'x', 'run'), (uuid_of(3, :n), 2, 'published', 'x', 'run');
insert into ledger.event (credential_id, seq, kind, actor, run_id)
  select uuid_of(3, :n), 3, :state, 'x', 'run' where :version = 2;
insert into outbox.message (message_id, kind, credential_id, person_id)
  values (uuid_of(5, :n), 'issued', uuid_of(3, :n), uuid_of(1, :n));
insert into ledger.publication (target, path, kind, credential_id, digest, version, size_bytes, run_id)
  values (:target, 'credentials/' || :public || '.json', 'credential', uuid_of(3, :n), :sha, 1, 1, 'run'),
         (:target, 'state/' || :public || '.json', 'state', uuid_of(3, :n), :state_sha, :version, 1, 'run');
"""

STATUS = """
insert into ledger.publication (target, path, kind, digest, version, size_bytes, run_id)
  values (:target, 'status/1.json', 'status_list', :sha, 1, 1, 'run')
"""

# A temporary function: the application's role owns no schema that could keep one.
UUID_OF = """
create or replace function pg_temp.uuid_of(kind bigint, n bigint) returns uuid language sql immutable as
  $$ select (lpad(to_hex(kind), 16, '0') || lpad(to_hex(n), 16, '0'))::uuid $$
"""


def write(engine: Engine) -> dict[str, bytes]:
    """Fill the ledger; returns the published objects by path. Credential 3 is revoked."""
    objects: dict[str, bytes] = {}
    common = {
        "day": DAY, "version": digest("catalogue"), "target": TARGET, "catalogue": json.dumps(CATALOGUE)
    }  # fmt: skip
    with engine.begin() as connection:
        connection.execute(text(UUID_OF))
        run(connection, ROWS + LEDGER, common)
        for n in range(1, CREDENTIALS + 1):
            document = json.dumps({"id": f"https://x.example/credentials/{n}", "n": n}).encode()
            form, stored = store_document(document)
            state = json.dumps({"state": n}).encode()
            public = f"public{n}"
            objects |= {f"credentials/{public}.json": document, f"state/{public}.json": state}
            run(
                connection,
                ISSUED,
                {
                    **common, "n": n, "public": public, "stored": stored, "form": form, "sha": digest(document),
                    "state_sha": digest(state), "state": "revoked" if n == 3 else "current",
                    "version": 2 if n == 3 else 1,
                },
            )  # fmt: skip
        objects["status/1.json"] = status_list({3})
        run(connection, STATUS, {**common, "sha": digest(objects["status/1.json"])})
    return objects


def status_list(indices: set[int]) -> bytes:
    return json.dumps({"credentialSubject": {"encodedList": encode(131_072, indices)}}).encode()


def run(connection: Connection, statements: str, parameters: dict[str, object]) -> None:
    for statement in statements.replace("uuid_of", "pg_temp.uuid_of").split(";"):
        if statement.strip():
            connection.execute(text(statement), parameters)


def by_hand(server_url: str, database_url: str, statement: str) -> None:
    """Change the ledger as only a superuser can: past triggers, foreign keys and grants."""
    url = make_url(server_url).set(drivername="postgresql+psycopg", database=make_url(database_url).database)
    engine = create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        connection.execute(text("set local session_replication_role = replica"))
        connection.execute(text(UUID_OF))
        run(connection, statement, {})

"""An approved plan of many credentials in a ledger of its own, with all that its lines cite: what `--store` applies.

Belongs here: rows as the stages before would have left them, made by the server in a minute a million. Does not belong
here: measuring (store.py). Ids come from the same number of random bits as real ones: indexes cost the same.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import Connection, Engine, text

from credential_pipeline.institution import Institution

DAY = "2026-03-02"
KEY_START = datetime(2026, 1, 1, tzinfo=UTC)
AS_OF = datetime(2026, 3, 2, 10, tzinfo=UTC)
PLAN = UUID(int=1)
PLAN_HASH = hashlib.sha256(b"plan of the bench").digest()
ACHIEVEMENTS = 20
SKILLS = ("Planning", "Measuring")


def training_house(*, verify: str = "sample") -> Institution:
    """An institution whose credentials have about 3 kB: a name, two identifiers, a score, credits and alignments."""
    columns = {name: name for name in ("person", "full_name", "email")}
    return Institution.model_validate(
        {
            "id": "bench",
            "sample": True,
            "issuer": {"name": "Bench House", "url": "https://bench.example", "description": "Measures itself."},
            "base_url": "https://badges.bench.example",
            "time_zone": "Europe/London",
            "history_from": "2026-01-01",
            "policies": {"verify": verify},
            "recipient": {
                "name": "shown",
                "identifiers": [{"type": "emailAddress", "from": "email"}, {"type": "systemId", "from": "lms"}],
            },
            "sources": [
                {
                    "id": "lms",
                    "kind": "files",
                    "system": "lms",
                    "name": "Learning",
                    "datasets": [
                        {"id": "users", "role": "people", "files": "users.csv", "columns": columns},
                        {
                            "id": "completions",
                            "role": "evidence",
                            "files": "completions.csv",
                            "columns": {name: name for name in ("person", "course", "term", "done", "score")},
                            "gate": {"checks": [{"check": "date", "field": "done"}]},
                        },
                    ],
                }
            ],
            "catalogue": {
                "programmes": [
                    {
                        "id": "courses",
                        "name": "Courses",
                        "achievements": [_achievement(n) for n in range(ACHIEVEMENTS)],
                    }
                ]
            },
        }
    )


def _achievement(number: int) -> dict[str, object]:
    name = f"Course {number}"
    return {
        "id": f"course-{number}",
        "name": name,
        "type": "Course",
        "description": f"{name}: what has to be known, and how to find out whether it is.",
        "criteria": f"Completed all assessments of {name} with at least half of the points in each of them.",
        "earned_by": [
            {"dataset": "lms.completions", "where": {"course": f"course-{number}"}, "awarded_on": "done"}
        ],
        "occurrence": {"per": "term"},
        "validity": {"years": 2},
        "results": [
            {"id": "score", "name": "Final score", "type": "Percent", "field": "score", "min": "0", "max": "100"}
        ],
        "credits": "1.5",
        "code": f"C-{number}",
        "language": "en",
        "alignments": [
            {
                "target_name": skill,
                "target_url": f"https://skills.bench.example/{skill.lower()}",
                "target_framework": "Skills of the bench",
                "target_type": "ceasn:Competency",
            }
            for skill in SKILLS
        ],
    }  # fmt: skip


# md5 of a number stands for a SHA-1 name of something; the server makes a million in seconds.
_ID = "md5('{} ' || n)::uuid"
_PERSON, _AWARD, _CREDENTIAL = (_ID.format(kind) for kind in ("person", "award", "credential"))
_EACH = "generate_series(1, :n) n"
_ROWS = (
    (
        "insert into landed.row (row_id, dataset, row_hash, cells, file_id, row_number, day, run_id)"
        " select n, 'lms.completions', sha256(('row ' || n)::bytea), '{}', 1, n, :day, 'bench'"
        f" from {_EACH}"
    ),
    (
        "insert into accepted.row (row_id, dataset, source_key, fields, fields_hash, gate_version, day, run_id)"
        " select n, 'lms.completions', 'lms:U' || n, jsonb_build_object('person', 'U' || n, 'score', (n % 101)::text),"
        f" sha256(('fields ' || n)::bytea), sha256('gate'), :day, 'bench' from {_EACH}"
    ),
    (
        "insert into identity.person (person_id, first_source_key, first_day, run_id)"
        f" select {_PERSON}, 'lms:U' || n, :day, 'bench' from {_EACH}"
    ),
    (
        "insert into identity.source_record (source_key, source, person_id, row_id, fields_hash, full_name, email,"
        f" identifiers, link_rule, day, run_id) select 'lms:U' || n, 'lms', {_PERSON}, n,"
        f" sha256(('record ' || n)::bytea),"
        " 'Learner ' || translate(n::text, '0123456789', 'abcdefghij'), 'u' || n || '@bench.example', '{}',"
        " 'first_sight',"
        f" :day, 'bench' from {_EACH}"
    ),
    (
        "insert into ledger.award (award_id, person_id, achievement, occurrence, awarded_on, day, run_id)"
        f" select {_AWARD}, {_PERSON}, 'course-' || n % {ACHIEVEMENTS}, '2026SP', date '2026-01-05' + n % 50,"
        f" :day, 'bench'"
        f" from {_EACH}"
    ),
    (
        "insert into ledger.plan_line (plan_id, ordinal, action, achievement, award_id, credential_id, cause,"
        " person_id,"
        " row_id, status_ordinal, facts, reasons, inputs, state, run_id)"
        f" select :plan, n - 1, 'create', 'course-' || n % {ACHIEVEMENTS}, {_AWARD}, {_CREDENTIAL}, 'issue',"
        f" {_PERSON}, n,"
        " n - 1, jsonb_build_object('awarded_on', date '2026-01-05' + n % 50, 'occurrence', '2026SP',"
        "   'name', 'Learner ' || translate(n::text, '0123456789', 'abcdefghij'), 'identifiers', jsonb_build_array("
        "     jsonb_build_object('type', 'emailAddress', 'value', 'u' || n || '@bench.example'),"
        "     jsonb_build_object('type', 'systemId', 'value', 'U' || n)),"
        "   'results', jsonb_build_array(jsonb_build_object('id', 'score', 'value', (n % 101)::text)),"
        "   'valid_until', to_char(date '2028-01-05' + n % 50, 'YYYY-MM-DD') || 'T00:00:00+00:00'),"
        " '[\"earned\"]', jsonb_build_object('row', encode(sha256(('row ' || n)::bytea), 'hex'),"
        "   'fields', encode(sha256(('fields ' || n)::bytea), 'hex'),"
        "   'records', jsonb_build_array(encode(sha256(('record ' || n)::bytea), 'hex'))), 'planned', 'bench'"
        f" from {_EACH}"
    ),
)  # fmt: skip


def make_approved_plan(superuser: Engine, institution: Institution, count: int) -> UUID:
    """Rows, persons, awards and an approved plan of `count` create lines; needs the superuser, to skip foreign keys."""
    with superuser.begin() as connection:
        connection.execute(text("set local session_replication_role = replica"))
        _header(connection, institution, count)
        for statement in _ROWS:
            connection.execute(
                text(statement), {"n": count, "day": DAY, **({"plan": PLAN} if ":plan" in statement else {})}
            )
    with superuser.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("vacuum (analyze) landed.row, accepted.row, identity.person, identity.source_record"))
        connection.execute(text("vacuum (analyze) ledger.award, ledger.plan_line"))
        connection.execute(text("checkpoint"))
    return PLAN


def _header(connection: Connection, institution: Institution, count: int) -> None:
    version = institution.catalogue.version
    connection.execute(
        text("insert into ledger.catalogue_version values (:v, cast(:c as jsonb), 'bench')"),
        {"v": version, "c": institution.catalogue.model_dump_json()},
    )
    connection.execute(
        text(
            "insert into landed.file (file_id, dataset, name, digest, size_bytes, row_count, day, run_id)"
            " overriding system value values (1, 'lms.completions', 'completions.csv', sha256('f'), 1, :n, :day,"
            " 'bench')"
        ),
        {"n": count, "day": DAY},
    )
    connection.execute(
        text(
            "insert into ledger.plan (plan_id, hash, kind, scope, as_of, catalogue_version, counts, state, created_by,"
            " run_id) values (:p, :h, 'issue', 'day:' || :day, :as_of, :v, '{}', 'approved', 'pipeline', 'bench')"
        ),
        {"p": PLAN, "h": PLAN_HASH, "day": DAY, "as_of": AS_OF, "v": version},
    )
    connection.execute(
        text(
            "insert into ledger.approval (plan_id, plan_hash, kind, approver)"
            " values (:p, :h, 'catalogue', 'catalogue ' || :v)"
        ),
        {"p": PLAN, "h": PLAN_HASH, "v": version.hex()},
    )

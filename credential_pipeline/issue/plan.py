"""A plan: what would happen to a day's awards, line by line, stored before anything happens.

Belongs here: finding the candidates, storing the plan with its hash, holds, and approval by catalogue version.
Does not belong here: what a line says (lines.py) and carrying it out (apply.py).
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from itertools import islice
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Engine, text

from credential_pipeline.credential import identifiers
from credential_pipeline.institution import Institution
from credential_pipeline.issue.batch import pin_batch
from credential_pipeline.issue.earn import ISSUING_LOCK
from credential_pipeline.issue.lines import CAUSE_ISSUE, Candidate, Line, line_of
from credential_pipeline.issue.status_blocks import reserve
from credential_pipeline.store.postgres import copy_rows, transaction_lock
from credential_pipeline.store.secrets import SecretsDirectory
from credential_pipeline.store.signing import key_at

log = logging.getLogger(__name__)

LINES_AT_ONCE = 4000


@dataclass(frozen=True)
class PlanResult:
    """The plan made for a day (None: nothing to do) and its lines by action."""

    plan_id: UUID | None
    hash: bytes | None
    counts: Mapping[str, int]


def plan_day(
    engine: Engine, institution: Institution, secrets: SecretsDirectory, day: date, as_of: datetime, run_id: str
) -> PlanResult:
    """Plan a day's awards that have no credential yet; approve what the catalogue approves.

    One transaction: the plan, its lines, holds, approval and status blocks are there together or not at all.
    Raises Terminal when `as_of` is before the first signing key's start: nothing is planned that could not be signed.
    Lines of a plan that a run which died left unfinished are not planned again: `open_plans` finds that plan.
    """
    key_at(secrets, as_of)
    with engine.begin() as connection:
        transaction_lock(connection, ISSUING_LOCK)
        plan_id, digest, counts, sizes = _store(connection, institution, day, as_of, run_id)
        if plan_id is not None:
            _hold(connection, plan_id)
            _approve(connection, plan_id, institution.catalogue.version, sizes, secrets)
            log.info("plan: %s", ", ".join(f"{n} {action}" for action, n in sorted(counts.items())))
    return PlanResult(plan_id, digest, counts)


def open_plans(engine: Engine) -> list[UUID]:
    """Approved plans that are not finished, oldest first: this run's, and those of a run that died."""
    with engine.connect() as connection:
        found = connection.scalars(
            text("select plan_id from ledger.plan where state = 'approved' order by recorded_at, plan_id")
        )
        return list(found)


def _store(
    connection: Connection, institution: Institution, day: date, as_of: datetime, run_id: str
) -> tuple[UUID | None, bytes | None, Counter[str], Counter[str]]:
    connection.execute(text("create temporary table draft (like ledger.plan_line) on commit drop"))
    connection.execute(text("alter table draft alter column plan_id drop not null"))
    header = {
        "institution": institution.id,
        "scope": f"day:{day}",
        "as_of": as_of.astimezone(UTC).isoformat(),
        "catalogue": institution.catalogue.version.hex(),
    }
    hashed = hashlib.sha256(_canonical(header))
    counts: Counter[str] = Counter()
    columns = (
        "ordinal", "action", "achievement", "award_id", "credential_id", "cause", "person_id", "row_id",
        "status_ordinal", "facts", "reasons", "inputs", "state", "run_id",
    )  # fmt: skip
    purposes: Counter[str] = Counter()
    pin_batch(connection, institution, day)
    stream = _lines(connection, institution, as_of)
    while lines := list(islice(stream, LINES_AT_ONCE)):
        rows = []
        for line in lines:
            hashed.update(_canonical(_essence(line)))
            status_ordinal = None
            if line.purpose:
                status_ordinal = purposes[line.purpose]
                purposes[line.purpose] += 1
            rows.append(_row(counts.total(), line, status_ordinal, run_id))
            counts[line.action] += 1
        copy_rows(connection, "draft", columns, rows)
    if not counts:
        return None, None, counts, purposes
    digest = hashed.digest()
    plan_id = identifiers.plan_id(institution.id, digest)
    connection.execute(
        text(
            "insert into ledger.plan (plan_id, hash, kind, scope, as_of, catalogue_version, counts, state, created_by,"
            " run_id) values (:plan, :hash, 'issue', :scope, :as_of, :version, cast(:counts as jsonb), 'planned',"
            " 'pipeline', :run)"
        ),
        {
            "plan": plan_id, "hash": digest, "scope": header["scope"], "as_of": as_of,
            "version": institution.catalogue.version, "counts": json.dumps(counts), "run": run_id,
        },
    )  # fmt: skip
    names = ", ".join(columns)
    connection.execute(
        text(f"insert into ledger.plan_line (plan_id, {names}) select :plan, {names} from draft"), {"plan": plan_id}
    )
    return plan_id, digest, counts, purposes


# A person contests another's award when their records may be one human (a review pair that waits, or that somebody
# found to be the same and the source has not joined yet) and both earned the same achievement and occurrence:
# issuing both could be issuing twice.
CONTESTED = """
with pair as (
  select l.person_id as one, r.person_id as other
  from identity.review_pair p
  join identity.source_record l on l.source_key = p.left_key
  join identity.source_record r on r.source_key = p.right_key
  where p.state <> 'different' and l.person_id <> r.person_id
)
select t.one, o.achievement, o.occurrence
from (select one, other from pair union select other, one from pair) t
join ledger.award o on o.person_id = t.other and o.duplicate_of is null
"""

CANDIDATES = """
with wanted as (
  select distinct on (w.award_id) w.*, d.row_id
  from issue_batch b
  join ledger.decision d on d.row_id = b.row_id and d.outcome = 'earning'
  join ledger.award w using (award_id)
  where w.duplicate_of is null
    and not exists (select from ledger.credential c where c.award_id = w.award_id and c.cause = :cause)
    and not exists (select from ledger.plan_line l join ledger.plan p using (plan_id)
                    where l.award_id = w.award_id and l.action = 'create' and l.state = 'planned')
    and not exists (select from ledger.hold h
                    where h.award_id = w.award_id and h.cause = :cause and h.state = 'rejected')
  order by w.award_id, d.row_id
)
select w.award_id, w.person_id, w.achievement, w.occurrence, w.awarded_on, w.row_id, r.row_hash, a.fields_hash,
       a.fields,
       (select jsonb_agg(jsonb_build_object(
          'source', s.source, 'source_key', s.source_key, 'full_name', s.full_name, 'given_name', s.given_name,
          'family_name', s.family_name, 'email', s.email, 'fields_hash', encode(s.fields_hash, 'hex')))
        from identity.source_record s where s.person_id = w.person_id) as records
from wanted w
join accepted.row a using (row_id)
join landed.row r using (row_id)
order by w.achievement, w.award_id
"""

NEW_SKIPS = """
select a.row_id, r.row_hash, a.fields_hash, d.reason, d.award_id
from issue_batch b
join accepted.row a using (row_id)
join landed.row r using (row_id)
join ledger.decision d using (row_id)
where d.outcome = 'skipped'
  and not exists (select from ledger.plan_line l where l.row_id = d.row_id and l.action = 'skip')
order by r.row_hash, a.row_id
"""

DUPLICATES = """
select w.award_id, w.person_id, w.achievement, c.credential_id
from ledger.award w
join ledger.credential c using (award_id)
join ledger.credential_state s using (credential_id)
where w.duplicate_of is not null and s.state = 'current'
  and not exists (select from ledger.hold h where h.award_id = w.award_id and h.cause = c.cause and h.action = 'revoke')
order by w.award_id
"""


def _lines(connection: Connection, institution: Institution, as_of: datetime) -> Iterator[Line]:
    scope = {"cause": CAUSE_ISSUE}
    achievements = institution.catalogue.achievements
    waiting = {
        award: (tuple(reasons), str(plan))
        for award, reasons, plan in connection.execute(
            text("select award_id, reasons, plan_id from ledger.hold where cause = :cause and action = 'create'"),
            scope,
        )
    }
    streamed = {"yield_per": LINES_AT_ONCE}
    contested = {tuple(row) for row in connection.execute(text(CONTESTED))}
    for row in connection.execute(text(CANDIDATES), scope, execution_options=streamed):
        candidate = Candidate(**row._asdict(), contested=(row.person_id, row.achievement, row.occurrence) in contested)
        line = line_of(candidate, achievements[candidate.achievement], institution, as_of)
        reasons, plan = waiting.get(candidate.award_id, ((), None))
        if plan:  # else what was held and is as it was before would make the plan of before, and its id, once more
            line = replace(line, inputs={**line.inputs, "hold": plan})
        if line.action != "hold" or reasons != line.reasons:
            yield line
    for award, person, achievement, credential in connection.execute(text(DUPLICATES)):
        yield Line(
            "hold", ("revoke_duplicate_after_merge",), {}, achievement, award, credential, CAUSE_ISSUE, person,
            facts={"action": "revoke"},
        )  # fmt: skip
    for row_id, row_hash, fields_hash, reason, award in connection.execute(
        text(NEW_SKIPS), scope, execution_options=streamed
    ):
        cited = {"row": row_hash.hex(), "fields": fields_hash.hex()}
        yield Line("skip", (reason,), cited, award_id=award, row_id=row_id)


def _essence(line: Line) -> dict[str, Any]:
    # Database row numbers differ between two homes with the same rows: hashes stand for them.
    return {
        "action": line.action,
        "reasons": line.reasons,
        "inputs": line.inputs,
        "achievement": line.achievement,
        "award": str(line.award_id) if line.award_id else None,
        "credential": str(line.credential_id) if line.credential_id else None,
        "cause": line.cause,
        "facts": line.facts,
    }


def _row(ordinal: int, line: Line, status_ordinal: int | None, run_id: str) -> tuple[object, ...]:
    state = {"create": "planned", "hold": "held", "skip": "skipped"}[line.action]
    facts = json.dumps(line.facts, ensure_ascii=False) if line.facts is not None else None
    return (
        ordinal, line.action, line.achievement, line.award_id, line.credential_id, line.cause, line.person_id,
        line.row_id, status_ordinal, facts, json.dumps(line.reasons), json.dumps(line.inputs), state, run_id,
    )  # fmt: skip


def _canonical(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode() + b"\n"


def _hold(connection: Connection, plan: UUID) -> None:
    connection.execute(
        text(
            "insert into ledger.hold as h (award_id, cause, action, reasons, state, plan_id)"
            " select award_id, cause, coalesce(facts->>'action', 'create'), reasons, 'waiting', plan_id"
            " from ledger.plan_line where plan_id = :plan and action = 'hold'"
            " on conflict (award_id, cause, action) do update set reasons = excluded.reasons, state = 'waiting',"
            "   plan_id = excluded.plan_id where h.state <> 'rejected'"
        ),
        {"plan": plan},
    )
    connection.execute(
        text(
            "update ledger.hold h set state = 'released', decided_by = 'pipeline', decided_at = clock_timestamp(),"
            " decision_reason = 'the reasons to wait are gone' from ledger.plan_line l"
            " where l.plan_id = :plan and l.action = 'create' and h.award_id = l.award_id and h.cause = l.cause"
            " and h.action = 'create' and h.state = 'waiting'"
        ),
        {"plan": plan},
    )


def _approve(
    connection: Connection, plan: UUID, catalogue_version: bytes, sizes: Mapping[str, int], secrets: SecretsDirectory
) -> None:
    """Approve the plan's create lines: all are of `auto` achievements, whose approval is the catalogue's version."""
    for purpose, size in sorted(sizes.items()):
        reserve(connection, plan, purpose, size, secrets.secret("status").version)
    if sizes:
        connection.execute(
            text(
                "insert into ledger.approval (plan_id, plan_hash, kind, approver)"
                " select plan_id, hash, 'catalogue', :approver from ledger.plan where plan_id = :plan"
            ),
            {"plan": plan, "approver": f"catalogue {catalogue_version.hex()}"},
        )
    connection.execute(
        text("update ledger.plan set state = :state where plan_id = :plan"),
        {"plan": plan, "state": "approved" if sizes else "applied"},
    )

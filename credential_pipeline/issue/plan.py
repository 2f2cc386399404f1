"""A day's plan: what would happen to its awards, line by line, stored before anything happens.

Belongs here: finding the candidates of a day, and the two plans of a day: `auto`, let through by the catalogue's
version, and `four_eyes`, which waits for signatures (approve.py). Does not belong here: what a line says (lines.py),
storing a plan (plans.py) and carrying it out (apply.py).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Engine, Row, text

from credential_pipeline.institution import Institution
from credential_pipeline.issue import plans
from credential_pipeline.issue.alarms import Alarms, find_alarms
from credential_pipeline.issue.batch import pin_batch
from credential_pipeline.issue.lines import (
    APPROVAL_REQUIRED,
    CAUSE_ISSUE,
    NOT_FOR_RELEASE,
    Candidate,
    Line,
    line_of,
)
from credential_pipeline.issue.plans import ISSUING_LOCK, LINES_AT_ONCE, PIPELINE, Header, OpenPlan, Stored
from credential_pipeline.store.postgres import transaction_lock
from credential_pipeline.store.secrets import SecretsDirectory
from credential_pipeline.store.signing import key_at

log = logging.getLogger(__name__)

NO_PLAN = UUID(int=0)


@dataclass(frozen=True)
class PlanResult:
    """The plan that stands for a day (None: nothing to do) and its lines by action.

    `waiting`: the day's plan of four-eyes achievements, and how many credentials it waits to make.
    """

    plan_id: UUID | None
    hash: bytes | None
    counts: Mapping[str, int]
    waiting: tuple[UUID, int] | None = None


def plan_day(
    engine: Engine,
    institution: Institution,
    secrets: SecretsDirectory,
    day: date,
    as_of: datetime,
    run_id: str,
    *,
    created_by: str = PIPELINE,
) -> PlanResult:
    """Plan a day's awards that have no credential yet; approve what the catalogue approves.

    One transaction: the plans, their lines, holds and approval are there together or not at all. A plan of which
    nothing has been applied is made again with its own `as_of`: the same hash, and it stands; another, and the new
    plan takes its place, with this `as_of`. Lines of a plan that a run which died left half applied are not planned
    again: `plans.open_plans` finds that plan.

    Raises:
        Terminal: `as_of` is before the first signing key's start: nothing is planned that could not be signed.
    """
    key_at(secrets, as_of)
    with engine.begin() as connection:
        transaction_lock(connection, ISSUING_LOCK)
        pin_batch(connection, institution, day)
        header = Header("issue", f"day:{day}", as_of, created_by=created_by)
        alarms = find_alarms(connection, institution)
        auto = _plan(connection, institution, header, run_id, alarms)
        waiting = _plan(connection, institution, replace(header, approval="four_eyes"), run_id, alarms)
        if auto is not None and auto.does_something:
            plans.approve_by_catalogue(connection, institution, auto.plan_id)
    for made in (auto, waiting):
        if made is not None:
            log.info("plan: %s", ", ".join(f"{n} {action}" for action, n in sorted(made.counts.items())))
    return PlanResult(
        auto.plan_id if auto else None,
        auto.hash if auto else None,
        auto.counts if auto else {},
        (waiting.plan_id, waiting.counts["create"]) if waiting else None,
    )


def _plan(
    connection: Connection, institution: Institution, header: Header, run_id: str, alarms: Alarms
) -> Stored | None:
    """The plan that stands, or its successor. `approval` says which of the day's two it is."""
    before = plans.not_begun(connection, header)
    told = _only_told(connection, header) if before is None else None
    if (known := before or told) is not None:
        again = replace(header, as_of=known.as_of)
        lines = _lines(connection, institution, again, known.plan_id, alarms)
        stands = plans.store_plan(connection, institution, again, lines, run_id, only=known.plan_id)
        if stands is not None:
            return stands
    if before is not None:
        plans.set_aside(connection, before.plan_id)
    lines = _lines(connection, institution, header, NO_PLAN, alarms)
    return plans.store_plan(connection, institution, header, lines, run_id)


def _only_told(connection: Connection, header: Header) -> OpenPlan | None:
    """The last plan of this kind, scope and approval, where it had nothing to do: holds and skips only."""
    row = connection.execute(
        text(
            "select plan_id, hash, as_of, not (counts ?| cast(:open as text[])) as told from ledger.plan"
            " where kind = :kind and scope = :scope and approval = :approval and state <> 'stale'"
            " order by recorded_at desc limit 1"
        ),
        {"kind": header.kind, "scope": header.scope, "approval": header.approval, "open": list(plans.OPEN)},
    ).first()
    return OpenPlan(row.plan_id, row.hash, row.as_of) if row is not None and row.told else None


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
  where w.duplicate_of is null and w.achievement = any(:achievements)
    and not exists (select from ledger.credential c where c.award_id = w.award_id and c.cause = :cause)
    and not exists (select from ledger.plan_line l join ledger.plan p using (plan_id)
                    where l.award_id = w.award_id and l.action = 'create' and l.state = 'planned'
                      and p.approval in (:approval, 'auto') and p.plan_id <> :again)
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
  and not exists (select from ledger.plan_line l where l.row_id = d.row_id and l.action = 'skip'
                    and l.plan_id <> :again)
order by r.row_hash, a.row_id
"""

DUPLICATES = """
select w.award_id, w.person_id, w.achievement, c.credential_id, c.cause, s.version, h.plan_id as released_from
from ledger.award w
join ledger.credential c using (award_id)
join ledger.credential_state s using (credential_id)
left join ledger.hold h on h.award_id = w.award_id and h.cause = c.cause and h.action = 'revoke'
  and (h.plan_id <> :again or h.state <> 'waiting')
where w.duplicate_of is not null and s.state = 'current' and (h.state is null or h.state = 'released')
order by w.award_id, c.cause
"""


def _lines(
    connection: Connection, institution: Institution, header: Header, again: UUID, alarms: Alarms
) -> Iterator[Line]:
    """The lines of one of the day's two plans; what the plan `again` already says counts as not said."""
    achievements = institution.catalogue.achievements
    wanted = [a.id for a in achievements.values() if header.approval in ("auto", a.approval)]
    scope = {"cause": CAUSE_ISSUE, "approval": header.approval, "again": again, "achievements": wanted}
    holds = _holds(connection, again)
    contested = {tuple(row) for row in connection.execute(text(CONTESTED))}
    streamed = {"yield_per": LINES_AT_ONCE}
    for row in connection.execute(text(CANDIDATES), scope, execution_options=streamed):
        candidate = Candidate(
            **row._asdict(),
            contested=(row.person_id, row.achievement, row.occurrence) in contested,
            alarms=alarms.get(row.award_id, frozenset()),
        )
        hold = holds.get(candidate.award_id, NOT_HELD)
        line = line_of(candidate, achievements[candidate.achievement], institution, header.as_of, hold.released)
        if header.approval == "four_eyes":
            if line.reasons == (APPROVAL_REQUIRED,):
                yield line_of(
                    candidate,
                    achievements[candidate.achievement],
                    institution,
                    header.as_of,
                    (*hold.released, APPROVAL_REQUIRED),
                )
            continue
        if hold.plan:  # else what was held and is as it was before would make the plan of before, and its id, once more
            line = replace(line, inputs={**line.inputs, "hold": hold.plan})
        if line.action != "hold" or hold.waiting != line.reasons:
            yield line
    if header.approval == "four_eyes":
        return
    for row in connection.execute(text(DUPLICATES), scope):
        yield _duplicate(row)
    for row_id, row_hash, fields_hash, reason, award in connection.execute(
        text(NEW_SKIPS), scope, execution_options=streamed
    ):
        cited = {"row": row_hash.hex(), "fields": fields_hash.hex()}
        yield Line("skip", (reason,), cited, award_id=award, row_id=row_id)


def _duplicate(row: Row[Any]) -> Line:
    """The second credential for one thing, after a merge: held, and revoked once a person has released that."""
    about = {"achievement": row.achievement, "award_id": row.award_id, "cause": row.cause, "person_id": row.person_id}
    reasons = ("revoke_duplicate_after_merge",)
    if row.released_from is None:
        return Line("hold", reasons, {}, credential_id=row.credential_id, facts={"action": "revoke"}, **about)
    inputs = {"prior": f"current:{row.version}", "hold": str(row.released_from)}
    return Line("revoke", reasons, inputs, prior_id=row.credential_id, **about)


@dataclass(frozen=True)
class _Hold:
    """How an award is held: the reasons it waits for, those that a person released, and the plan that said so."""

    waiting: tuple[str, ...] = ()
    released: tuple[str, ...] = ()
    plan: str | None = None


NOT_HELD = _Hold()


def _holds(connection: Connection, again: UUID) -> dict[UUID, _Hold]:
    """Holds by award; one that the plan `again` made and nobody has decided about is as it was before that plan.

    What it was before is gone from its row; the plan's line says which plan it cited.
    """
    rows = connection.execute(
        text(
            "select h.award_id, h.reasons, h.state, h.released, h.plan_id, l.inputs->>'hold' as cited"
            " from ledger.hold h left join ledger.plan_line l on l.plan_id = :again and l.action = 'hold'"
            "   and l.award_id = h.award_id and l.cause = h.cause"
            " where h.cause = :cause and h.action = 'create'"
        ),
        {"cause": CAUSE_ISSUE, "again": again},
    )
    return {row.award_id: _hold_of(row, again) for row in rows}


def _hold_of(row: Row[Any], again: UUID) -> _Hold:
    released = tuple(reason for reason in row.released or () if reason not in NOT_FOR_RELEASE)
    if row.plan_id == again and row.state == "waiting":
        return _Hold(released=released, plan=row.cited)
    waiting = tuple(row.reasons) if row.state == "waiting" else ()
    return _Hold(waiting, released, str(row.plan_id))

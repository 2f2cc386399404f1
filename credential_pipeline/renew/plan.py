"""A window's plans: which of its credentials are renewed, which are blocked and why; stored before anything happens.

Two plans, as for a day: the `auto` achievements of a shard (scope `window:2027-03/0`), let through by the catalogue's
version, and the `four_eyes` ones of all shards (scope `window:2027-03`), approved once for the window and applied shard
by shard. With the policy `renewal_approval: window` all are `four_eyes`. Belongs here: finding and judging the due.
Does not belong here: requirements (requirements.py), storing a plan (issue/plans.py) and carrying it out.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from itertools import groupby
from operator import attrgetter
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Engine, Row, text

from credential_pipeline.credential import identifiers
from credential_pipeline.credential.keys import Signer
from credential_pipeline.institution import Institution
from credential_pipeline.institution.calendar import day_of, start_of_day
from credential_pipeline.institution.catalogue import Achievement
from credential_pipeline.issue import plans
from credential_pipeline.issue.apply import apply_plan
from credential_pipeline.issue.chunks import ApplyResult
from credential_pipeline.issue.lines import (
    NOT_FOR_RELEASE,
    OF_THE_AWARD,
    Line,
    evidence_no_url,
    outside_limits,
    recipient_of,
)
from credential_pipeline.issue.plans import ISSUING_LOCK, LINES_AT_ONCE, PIPELINE, SHARD_OF, Header, Stored
from credential_pipeline.renew.due import ENDING, OF_SHARD, Window, opened, renewed_until
from credential_pipeline.renew.requirements import Asked, Met, Requirements
from credential_pipeline.store.postgres import transaction_lock
from credential_pipeline.store.secrets import SecretsDirectory
from credential_pipeline.store.signing import key_at
from credential_pipeline.worker_processes import Workers

log = logging.getLogger(__name__)

RENEWAL = "renew"
"""The kind of these plans, and the action of their lines."""


@dataclass(frozen=True)
class WindowPlans:
    """The plans that stand for a window: of its shard, and the one of all shards that needs signatures."""

    auto: Stored | None
    four_eyes: Stored | None

    @property
    def counts(self) -> Mapping[str, int]:
        """Lines by action, of both."""
        return Counter(self.auto.counts if self.auto else {}) + Counter(self.four_eyes.counts if self.four_eyes else {})

    @property
    def ids(self) -> tuple[UUID, ...]:
        """Both plans."""
        return tuple(plan.plan_id for plan in (self.auto, self.four_eyes) if plan)


def plan_window(
    engine: Engine,
    institution: Institution,
    secrets: SecretsDirectory,
    of: Window,
    as_of: datetime,
    run_id: str,
    *,
    created_by: str = PIPELINE,
    four_eyes: bool = True,
    goes_on: Sequence[str] = (),
) -> WindowPlans:
    """Plan the renewals of a shard's window that are due, and (`four_eyes`) those of the whole window that wait.

    One transaction. A plan of which nothing has been applied is made again with its own `as_of`: the same hash, and it
    stands; another, and the new plan takes its place. What is renewed or planned already is not planned again, nor is
    what the runs `goes_on` have planned: this one goes on where they were killed.

    Raises:
        Terminal: no key could sign at `as_of`.
    """
    key_at(secrets, as_of)
    lines = _Lines(institution, of)
    header = Header(RENEWAL, of.scope, as_of, created_by=created_by)
    with engine.begin() as connection:
        transaction_lock(connection, ISSUING_LOCK)
        plans.record_catalogue(connection, institution, run_id)
        # What waits for signatures comes first: what no more has to wait is then free for the shard's own plan.
        waiting = _plan_four_eyes(connection, institution, of, header, run_id, goes_on) if four_eyes else None
        auto = plans.stored_by(connection, header, goes_on) or plans.standing_plan(
            connection, institution, header, lines.on(connection), run_id
        )
        if auto is not None and auto.does_something:
            plans.approve_by_catalogue(connection, institution, auto.plan_id)
    found = WindowPlans(auto, waiting)
    if found.ids:
        log.info("%s: %s", of.scope, ", ".join(f"{n} {action}" for action, n in sorted(found.counts.items())))
    return found


def _plan_four_eyes(
    connection: Connection,
    institution: Institution,
    of: Window,
    header: Header,
    run_id: str,
    goes_on: Sequence[str],
) -> Stored | None:
    whole = replace(of, shard=None)
    header = replace(header, scope=whole.scope, approval="four_eyes")
    some_wait = any(_waits(institution, a) for a in opened(institution, of, header.as_of).values())
    if not some_wait and plans.not_begun(connection, header) is None:
        return None
    lines = _Lines(institution, whole)
    return plans.stored_by(connection, header, goes_on) or plans.standing_plan(
        connection, institution, header, lines.on(connection), run_id
    )


def apply_window(
    engine: Engine,
    institution: Institution,
    secrets: SecretsDirectory,
    signer_at: Callable[[datetime], Signer],
    of: Window,
    run_id: str,
    *,
    now: datetime,
    workers: Workers | None = None,
    **options: int,
) -> ApplyResult:
    """Carry out a shard's part of the window's approved plans; what an earlier call did is found done.

    Raises:
        Refused: an approval does not hold, or a plan that needs four eyes went stale.
    """
    with engine.connect() as connection:
        approved = connection.execute(
            text(
                "select plan_id, scope from ledger.plan where kind = :kind and scope = any(:scopes)"
                " and state = 'approved' order by recorded_at, plan_id"
            ),
            {"kind": RENEWAL, "scopes": [of.scope, replace(of, shard=None).scope]},
        ).all()
    done = ApplyResult(0, 0)
    for plan_id, scope in approved:
        shard = None if scope == of.scope else of.shard
        done += apply_plan(
            engine, institution, secrets, signer_at, plan_id, run_id, now=now, shard=shard, workers=workers, **options
        )
    return done


def _waits(institution: Institution, achievement: Achievement) -> bool:
    return institution.policies.renewal_approval == "window" or achievement.approval == "four_eyes"


# The window's credentials are pinned first: from them on everything is looked up by key. Joined in one, a planner that
# has no statistics yet, as after a bulk load, reads the whole window again for each award (60,000 took 10 s a shard).
PIN = f"""
insert into due_window
{ENDING}
select e.credential_id, e.award_id, w.person_id, e.achievement, w.occurrence, e.awarded_on, e.valid_until, e.plan_id,
       e.ordinal
from ending e join ledger.award w using (award_id)
where e.achievement = any(:achievements) and w.duplicate_of is null and {OF_SHARD}
"""

# Whoever corrected a name knew better than the source: a renewal keeps what the correction says. What open plans and
# corrections say of awards is read once, and not looked up for each.
CANDIDATES = f"""
with planned as materialized (
  select x.award_id from ledger.plan p join ledger.plan_line x using (plan_id)
  where p.kind = 'renew' and p.scope = any(:scopes) and p.state in ('planned', 'approved') and p.plan_id <> :again
    and x.action = 'renew' and x.state = 'planned' and x.award_id is not null
), corrected as materialized (
  select x.award_id from ledger.plan p join ledger.plan_line x using (plan_id)
  where p.kind = 'correct' and x.state = 'applied' and x.reasons ? 'name'
)
select d.credential_id, d.award_id, d.person_id, d.achievement, d.awarded_on, d.valid_until, d.occurrence,
       s.state, s.version, l.facts, l.row_id, d.award_id in (select award_id from corrected) as name_corrected,
       (select json_agg(json_build_object(
          'source', r.source, 'source_key', r.source_key, 'full_name', r.full_name, 'given_name', r.given_name,
          'family_name', r.family_name, 'email', r.email, 'fields_hash', encode(r.fields_hash, 'hex')))
        from identity.source_record r where r.person_id = d.person_id) as records
from due_window d
join ledger.credential_state s using (credential_id)
join ledger.plan_line l on l.plan_id = d.plan_id and l.ordinal = d.ordinal
where s.state in ('current', 'suspended') and l.facts is not null
  and not exists (select from ledger.credential n where n.award_id = d.award_id and n.cause = :cause)
  and d.award_id not in (select award_id from planned)
  and not exists (select from ledger.hold h where h.award_id = d.award_id and h.cause = :cause
                  and h.action = 'renew' and h.state = 'rejected')
order by {SHARD_OF.format("d.person_id")}, d.achievement, d.award_id
"""

DUE_WINDOW = """
create temporary table due_window (
  credential_id uuid primary key, award_id uuid, person_id uuid, achievement text, occurrence text, awarded_on date,
  valid_until timestamptz, plan_id uuid, ordinal int) on commit drop
"""


@dataclass(frozen=True)
class _End:
    """What follows from the instant a credential ends at; a window has few of them.

    Attributes:
        day: the day it ends before, in the institution's zone.
        grace_over: whether it is too late to renew it.
        next_end: when the next version ends.
    """

    day: date
    grace_over: bool
    next_end: datetime


class _Lines:
    """Makes the lines of one window's plan, a chunk of candidates at a time."""

    def __init__(self, institution: Institution, of: Window) -> None:
        self._institution = institution
        self._of = of

    def on(self, connection: Connection) -> Callable[[Header, UUID], Iterator[Line]]:
        """The lines as a function of the header and of the plan whose lines count as not said."""
        return lambda header, again: self._lines(connection, header, again)

    def _lines(self, connection: Connection, header: Header, again: UUID) -> Iterator[Line]:
        waits = header.approval == "four_eyes"
        due = opened(self._institution, self._of, header.as_of)
        due = {name: a for name, a in due.items() if _waits(self._institution, a) == waits}
        holds = self._holds(connection, again)
        requirements = Requirements(connection, self._institution, header.as_of)
        connection.execute(text(DUE_WINDOW))
        connection.execute(text(PIN), {**self._of.bounds(self._institution), "achievements": list(due)})
        connection.execute(text("analyze due_window"))
        rows = connection.execute(
            text(CANDIDATES),
            {"cause": self._of.cause, "again": again, "scopes": self._of.scopes},
            execution_options={"yield_per": LINES_AT_ONCE},
        )
        for chunk in rows.partitions():
            for name, group in groupby(chunk, key=attrgetter("achievement")):
                yield from self._chunk(requirements, due[name], list(group), header.as_of, holds)
        connection.execute(text("drop table due_window"))

    def _chunk(
        self,
        requirements: Requirements,
        achievement: Achievement,
        rows: Sequence[Row[Any]],
        as_of: datetime,
        holds: Mapping[UUID, _Hold],
    ) -> Iterator[Line]:
        known = {until: self._end(achievement, until, as_of) for until in {row.valid_until for row in rows}}
        ends = [known[row.valid_until] for row in rows]
        asked = [Asked(row.award_id, row.person_id, end.day) for row, end in zip(rows, ends, strict=True)]
        for row, end, met in zip(rows, ends, requirements.ask(achievement, asked), strict=True):
            hold = holds.get(row.award_id, NOT_HELD)
            line = self._line(achievement, row, end, met, as_of, hold)
            if line.action != "hold" or hold.waiting != line.reasons:
                yield line

    def _end(self, achievement: Achievement, until: datetime, as_of: datetime) -> _End:
        zone, renewal = self._institution.zone, achievement.renewal
        assert renewal is not None  # noqa: S101 - for the type checker
        day = day_of(until, zone)
        return _End(
            day,
            as_of > start_of_day(day + timedelta(days=renewal.grace_days), zone),
            renewed_until(until, achievement, self._institution),
        )

    def _line(self, achievement: Achievement, row: Row[Any], end: _End, met: Met, as_of: datetime, hold: _Hold) -> Line:
        facts = self._facts(row, end)
        waits = self._reasons(achievement, row, end, facts, as_of) + met.missing
        reasons = tuple(r for r in waits if r in NOT_FOR_RELEASE or r not in hold.released)
        inputs: dict[str, Any] = {
            "prior": f"{row.state}:{row.version}",
            "achievement": achievement.version,
            "records": sorted(record["fields_hash"] for record in row.records or ()),
            **met.citations,
        }
        if hold.plan:  # else what was held and is as it was before would make the plan of before once more
            inputs["hold"] = hold.plan
        return Line(
            action="hold" if reasons else "renew",
            reasons=reasons or ("due",),
            inputs=inputs,
            achievement=achievement.id,
            award_id=row.award_id,
            credential_id=identifiers.credential_id(row.award_id, self._of.cause),
            cause=self._of.cause,
            person_id=row.person_id,
            row_id=row.row_id,
            # What is held says nothing of the person: the next plan looks at them again.
            facts={"action": RENEWAL} if reasons else facts,
            purpose=None if reasons else achievement.status_purpose,
            prior_id=row.credential_id,
        )

    def _facts(self, row: Row[Any], end: _End) -> dict[str, Any]:
        """What the next version says: the award as it was, the person as they are now, the next end."""
        institution = self._institution
        facts: dict[str, Any] = {
            "awarded_on": row.awarded_on.isoformat(),
            "occurrence": row.occurrence,
            **recipient_of(row.records or (), institution),
            "valid_until": end.next_end.isoformat(),
        }
        if row.name_corrected and "name" in facts and "name" in row.facts:
            facts["name"] = row.facts["name"]
        return facts | {member: row.facts[member] for member in OF_THE_AWARD if member in row.facts}

    def _reasons(
        self, achievement: Achievement, row: Row[Any], end: _End, facts: Mapping[str, Any], as_of: datetime
    ) -> list[str]:
        institution = self._institution
        name = facts.get("name", "")
        described = {result.id for result in achievement.results}
        waits = {
            "suspended": row.state == "suspended",
            "grace_over": end.grace_over,
            "no_identifier": not facts["identifiers"],
            "no_name": institution.recipient.name == "shown" and not name,
            "name_with_digits": any(map(str.isdigit, name)),
            "result_outside_limits": any(r["id"] not in described for r in facts.get("results", ()))
            or any(outside_limits(result, facts) for result in achievement.results),
            "evidence_no_url": evidence_no_url(facts),
            # VC Data Model 2.0, 4.9: validUntil lies after validFrom.
            "validity_over": end.next_end <= as_of,
        }
        return [reason for reason, holds in waits.items() if holds]

    def _holds(self, connection: Connection, again: UUID) -> dict[UUID, _Hold]:
        rows = connection.execute(
            text(
                "select h.award_id, h.reasons, h.state, coalesce(h.decided_by, '') <> :pipeline as by_a_person,"
                " h.plan_id, l.inputs->>'hold' as cited"
                " from ledger.hold h left join ledger.plan_line l on l.plan_id = :again and l.action = 'hold'"
                "   and l.award_id = h.award_id and l.cause = h.cause"
                " where h.cause = :cause and h.action = 'renew'"
            ),
            {"cause": self._of.cause, "pipeline": PIPELINE, "again": again},
        )
        return {
            # What a hold was before the plan `again` is gone from its row; the plan's line says which plan it cited.
            row.award_id: _Hold(plan=row.cited)
            if row.plan_id == again
            else _Hold(
                waiting=() if row.state == "released" else tuple(row.reasons),
                released=tuple(row.reasons) if row.state == "released" and row.by_a_person else (),
                plan=str(row.plan_id),
            )
            for row in rows
        }


@dataclass(frozen=True)
class _Hold:
    """How a renewal is held: the reasons it waits for, those that a person released, and the plan that said so."""

    waiting: tuple[str, ...] = ()
    released: tuple[str, ...] = ()
    plan: str | None = None


NOT_HELD = _Hold()

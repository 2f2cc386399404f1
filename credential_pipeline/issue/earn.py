"""Accepted evidence -> decisions and awards, by the catalogue's rules.

Belongs here: which rows earn what, and why the others earn nothing. Does not belong here: whether an award
becomes a credential now (plan.py). A decision is made once and again only when its row or the catalogue changed.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from sqlalchemy import Connection, Engine, text

from credential_pipeline.credential import identifiers
from credential_pipeline.institution import Institution
from credential_pipeline.institution.catalogue import Achievement, Catalogue, Occurrence, Rule
from credential_pipeline.issue.batch import pin_batch
from credential_pipeline.issue.merges import settle_merges
from credential_pipeline.issue.plans import ISSUING_LOCK, record_catalogue
from credential_pipeline.store.postgres import copy_rows, transaction_lock

log = logging.getLogger(__name__)

ROWS_AT_ONCE = 5000


@dataclass(frozen=True)
class EarnResult:
    """Of a day's batch: accepted rows of evidence, those that earn, those skipped by reason, distinct awards."""

    accepted: int
    earning: int
    skipped: dict[str, int]
    awards: int


@dataclass(frozen=True)
class Evidence:
    """An accepted row of evidence: its landed row, its person (the survivor of any merge) and its fields."""

    row_id: int
    row_hash: bytes
    fields_hash: bytes
    dataset: str
    person_id: UUID
    fields: Mapping[str, str]


@dataclass(frozen=True)
class Earned:
    """A row that earns: the award's identity and the day it was earned."""

    evidence: Evidence
    achievement: str
    occurrence: str
    awarded_on: date


@dataclass(frozen=True)
class Skipped:
    """A row that earns nothing, and why: `FIELD=VALUE` for a value no rule asks for, or a code."""

    evidence: Evidence
    reason: str


class Rules:
    """The catalogue's rules, by dataset, ready to be asked about one row after another."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._by_dataset: dict[str, list[tuple[Achievement, Rule]]] = {}
        for achievement in catalogue.achievements.values():
            for rule in achievement.earned_by:
                self._by_dataset.setdefault(rule.dataset, []).append((achievement, rule))

    def judge(self, evidence: Evidence) -> list[Earned] | Skipped:
        """What a row earns, or why nothing: the condition that failed in the rule that came nearest."""
        nearest: tuple[int, str] = (-1, "no_rule_for_dataset")
        earned: dict[str, Earned] = {}
        for achievement, rule in self._by_dataset.get(evidence.dataset, ()):
            held, failed = _conditions(rule, evidence.fields)
            if failed is None:
                outcome = _earn(achievement, rule, evidence)
                if isinstance(outcome, Skipped):
                    nearest = (held + 1, outcome.reason)
                else:
                    earned.setdefault(achievement.id, outcome)
            elif held > nearest[0]:
                nearest = (held, failed)
        return list(earned.values()) or Skipped(evidence, nearest[1])


def _conditions(rule: Rule, fields: Mapping[str, str]) -> tuple[int, str | None]:
    held = 0
    failed: str | None = None
    for field, values in rule.where.items():
        if fields.get(field) in values:
            held += 1
        elif failed is None:
            failed = f"{field}={fields.get(field, '')}"
    return held, failed


def _earn(achievement: Achievement, rule: Rule, evidence: Evidence) -> Earned | Skipped:
    occurrence: str | None = "once"
    if isinstance(achievement.occurrence, Occurrence):
        occurrence = evidence.fields.get(achievement.occurrence.per)
    awarded_on = evidence.fields.get(rule.awarded_on)
    if not occurrence or not awarded_on:
        return Skipped(evidence, "no_occurrence" if not occurrence else "no_award_date")
    return Earned(evidence, achievement.id, occurrence, date.fromisoformat(awarded_on))


def earn_batch(engine: Engine, institution: Institution, day: date, run_id: str) -> EarnResult:
    """Decide every accepted row of evidence of the day's batch that is new or changed, and count them all.

    One transaction; a second call with nothing new writes nothing.
    """
    scope = {"day": day, "version": institution.catalogue.version, "run": run_id}
    with engine.begin() as connection:
        transaction_lock(connection, ISSUING_LOCK)
        pin_batch(connection, institution, day)
        record_catalogue(connection, institution, run_id)
        settle_merges(connection)
        _decide(connection, institution, scope)
        return _count(connection)


UNDECIDED = """
select a.row_id, r.row_hash, a.fields_hash, a.dataset, s.person_id, a.fields
from issue_batch b
join accepted.row a using (row_id)
join landed.row r using (row_id)
join identity.source_record s using (source_key)
where not exists (
    select from ledger.decision d
    where d.row_id = a.row_id and d.fields_hash = a.fields_hash and d.catalogue_version = :version)
"""

FORGET = "delete from ledger.decision d using judged j where d.row_id = j.row_id"

MINT = """
insert into ledger.award (award_id, person_id, achievement, occurrence, awarded_on, day, run_id)
select distinct on (person_id, achievement, occurrence)
       award_id, person_id, achievement, occurrence, awarded_on, :day, :run
from judged where achievement <> ''
order by person_id, achievement, occurrence, awarded_on, row_hash
on conflict do nothing
"""

# An award has one earning row in a batch: the one that has it already, else the earliest; ties by row hash.
DECIDE = """
with held as (
  select distinct d.award_id
  from issue_batch b join ledger.decision d using (row_id)
  where d.outcome = 'earning'
), ranked as (
  select c.row_id, c.achievement, c.fields_hash, w.award_id, w.award_id in (select award_id from held)
         or row_number() over (partition by w.award_id order by c.awarded_on, c.row_hash, c.row_id) > 1 as again
  from judged c
  join ledger.award w using (person_id, achievement, occurrence)
  where w.duplicate_of is null and c.achievement <> ''
)
insert into ledger.decision
  (row_id, achievement, outcome, reason, award_id, fields_hash, catalogue_version, day, run_id)
select row_id, achievement, case when again then 'skipped' else 'earning' end,
       case when again then 'already_earned' end, award_id, fields_hash, :version, :day, :run
from ranked
union all
select row_id, '', 'skipped', reason, null, fields_hash, :version, :day, :run from judged where achievement = ''
"""

# Until it is issued or planned, an award was earned on the day its row says now; after that it takes a correction.
CORRECT = """
update ledger.award w set awarded_on = j.awarded_on
from judged j join ledger.decision d using (row_id, achievement)
where w.award_id = d.award_id and d.outcome = 'earning' and w.awarded_on <> j.awarded_on
  and not exists (select from ledger.credential c where c.award_id = w.award_id)
  and not exists (select from ledger.plan_line l where l.award_id = w.award_id and l.state = 'planned')
"""


def _decide(connection: Connection, institution: Institution, scope: Mapping[str, object]) -> None:
    connection.execute(
        text(
            "create temporary table judged (row_id bigint, row_hash bytea, fields_hash bytea, person_id uuid,"
            " achievement text, occurrence text, awarded_on date, reason text, award_id uuid) on commit drop"
        )
    )
    columns = (
        "row_id", "row_hash", "fields_hash", "person_id",
        "achievement", "occurrence", "awarded_on", "reason", "award_id",
    )  # fmt: skip
    rules = Rules(institution.catalogue)
    undecided = connection.execute(text(UNDECIDED), scope, execution_options={"yield_per": ROWS_AT_ONCE})
    decided = 0
    for chunk in undecided.partitions():
        judged = (rules.judge(Evidence(*row)) for row in chunk)
        copy_rows(connection, "judged", columns, _rows(institution.id, judged))
        decided += len(chunk)
    if not decided:
        return
    log.info("decided %d rows of evidence", decided)
    for statement in ("analyze judged", FORGET, MINT, DECIDE, CORRECT):
        connection.execute(text(statement), scope)


def _rows(institution: str, judged: Iterable[list[Earned] | Skipped]) -> Iterator[tuple[object, ...]]:
    for outcome in judged:
        if isinstance(outcome, Skipped):
            e = outcome.evidence
            yield (e.row_id, e.row_hash, e.fields_hash, e.person_id, "", None, None, outcome.reason, None)
            continue
        for earned in outcome:
            e = earned.evidence
            award = identifiers.award_id(institution, e.person_id, earned.achievement, earned.occurrence)
            yield (
                e.row_id, e.row_hash, e.fields_hash, e.person_id,
                earned.achievement, earned.occurrence, earned.awarded_on, None, award,
            )  # fmt: skip


def _count(connection: Connection) -> EarnResult:
    """The pinned batch as decided: a row that earns anything is earning, any other is skipped once."""
    rows = connection.execute(text(ROWS_BY_OUTCOME)).all()
    return EarnResult(
        accepted=sum(row.rows for row in rows),
        earning=sum(row.rows for row in rows if row.earning),
        skipped={row.reason: row.rows for row in rows if not row.earning},
        awards=connection.execute(text(AWARDS)).scalar_one(),
    )


ROWS_BY_OUTCOME = """
select earning, case when not earning then reason end as reason, count(*) as rows
from (
  select bool_or(d.outcome = 'earning') as earning, min(d.reason) filter (where d.outcome = 'skipped') as reason
  from issue_batch b join ledger.decision d using (row_id) group by b.row_id
) decided
group by 1, 2 order by 2
"""

AWARDS = """
select count(distinct coalesce(w.duplicate_of, w.award_id))
from issue_batch b join ledger.decision d using (row_id) join ledger.award w using (award_id)
where d.outcome = 'earning'
"""

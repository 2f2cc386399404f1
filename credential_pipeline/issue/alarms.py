"""Alarms: what of a day's batch looks wrong only beside the rest of it, or beside what was issued before.

Belongs here: which awards of the pinned batch an alarm is about, each switched on by a policy. Does not belong here:
reasons that a single award has by itself (lines.py). An alarm holds, a person releases or rejects.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from credential_pipeline.institution import Institution, Policies
from credential_pipeline.institution.catalogue import Achievement

Alarms = Mapping[UUID, frozenset[str]]
Question = tuple[str, str, Mapping[str, Any]]

FEWEST_SCORES = 20
"""Quartiles of fewer values say nothing about what is usual."""

FEWEST_DAYS = 3
"""So many plans must have issued an achievement before its volume can be unusual."""

# What the batch earns and nobody has issued or rejected yet: the same for every plan of the day that is made of it.
OPEN = """
create temporary table alarming on commit drop as
select w.award_id, w.person_id, w.achievement, d.row_id
from issue_batch b
join ledger.decision d on d.row_id = b.row_id and d.outcome = 'earning'
join ledger.award w using (award_id)
where w.duplicate_of is null
  and not exists (select from ledger.credential c where c.award_id = w.award_id and c.cause = 'issue')
  and not exists (select from ledger.hold h
                  where h.award_id = w.award_id and h.cause = 'issue' and h.state = 'rejected')
"""

FIRST_USE = """
select award_id from alarming a
where not exists (select from ledger.credential c where c.achievement = a.achievement)
"""

TOO_MANY = """
select award_id from alarming
where person_id in (select person_id from alarming group by 1 having count(distinct award_id) > :limit)
"""

# Rows that say that somebody earned the same thing again, on another day or with another result: one of them is wrong.
CONTRADICTING = """
select distinct a.award_id
from alarming a
join accepted.row mine on mine.row_id = a.row_id
join ledger.decision d on d.award_id = a.award_id and d.row_id <> a.row_id and d.reason = 'already_earned'
join issue_batch b on b.row_id = d.row_id
join accepted.row other on other.row_id = d.row_id
where a.achievement = :achievement
  and exists (select from unnest(cast(:fields as text[])) f where mine.fields->>f is distinct from other.fields->>f)
"""

# Tukey's fences over the batch, the open awards' scores: quartiles are not moved by the one value that is far off.
FAR_OFF = """
with score as (
  select a.award_id, cast(r.fields->>:field as double precision) as value
  from alarming a join accepted.row r using (row_id)
  where a.achievement = :achievement and r.fields->>:field ~ '^[+-]?[0-9]+([.][0-9]+)?$'
), fence as (
  select count(*) as scores, percentile_cont(0.25) within group (order by value) as low,
         percentile_cont(0.75) within group (order by value) as high from score
)
select award_id from score, fence
where scores >= :fewest and (value < low - :beyond * (high - low) or value > high + :beyond * (high - low))
"""

VOLUME = """
with before as (
  select achievement, plan_id, count(*) as issued from ledger.credential where cause = 'issue' group by 1, 2
), usual as (
  select achievement, max(issued) as most from before group by 1 having count(*) >= :fewest
), now as (
  select achievement, count(distinct award_id) as earned from alarming group by 1
)
select a.award_id from alarming a join now using (achievement) join usual using (achievement)
where earned > :above * most
"""


def find_alarms(connection: Connection, institution: Institution) -> Alarms:
    """The alarms of the pinned batch (batch.py), by award. With every policy off, nothing is asked."""
    asked = [*_of_the_batch(institution.policies)]
    for achievement in institution.catalogue.achievements.values():
        asked += _of_an_achievement(institution.policies, achievement)
    found: dict[UUID, set[str]] = defaultdict(set)
    if asked:
        connection.execute(text(OPEN))
        connection.execute(text("analyze alarming"))
        for reason, query, parameters in asked:
            for award in connection.scalars(text(query), parameters):
                found[award].add(reason)
        connection.execute(text("drop table alarming"))
    return {award: frozenset(reasons) for award, reasons in found.items()}


def _of_the_batch(policies: Policies) -> Iterator[Question]:
    if policies.hold_first_use:
        yield "first_use_of_achievement", FIRST_USE, {}
    if policies.hold_awards_above is not None:
        yield "too_many_for_one_person", TOO_MANY, {"limit": policies.hold_awards_above}
    if policies.hold_volume_above is not None:
        yield "unusual_volume", VOLUME, {"above": policies.hold_volume_above, "fewest": FEWEST_DAYS}


def _of_an_achievement(policies: Policies, achievement: Achievement) -> Iterator[Question]:
    about = {"achievement": achievement.id}
    if policies.hold_contradicting_rows:
        days = {rule.awarded_on for rule in achievement.earned_by}
        shown = sorted(days | achievement.shown_fields)
        yield "contradicting_rows", CONTRADICTING, {**about, "fields": shown}
    if policies.hold_score_beyond is not None:
        for result in achievement.results:
            scope = {**about, "field": result.field, "beyond": policies.hold_score_beyond, "fewest": FEWEST_SCORES}
            yield "score_far_off", FAR_OFF, scope

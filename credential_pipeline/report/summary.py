"""The counts of a day's scope, as `run --json` and the run's summary tell them.

Counts describe all evidence of the scope, landed now or earlier; a re-run repeats landed and accepted and moves
issued to already_issued.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from sqlalchemy import Engine, text

from credential_pipeline.institution import Institution


@dataclass(frozen=True)
class Counts:
    """landed = accepted + quarantined; accepted = earning rows + skipped; earned = issued + already_issued + held."""

    landed: int
    accepted: int
    quarantined: int
    skipped: int
    persons: int
    holders: int
    earned: int
    issued: int
    already_issued: int
    held: int
    published: int


@dataclass(frozen=True)
class Reasons:
    """Why rows and awards of the scope went no further: counts by (dataset, code), by reason, and open breaches."""

    quarantined: Sequence[tuple[str, str, int]]
    skipped: Mapping[str, int]
    held: Mapping[str, int]
    breaches: Sequence[str]


EARNED = """
with award as (
  select distinct coalesce(w.duplicate_of, w.award_id) as award_id
  from landed.batch_row b join accepted.row a using (row_id) join ledger.decision d using (row_id)
  join ledger.award w using (award_id)
  where b.day = :day and a.dataset = any(:evidence) and d.outcome = 'earning'
)
"""

COUNTS = (
    EARNED
    + """
select count(*) as earned,
       count(*) filter (where c.run_id = any(:runs)) as issued,
       count(*) filter (where c.run_id <> all(:runs)) as already_issued,
       count(*) filter (where c.credential_id is null and h.award_id is not null) as held,
       count(*) filter (where p.credential_id is not null) as published
from award w
left join ledger.credential c on c.award_id = w.award_id and c.cause = 'issue'
left join ledger.hold h on h.award_id = w.award_id and h.cause = 'issue' and h.action = 'create'
  and h.state in ('waiting', 'rejected')
left join ledger.publication p on p.credential_id = c.credential_id and p.kind = 'credential' and p.target = :target
"""
)

ROWS = """
select count(*) as landed, count(a.row_id) as accepted,
       count(*) filter (where a.row_id is null and exists (
         select from quarantine.reason q where q.row_id = b.row_id and q.resolved_at is null)) as quarantined,
       count(*) filter (where a.row_id is not null and exists (
         select from ledger.decision d where d.row_id = b.row_id) and not exists (
         select from ledger.decision d where d.row_id = b.row_id and d.outcome = 'earning')) as skipped
from landed.batch_row b left join accepted.row a using (row_id)
where b.day = :day and b.dataset = any(:evidence)
"""


def count_scope(engine: Engine, institution: Institution, day: date, run_ids: Sequence[str], target: str) -> Counts:
    """The counts of a day's scope; `issued` are those recorded by these runs, `published` those at this target."""
    scope = {
        "day": day,
        "evidence": [d.name for d in institution.datasets_of("evidence")],
        "runs": list(run_ids),
        "target": target,
    }
    with engine.connect() as connection:
        rows = connection.execute(text(ROWS), scope).one()._asdict()
        awards = connection.execute(text(COUNTS), scope).one()._asdict()
        persons = connection.execute(
            text(
                "select (select count(*) from identity.person p where not exists ("
                " select from identity.person_alias a where a.alias_id = p.person_id)) as persons,"
                " (select count(distinct w.person_id) from ledger.credential c join ledger.award w using (award_id))"
                " as holders"
            )
        ).one()
    return Counts(**rows, **awards, **persons._asdict())


def reasons_of_scope(engine: Engine, institution: Institution, day: date) -> Reasons:
    """Why rows and awards of a day's scope went no further. Counts only: nothing personal."""
    scope = {"day": day, "evidence": [d.name for d in institution.datasets_of("evidence")]}
    with engine.connect() as connection:
        quarantined = connection.execute(
            text(
                "select q.dataset, q.code, count(distinct q.row_id) from landed.batch_row b"
                " join quarantine.reason q using (row_id)"
                " where b.day = :day and q.resolved_at is null group by 1, 2 order by 1, 2"
            ),
            scope,
        ).all()
        skipped = connection.execute(
            text(
                "select reason, count(*) from (select min(d.reason) as reason from landed.batch_row b"
                " join accepted.row a using (row_id) join ledger.decision d using (row_id)"
                " where b.day = :day and a.dataset = any(:evidence)"
                " group by d.row_id having not bool_or(d.outcome = 'earning')) s group by 1 order by 1"
            ),
            scope,
        ).all()
        held = connection.execute(
            text(
                EARNED + "select reason, count(*) from award join ledger.hold h using (award_id),"
                " jsonb_array_elements_text(h.reasons) reason"
                " where h.action = 'create' and h.state in ('waiting', 'rejected') group by 1 order by 1"
            ),
            scope,
        ).all()
        breaches = connection.scalars(
            text(
                "select dataset || ': ' || coalesce(file_name || ': ', '') || detail || ' (' || code || '); ' || remedy"
                " from quarantine.breach where day = :day and resolved_at is null order by dataset, breach_id"
            ),
            scope,
        ).all()
    return Reasons(
        [(dataset, code, rows) for dataset, code, rows in quarantined],
        {reason: rows for reason, rows in skipped},
        {reason: awards for reason, awards in held},
        list(breaches),
    )

{{ config(materialized='table') }}
select
    outcome.day,
    outcome.dataset,
    outcome.is_evidence,
    count(*) as landed,
    count(*) filter (where outcome.outcome not in ('quarantined', 'unjudged')) as accepted,
    count(*) filter (where outcome.outcome = 'quarantined') as quarantined,
    count(*) filter (where outcome.outcome in ('issued', 'held', 'open')) as earning,
    count(*) filter (where outcome.outcome = 'skipped') as skipped,
    count(*) filter (where outcome.outcome = 'issued') as issued,
    count(*) filter (where outcome.outcome = 'held') as held,
    round(
        count(*) filter (where outcome.outcome in ('accepted', 'skipped', 'issued'))::numeric / count(*), 4
    ) as success_rate
from {{ ref('stg_landed__row_outcome') }} as outcome
group by outcome.day, outcome.dataset, outcome.is_evidence

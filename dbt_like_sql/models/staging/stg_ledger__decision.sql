{{ config(materialized='view') }}
select
    decision.row_id,
    bool_or(decision.outcome = 'earning') as is_earning,
    min(decision.reason) filter (where decision.outcome = 'skipped') as reason,
    coalesce(bool_and(standing.standing = 'issued') filter (where decision.outcome = 'earning'), false) as is_issued,
    coalesce(bool_and(standing.standing <> 'open') filter (where decision.outcome = 'earning'), false) as is_settled
from {{ source('ledger', 'decision') }} as decision
left join {{ ref('stg_ledger__award_standing') }} as standing on standing.award_id = decision.award_id
group by decision.row_id

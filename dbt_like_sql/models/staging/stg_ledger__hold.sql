{{ config(materialized='view') }}
select
    hold.award_id,
    hold.cause,
    hold.action,
    hold.state,
    award.achievement,
    reason.value as reason,
    plan.day
from {{ source('ledger', 'hold') }} as hold
join {{ ref('stg_ledger__award') }} as award on award.award_id = hold.award_id
join {{ ref('stg_ledger__plan') }} as plan on plan.plan_id = hold.plan_id
cross join lateral jsonb_array_elements_text(hold.reasons) as reason(value)

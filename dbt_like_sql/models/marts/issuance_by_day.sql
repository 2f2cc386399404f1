{{ config(materialized='table') }}
with issued as (
    select plan.day, credential.achievement, count(*) as issued
    from {{ ref('stg_ledger__credential') }} as credential
    join {{ ref('stg_ledger__plan') }} as plan on plan.plan_id = credential.plan_id
    group by plan.day, credential.achievement
),
held as (
    select hold.day, hold.achievement, count(distinct hold.award_id) as held
    from {{ ref('stg_ledger__hold') }} as hold
    where hold.state in ('waiting', 'rejected') and hold.action = 'create'
    group by hold.day, hold.achievement
)
select
    coalesce(issued.day, held.day) as day,
    coalesce(issued.achievement, held.achievement) as achievement,
    coalesce(issued.issued, 0) as issued,
    coalesce(held.held, 0) as held
from issued
full join held on held.day = issued.day and held.achievement = issued.achievement

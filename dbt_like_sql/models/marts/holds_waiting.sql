{{ config(materialized='table') }}
select
    hold.achievement,
    hold.action,
    hold.reason,
    count(*) as awards,
    min(hold.day) as waiting_since
from {{ ref('stg_ledger__hold') }} as hold
where hold.state = 'waiting'
group by hold.achievement, hold.action, hold.reason

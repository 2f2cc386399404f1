{{ config(materialized='view') }}
select
    plan.plan_id,
    plan.kind,
    plan.state,
    plan.as_of,
    coalesce(substring(plan.scope from '^day:(\d{4}-\d\d-\d\d)$')::date, (plan.as_of at time zone 'UTC')::date) as day
from {{ source('ledger', 'plan') }} as plan

{{ config(materialized='table') }}
select
    date_trunc('month', credential.valid_until at time zone 'UTC')::date as month,
    credential.achievement,
    count(*) as credentials
from {{ ref('stg_ledger__credential') }} as credential
where credential.state = 'current' and credential.valid_until is not null
group by date_trunc('month', credential.valid_until at time zone 'UTC')::date, credential.achievement

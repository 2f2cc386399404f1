{{ config(materialized='table') }}
select
    credential.achievement,
    count(*) as credentials,
    count(*) filter (where credential.state = 'current') as current_credentials,
    count(distinct award.person_id) as holders,
    min(credential.awarded_on) as first_awarded_on,
    max(credential.awarded_on) as last_awarded_on
from {{ ref('stg_ledger__credential') }} as credential
join {{ ref('stg_ledger__award') }} as award on award.award_id = credential.award_id
group by credential.achievement

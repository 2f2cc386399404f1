{{ config(materialized='view') }}
select
    award.award_id,
    award.surviving_award_id,
    award.day,
    case
        when credential.credential_id is not null then 'issued'
        when hold.award_id is not null then 'held'
        else 'open'
    end as standing
from {{ ref('stg_ledger__award') }} as award
left join {{ source('ledger', 'credential') }} as credential
    on credential.award_id = award.surviving_award_id and credential.cause = 'issue'
left join {{ source('ledger', 'hold') }} as hold
    on hold.award_id = award.surviving_award_id and hold.cause = 'issue' and hold.action = 'create'
    and hold.state in ('waiting', 'rejected')

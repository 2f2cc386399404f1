{{ config(materialized='view') }}
select
    credential.credential_id,
    credential.award_id,
    credential.cause,
    credential.plan_id,
    credential.person_id,
    credential.achievement,
    credential.awarded_on,
    credential.valid_until,
    state.state,
    credential.document is null as is_erased
from {{ source('ledger', 'credential') }} as credential
left join {{ source('ledger', 'credential_state') }} as state on state.credential_id = credential.credential_id

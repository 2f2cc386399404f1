{{ config(materialized='view') }}
select
    award.award_id,
    coalesce(award.duplicate_of, award.award_id) as surviving_award_id,
    award.person_id,
    award.achievement,
    award.occurrence,
    award.awarded_on,
    award.day
from {{ source('ledger', 'award') }} as award

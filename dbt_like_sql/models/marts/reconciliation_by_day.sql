{{ config(materialized='table') }}
with landed as (
    select
        success.day,
        sum(success.landed)::bigint as landed,
        sum(success.accepted)::bigint as accepted,
        sum(success.quarantined)::bigint as quarantined,
        coalesce(sum(success.accepted) filter (where success.is_evidence), 0)::bigint as accepted_evidence,
        sum(success.earning)::bigint as earning,
        sum(success.skipped)::bigint as skipped
    from {{ ref('issuance_success') }} as success
    group by success.day
),
award as (
    select
        standing.day,
        count(*) as earned,
        count(*) filter (where standing.standing = 'issued') as issued,
        count(*) filter (where standing.standing = 'held') as held
    from {{ ref('stg_ledger__award_standing') }} as standing
    -- An award whose evidence is gone (corrected, or judged anew) is told by its credential alone.
    where standing.standing <> 'open' or exists (
        select 1
        from {{ source('ledger', 'decision') }} as decision
        join {{ source('accepted', 'row') }} as accepted on accepted.row_id = decision.row_id
        where decision.award_id = standing.award_id and decision.outcome = 'earning'
    )
    group by standing.day
),
credential as (
    select
        award.day,
        count(*) as credentials,
        count(*) filter (where issued.is_erased) as erased,
        count(*) filter (where published.credential_id is not null and not issued.is_erased) as published,
        count(*) filter (where told.credential_id is not null and not issued.is_erased) as messages
    from {{ ref('stg_ledger__credential') }} as issued
    join {{ ref('stg_ledger__award') }} as award on award.award_id = issued.award_id
    left join (
        select distinct publication.credential_id
        from {{ source('ledger', 'publication') }} as publication
        where publication.kind = 'credential'
    ) as published on published.credential_id = issued.credential_id
    left join {{ source('outbox', 'message') }} as told
        on told.credential_id = issued.credential_id and told.kind = 'issued'
    group by award.day
),
day as (
    select landed.day from landed
    union
    select award.day from award
    union
    select credential.day from credential
)
select
    day.day,
    coalesce(landed.landed, 0) as landed,
    coalesce(landed.accepted, 0) as accepted,
    coalesce(landed.quarantined, 0) as quarantined,
    coalesce(landed.accepted_evidence, 0) as accepted_evidence,
    coalesce(landed.earning, 0) as earning,
    coalesce(landed.skipped, 0) as skipped,
    coalesce(award.earned, 0) as earned,
    coalesce(award.issued, 0) as issued,
    coalesce(award.held, 0) as held,
    coalesce(credential.credentials, 0) as credentials,
    coalesce(credential.erased, 0) as erased,
    coalesce(credential.published, 0) as published,
    coalesce(credential.messages, 0) as messages,
    coalesce(landed.landed - landed.accepted - landed.quarantined, 0) as unjudged,
    coalesce(landed.accepted_evidence - landed.earning - landed.skipped, 0) as undecided,
    coalesce(award.earned - award.issued - award.held, 0) as unissued,
    coalesce(credential.credentials - credential.erased - credential.published, 0) as unpublished,
    coalesce(credential.credentials - credential.erased - credential.messages, 0) as untold
from day
left join landed on landed.day = day.day
left join award on award.day = day.day
left join credential on credential.day = day.day

{{ config(materialized='view') }}
select
    landed.row_id,
    landed.day,
    landed.dataset,
    evidence.dataset is not null as is_evidence,
    case
        when accepted.row_id is null and quarantined.row_id is not null then 'quarantined'
        when accepted.row_id is null then 'unjudged'
        when evidence.dataset is null then 'accepted'
        when decision.row_id is null then 'undecided'
        when not decision.is_earning then 'skipped'
        when decision.is_issued then 'issued'
        when decision.is_settled then 'held'
        else 'open'
    end as outcome
from {{ source('landed', 'row') }} as landed
left join {{ source('accepted', 'row') }} as accepted on accepted.row_id = landed.row_id
left join (
    select distinct reason.row_id from {{ ref('stg_quarantine__reason') }} as reason
) as quarantined on quarantined.row_id = landed.row_id
left join {{ ref('stg_ledger__decision') }} as decision on decision.row_id = landed.row_id
left join {{ ref('stg_ledger__evidence_dataset') }} as evidence on evidence.dataset = landed.dataset

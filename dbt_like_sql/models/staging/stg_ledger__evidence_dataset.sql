{{ config(materialized='view') }}
select distinct rule.value ->> 'dataset' as dataset
from {{ source('ledger', 'catalogue_version') }} as version
cross join lateral jsonb_path_query(
    version.catalogue, '$.programmes[*].achievements[*].earned_by[*]'
) as rule(value)
union
select gated.dataset
from (select distinct batch.dataset from {{ source('accepted', 'gated_batch') }} as batch) as gated
where exists (
    select 1
    from {{ source('accepted', 'row') }} as accepted
    join {{ source('ledger', 'decision') }} as decision on decision.row_id = accepted.row_id
    where accepted.dataset = gated.dataset
)

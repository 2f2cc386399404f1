{{ config(materialized='table') }}
select
    reason.dataset,
    reason.code,
    reason.field,
    count(*) filter (where reason.is_open) as open_rows,
    count(*) filter (where not reason.is_open) as resolved_rows,
    min(reason.day) filter (where reason.is_open) as oldest_open_day
from {{ ref('stg_quarantine__reason') }} as reason
group by reason.dataset, reason.code, reason.field

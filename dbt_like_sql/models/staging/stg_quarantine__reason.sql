{{ config(materialized='view') }}
select
    reason.row_id,
    reason.dataset,
    reason.code,
    reason.field,
    reason.day,
    reason.resolved_at is null as is_open
from {{ source('quarantine', 'reason') }} as reason

-- One row for each dataset, code, field.
select dataset, code, field, count(*) as occurrences
from {{ ref('quarantine_reasons') }}
group by dataset, code, field
having count(*) > 1

-- One row for each day, dataset.
select day, dataset, count(*) as occurrences
from {{ ref('issuance_success') }}
group by day, dataset
having count(*) > 1

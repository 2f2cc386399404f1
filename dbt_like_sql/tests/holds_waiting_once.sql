-- One row for each achievement, action, reason.
select achievement, action, reason, count(*) as occurrences
from {{ ref('holds_waiting') }}
group by achievement, action, reason
having count(*) > 1

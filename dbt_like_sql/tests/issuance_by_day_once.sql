-- One row for each day, achievement.
select day, achievement, count(*) as occurrences
from {{ ref('issuance_by_day') }}
group by day, achievement
having count(*) > 1

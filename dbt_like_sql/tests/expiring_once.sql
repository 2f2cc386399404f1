-- One row for each month, achievement.
select month, achievement, count(*) as occurrences
from {{ ref('expiring') }}
group by month, achievement
having count(*) > 1

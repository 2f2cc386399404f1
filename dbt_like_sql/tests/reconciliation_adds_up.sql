-- On every day landed = accepted + quarantined, accepted evidence = earning + skipped, earned = issued + held,
-- and every credential is published and told.
select
    reconciliation.day,
    reconciliation.unjudged,
    reconciliation.undecided,
    reconciliation.unissued,
    reconciliation.unpublished,
    reconciliation.untold
from {{ ref('reconciliation_by_day') }} as reconciliation
where reconciliation.unjudged <> 0
    or reconciliation.undecided <> 0
    or reconciliation.unissued <> 0
    or reconciliation.unpublished <> 0
    or reconciliation.untold <> 0

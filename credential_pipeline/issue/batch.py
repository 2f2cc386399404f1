"""The accepted evidence of a day's batch, pinned for one transaction.

Every query of this stage starts from it. A join written straight over `landed.batch_row` is planned from statistics
that do not exist yet right after a bulk load: 4,900 awards took 7 s in a nested loop over the whole batch, and the
square of that for ten times as many.
"""

from __future__ import annotations

from datetime import date

from sqlalchemy import Connection, text

from credential_pipeline.institution import Institution


def pin_batch(connection: Connection, institution: Institution, day: date) -> None:
    """Fill the temporary table `issue_batch (row_id)`; it goes with the transaction."""
    connection.execute(text("create temporary table issue_batch (row_id bigint primary key) on commit drop"))
    connection.execute(
        text(
            "insert into issue_batch select b.row_id from landed.batch_row b join accepted.row a using (row_id)"
            " where b.day = :day and b.dataset = any(:evidence)"
        ),
        {"day": day, "evidence": [dataset.name for dataset in institution.datasets_of("evidence")]},
    )
    connection.execute(text("analyze issue_batch"))

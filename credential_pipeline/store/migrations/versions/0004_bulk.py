"""A million lines at a time: no look-up a row for what a set statement has just joined, and updates in place.

Each foreign key costs 5 us a row, each index on a random id 4 us, and an update of an indexed column writes every index
of the table once more. docs/decisions/0008-bulk-writes.md says which went, and what watches instead.
"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

REFERENCES = (
    ("plan_line", "ledger", ("award_id", "person_id", "row_id", "prior_id")),
    ("credential", "ledger", ("person_id", "key_id", "list_number", "plan_id_ordinal")),
    ("credential_state", "ledger", ("superseded_by",)),
    ("event", "ledger", ("credential_id",)),
    ("message", "outbox", ("credential_id", "person_id")),
)

IN_PLACE = ("plan_line", "credential_state")
"""Tables of which most rows are updated once: half of a page is left for the next version of its rows (HOT)."""


def upgrade() -> None:
    for table, schema, columns in REFERENCES:
        for column in columns:
            op.drop_constraint(op.f(f"fk_{table}_{column}"), table, schema=schema, type_="foreignkey")
    op.drop_index(op.f("ix_plan_line_credential_id"), "plan_line", schema="ledger")
    op.drop_index(op.f("ix_plan_line_prior_id"), "plan_line", schema="ledger")
    op.drop_index("ix_plan_line_open", "plan_line", schema="ledger")
    op.drop_index(op.f("ix_credential_state_state"), "credential_state", schema="ledger")
    for table in IN_PLACE:
        op.execute(f"alter table ledger.{table} set (fillfactor = 50)")

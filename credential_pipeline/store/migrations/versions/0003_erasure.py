"""Erasure that lasts: keyed hashes of what was erased; indexes that follow a row or a person forward."""

from alembic import context, op
import sqlalchemy as sa

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "tombstone",
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("secret_version", sa.Integer(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.ForeignKeyConstraint(["person_id"], ["ledger.erasure.person_id"], name=op.f("fk_tombstone_person_id")),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_tombstone")),
        schema="ledger",
        comment="Keyed hashes of the source keys and rows of erased persons: what bears one of them lands empty.",
    )
    op.create_index(op.f("ix_award_person_id"), "award", ["person_id"], schema="ledger")
    op.create_index(op.f("ix_plan_line_prior_id"), "plan_line", ["prior_id"], schema="ledger")
    op.create_index(op.f("ix_source_record_row_id"), "source_record", ["row_id"], schema="identity")
    op.create_index(
        op.f("ix_row_lookup_rows"),
        "row",
        ["lookup_rows"],
        schema="accepted",
        postgresql_using="gin",
        postgresql_where=sa.text("lookup_rows <> '{}'"),
    )
    if role := context.config.attributes.get("application_role"):
        quoted = op.get_bind().dialect.identifier_preparer.quote(role)
        op.execute(f"grant select, insert on ledger.tombstone to {quoted}")
        op.execute(f"revoke update, delete on ledger.tombstone from {quoted}")

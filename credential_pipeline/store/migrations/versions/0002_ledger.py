"""The ledger of changes: approvals by signature, lines about credentials that exist, the second audit log, erasures."""

from alembic import context, op
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("plan", sa.Column("approval", sa.Text(), server_default="auto", nullable=False), schema="ledger")
    op.add_column("plan", sa.Column("reason", sa.Text(), nullable=True), schema="ledger")
    op.add_column(
        "plan", sa.Column("forecast", postgresql.JSONB(astext_type=sa.Text()), nullable=True), schema="ledger"
    )
    op.add_column(
        "hold", sa.Column("released", postgresql.JSONB(astext_type=sa.Text()), nullable=True), schema="ledger"
    )
    op.add_column("plan_line", sa.Column("prior_id", sa.Uuid(), nullable=True), schema="ledger")
    op.create_foreign_key(
        op.f("fk_plan_line_prior_id"),
        "plan_line",
        "credential",
        ["prior_id"],
        ["credential_id"],
        source_schema="ledger",
        referent_schema="ledger",
        use_alter=True,
    )
    op.add_column("message", sa.Column("occasion", sa.Integer(), server_default="1", nullable=False), schema="outbox")
    op.drop_constraint(op.f("uq_message_credential_id_kind"), "message", schema="outbox", type_="unique")
    op.create_unique_constraint(
        op.f("uq_message_credential_id_kind_occasion"), "message", ["credential_id", "kind", "occasion"], schema="outbox"
    )
    op.create_table(
        "action",
        sa.Column("action_id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("detail", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column(
            "happened_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.PrimaryKeyConstraint("action_id", name=op.f("pk_action")),
        schema="ledger",
    )
    op.create_index(op.f("ix_action_subject"), "action", ["subject"], schema="ledger")
    op.create_table(
        "erasure",
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("counts", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("erased_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.ForeignKeyConstraint(["person_id"], ["identity.person.person_id"], name=op.f("fk_erasure_person_id")),
        sa.PrimaryKeyConstraint("person_id", name=op.f("pk_erasure")),
        schema="ledger",
    )
    comments()
    op.execute(
        "create trigger append_only before update or delete or truncate on ledger.action "
        "for each statement execute function ledger.refuse_change()"
    )
    if role := context.config.attributes.get("application_role"):
        quoted = op.get_bind().dialect.identifier_preparer.quote(role)
        op.execute(f"grant select, insert on ledger.action, ledger.erasure to {quoted}")
        op.execute(f"revoke update, delete on ledger.action, ledger.erasure from {quoted}")
        op.execute(f"grant usage on all sequences in schema ledger to {quoted}")


def comments() -> None:
    """What the tables say of themselves, as store/tables has it."""
    from credential_pipeline.store.tables import metadata

    for name in ("ledger.plan", "ledger.plan_line", "ledger.approval", "ledger.hold", "ledger.action", "ledger.erasure", "outbox.message"):
        table = metadata.tables[name]
        op.create_table_comment(table.name, table.comment, schema=table.schema)

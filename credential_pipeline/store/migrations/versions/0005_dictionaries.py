"""Dictionaries that documents are packed with: added and read, never changed."""

from alembic import context, op
import sqlalchemy as sa

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "document_dictionary",
        sa.Column("dictionary_id", sa.Integer(), sa.Identity(always=False), nullable=False),
        sa.Column("achievement", sa.Text(), nullable=False),
        sa.Column("achievement_version", sa.Text(), nullable=False),
        sa.Column("catalogue_version", sa.LargeBinary(length=32), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("sha256", sa.LargeBinary(length=32), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["catalogue_version"],
            ["ledger.catalogue_version.catalogue_version"],
            name=op.f("fk_document_dictionary_catalogue_version"),
        ),
        sa.PrimaryKeyConstraint("dictionary_id", name=op.f("pk_document_dictionary")),
        sa.UniqueConstraint(
            "achievement", "achievement_version", name=op.f("uq_document_dictionary_achievement_achievement_version")
        ),
        schema="ledger",
        comment="What documents of form zstd:N are packed with, N = dictionary_id: append-only, trained on invented "
        "persons. Without it they cannot be read.",
    )
    op.execute(
        "create trigger append_only before update or delete or truncate on ledger.document_dictionary "
        "for each statement execute function ledger.refuse_change()"
    )
    op.create_table_comment(
        "credential",
        "A signed credential. document: its bytes in document_form (zstd, or zstd:N with a dictionary), null once "
        "erased; the SHA-256 stays.",
        schema="ledger",
    )
    if role := context.config.attributes.get("application_role"):
        quoted = op.get_bind().dialect.identifier_preparer.quote(role)
        op.execute(f"grant select, insert on ledger.document_dictionary to {quoted}")
        op.execute(f"revoke update, delete on ledger.document_dictionary from {quoted}")
        op.execute(f"grant usage on all sequences in schema ledger to {quoted}")

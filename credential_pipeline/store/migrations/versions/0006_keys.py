"""Keys in a KMS: a period names the key there. Signatures of credentials as JWTs, made once."""

from alembic import context, op
import sqlalchemy as sa

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("signing_key", sa.Column("kms_key", sa.Text(), nullable=True), schema="ledger")
    op.create_table(
        "credential_jwt",
        sa.Column("credential_id", sa.Uuid(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("issued_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("signature", sa.LargeBinary(), nullable=False),
        sa.Column("jwt_sha256", sa.LargeBinary(length=32), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["credential_id"], ["ledger.credential.credential_id"], name=op.f("fk_credential_jwt_credential_id")
        ),
        sa.ForeignKeyConstraint(["key_id"], ["ledger.signing_key.key_id"], name=op.f("fk_credential_jwt_key_id")),
        sa.PrimaryKeyConstraint("credential_id", "key_id", name=op.f("pk_credential_jwt")),
        schema="ledger",
        comment="Signatures of credentials as JWTs: with its document each gives the JWT again, without it nothing.",
    )
    if role := context.config.attributes.get("application_role"):
        quoted = op.get_bind().dialect.identifier_preparer.quote(role)
        op.execute(f"grant select, insert on ledger.credential_jwt to {quoted}")
        op.execute(f"revoke update, delete on ledger.credential_jwt from {quoted}")

"""The spine: all schemas and tables, the append-only audit log, and what the application role may do."""

from alembic import context, op
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


SCHEMAS = ("landed", "accepted", "quarantine", "identity", "ledger", "outbox", "metrics")


def upgrade() -> None:
    for schema in SCHEMAS:
        op.execute(f"create schema if not exists {schema}")
    create_tables()
    op.execute(
        "create view landed.batch_row as "
        "select distinct b.day, b.dataset, r.row_id from landed.batch_file b join landed.file_row r using (file_id)"
    )
    append_only("ledger.event")
    role = context.config.attributes.get("application_role")
    if role:
        grant(role)


def append_only(table: str) -> None:
    # The trigger binds whoever forgets, the owner too; the missing grant binds the application.
    op.execute(
        """
        create function ledger.refuse_change() returns trigger language plpgsql as $$
        begin
            raise exception 'the audit log %.% is append-only', tg_table_schema, tg_table_name
                using errcode = 'insufficient_privilege';
        end $$
        """
    )
    op.execute(
        f"create trigger append_only before update or delete or truncate on {table} "
        "for each statement execute function ledger.refuse_change()"
    )


def grant(role: str) -> None:
    quoted = op.get_bind().dialect.identifier_preparer.quote(role)
    for schema in SCHEMAS:
        op.execute(f"grant usage on schema {schema} to {quoted}")
        op.execute(f"grant select, insert, update, delete on all tables in schema {schema} to {quoted}")
        op.execute(f"grant usage on all sequences in schema {schema} to {quoted}")
        op.execute(
            f"alter default privileges in schema {schema} grant select, insert, update, delete on tables to {quoted}"
        )
        op.execute(f"alter default privileges in schema {schema} grant usage on sequences to {quoted}")
    op.execute(f"grant create on schema metrics to {quoted}")
    op.execute(f"revoke update, delete on ledger.event from {quoted}")
    op.execute(f"revoke insert, update, delete on ledger.alembic_version from {quoted}")


def create_tables() -> None:
    op.create_table(
        "gated_batch",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("dataset", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(length=32), nullable=False),
        sa.Column("landed", sa.Integer(), nullable=False),
        sa.Column("accepted", sa.Integer(), nullable=False),
        sa.Column("quarantined", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column(
            "recorded_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.PrimaryKeyConstraint("day", "dataset", name=op.f("pk_gated_batch")),
        schema="accepted",
        comment="What the gate last judged of a day's batch. fingerprint: of files, checks and references.",
    )
    op.create_table(
        "person",
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("first_source_key", sa.Text(), nullable=False),
        sa.Column("first_day", sa.Date(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column(
            "recorded_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.PrimaryKeyConstraint("person_id", name=op.f("pk_person")),
        schema="identity",
        comment="A human, as far as the source records show. first_source_key is the input of person_id.",
    )
    op.create_table(
        "file",
        sa.Column("file_id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("dataset", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("row_count", sa.Integer(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column(
            "recorded_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.PrimaryKeyConstraint("file_id", name=op.f("pk_file")),
        sa.UniqueConstraint("dataset", "name", "digest", name=op.f("uq_file_dataset_name_digest")),
        schema="landed",
        comment="A source file, once per content: the same bytes offered again are the same file.",
    )
    op.create_table(
        "catalogue_version",
        sa.Column("catalogue_version", sa.LargeBinary(length=32), nullable=False),
        sa.Column("catalogue", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column(
            "recorded_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.PrimaryKeyConstraint("catalogue_version", name=op.f("pk_catalogue_version")),
        schema="ledger",
        comment="Every catalogue that a plan was made with: what a rule said at the time.",
    )
    op.create_table(
        "institution",
        sa.Column("institution_id", sa.Text(), nullable=False),
        sa.Column("did", sa.Text(), nullable=False),
        sa.Column("base_url", sa.Text(), nullable=False),
        sa.Column(
            "recorded_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.PrimaryKeyConstraint("institution_id", name=op.f("pk_institution")),
        schema="ledger",
        comment="The one institution this database belongs to.",
    )
    op.create_table(
        "signing_key",
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("algorithm", sa.Text(), nullable=False),
        sa.Column("public_key_multibase", sa.Text(), nullable=False),
        sa.Column("valid_from", sa.DateTime(timezone=True), nullable=False),
        sa.Column("valid_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("compromised_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "recorded_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.PrimaryKeyConstraint("key_id", name=op.f("pk_signing_key")),
        schema="ledger",
        comment="Periods of the issuer's keys. The private halves are in the secrets directory or in a KMS, never here.",
    )
    op.create_table(
        "status_cursor",
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("next_position", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("purpose", name=op.f("pk_status_cursor")),
        schema="ledger",
        comment="The first position of a purpose that no block has reserved yet.",
    )
    op.create_table(
        "status_list",
        sa.Column("list_number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("secret_version", sa.Integer(), nullable=False),
        sa.Column("version", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("list_number", name=op.f("pk_status_list")),
        sa.UniqueConstraint("purpose", "ordinal", name=op.f("uq_status_list_purpose_ordinal")),
        schema="ledger",
        comment="/status/LIST_NUMBER.json. version counts up with every published state of its bits.",
    )
    op.create_table(
        "breach",
        sa.Column("breach_id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("dataset", sa.Text(), nullable=False),
        sa.Column("file_name", sa.Text(), nullable=True),
        sa.Column("file_digest", sa.LargeBinary(length=32), nullable=True),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("remedy", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("resolved_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("breach_id", name=op.f("pk_breach")),
        schema="quarantine",
        comment="A whole file or batch that was set aside: wrong columns, wrong encoding, empty, too many bad rows.",
    )
    op.create_index(op.f("ix_breach_day_dataset"), "breach", ["day", "dataset"], unique=False, schema="quarantine")
    op.create_table(
        "person_alias",
        sa.Column("alias_id", sa.Uuid(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("merged_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.ForeignKeyConstraint(["alias_id"], ["identity.person.person_id"], name=op.f("fk_person_alias_alias_id")),
        sa.ForeignKeyConstraint(["person_id"], ["identity.person.person_id"], name=op.f("fk_person_alias_person_id")),
        sa.PrimaryKeyConstraint("alias_id", name=op.f("pk_person_alias")),
        schema="identity",
        comment="alias_id was merged into person_id, always the final survivor: chains are shortened when they form.",
    )
    op.create_index(op.f("ix_person_alias_person_id"), "person_alias", ["person_id"], unique=False, schema="identity")
    op.create_table(
        "batch_file",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("dataset", sa.Text(), nullable=False),
        sa.Column("file_id", sa.BigInteger(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column(
            "recorded_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.ForeignKeyConstraint(["file_id"], ["landed.file.file_id"], name=op.f("fk_batch_file_file_id")),
        sa.PrimaryKeyConstraint("day", "dataset", "file_id", name=op.f("pk_batch_file")),
        schema="landed",
        comment="A day's batch: the files its sources offered when the day was last extracted.",
    )
    op.create_table(
        "row",
        sa.Column("row_id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("dataset", sa.Text(), nullable=False),
        sa.Column("row_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("copy", sa.Integer(), server_default="0", nullable=False),
        sa.Column("cells", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("problems", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("file_id", sa.BigInteger(), nullable=False),
        sa.Column("row_number", sa.Integer(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["file_id"], ["landed.file.file_id"], name=op.f("fk_row_file_id")),
        sa.PrimaryKeyConstraint("row_id", name=op.f("pk_row")),
        sa.UniqueConstraint("dataset", "row_hash", "copy", name=op.f("uq_row_dataset_row_hash_copy")),
        schema="landed",
        comment="A row as landed: cells by column name, as text. file_id and row_number say where it was seen first.",
    )
    op.create_table(
        "award",
        sa.Column("award_id", sa.Uuid(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("achievement", sa.Text(), nullable=False),
        sa.Column("occurrence", sa.Text(), nullable=False),
        sa.Column("awarded_on", sa.Date(), nullable=False),
        sa.Column("duplicate_of", sa.Uuid(), nullable=True),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column(
            "recorded_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.ForeignKeyConstraint(["duplicate_of"], ["ledger.award.award_id"], name=op.f("fk_award_duplicate_of")),
        sa.ForeignKeyConstraint(["person_id"], ["identity.person.person_id"], name=op.f("fk_award_person_id")),
        sa.PrimaryKeyConstraint("award_id", name=op.f("pk_award")),
        schema="ledger",
        comment="Person x achievement x occurrence. person_id moves to the survivor of a merge, award_id never changes.",
    )
    op.create_index(
        "uq_award_live",
        "award",
        ["person_id", "achievement", "occurrence"],
        unique=True,
        schema="ledger",
        postgresql_where="duplicate_of is null",
    )
    op.create_table(
        "plan",
        sa.Column("plan_id", sa.Uuid(), nullable=False),
        sa.Column("hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("as_of", sa.DateTime(timezone=True), nullable=False),
        sa.Column("catalogue_version", sa.LargeBinary(length=32), nullable=False),
        sa.Column("counts", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column(
            "recorded_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.ForeignKeyConstraint(
            ["catalogue_version"],
            ["ledger.catalogue_version.catalogue_version"],
            name=op.f("fk_plan_catalogue_version"),
        ),
        sa.PrimaryKeyConstraint("plan_id", name=op.f("pk_plan")),
        schema="ledger",
        comment="What would happen, before it happens. state: planned | approved | applied.",
    )
    op.create_index(op.f("ix_plan_scope_state"), "plan", ["scope", "state"], unique=False, schema="ledger")
    op.create_table(
        "row",
        sa.Column("row_id", sa.BigInteger(), nullable=False),
        sa.Column("dataset", sa.Text(), nullable=False),
        sa.Column("source_key", sa.Text(), nullable=True),
        sa.Column("fields", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("fields_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("lookup_rows", postgresql.ARRAY(sa.BigInteger()), server_default="{}", nullable=False),
        sa.Column("gate_version", sa.LargeBinary(length=32), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column(
            "recorded_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.ForeignKeyConstraint(["row_id"], ["landed.row.row_id"], name=op.f("fk_row_row_id")),
        sa.PrimaryKeyConstraint("row_id", name=op.f("pk_row")),
        schema="accepted",
        comment="An accepted row. lookup_rows: landed rows of other datasets that its fields were completed from.",
    )
    op.create_index(op.f("ix_row_dataset"), "row", ["dataset"], unique=False, schema="accepted")
    op.create_index(op.f("ix_row_source_key"), "row", ["source_key"], unique=False, schema="accepted")
    op.create_table(
        "source_record",
        sa.Column("source_key", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("row_id", sa.BigInteger(), nullable=False),
        sa.Column("fields_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("given_name", sa.Text(), nullable=True),
        sa.Column("family_name", sa.Text(), nullable=True),
        sa.Column("full_name", sa.Text(), nullable=True),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("birth_date", sa.Date(), nullable=True),
        sa.Column("identifiers", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("link_rule", sa.Text(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["person_id"], ["identity.person.person_id"], name=op.f("fk_source_record_person_id")),
        sa.ForeignKeyConstraint(["row_id"], ["landed.row.row_id"], name=op.f("fk_source_record_row_id")),
        sa.PrimaryKeyConstraint("source_key", name=op.f("pk_source_record")),
        schema="identity",
        comment="A person as one system knows them; link_rule says why it belongs to person_id (first_sight when alone).",
    )
    op.create_index(op.f("ix_source_record_person_id"), "source_record", ["person_id"], unique=False, schema="identity")
    op.create_table(
        "file_row",
        sa.Column("file_id", sa.BigInteger(), nullable=False),
        sa.Column("row_number", sa.Integer(), nullable=False),
        sa.Column("row_id", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["file_id"], ["landed.file.file_id"], name=op.f("fk_file_row_file_id")),
        sa.ForeignKeyConstraint(["row_id"], ["landed.row.row_id"], name=op.f("fk_file_row_row_id")),
        sa.PrimaryKeyConstraint("file_id", "row_number", name=op.f("pk_file_row")),
        schema="landed",
        comment="Which landed row stands at row N (1 = first after the header) of a file.",
    )
    op.create_index(op.f("ix_file_row_row_id"), "file_row", ["row_id"], unique=False, schema="landed")
    op.create_table(
        "approval",
        sa.Column("approval_id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("plan_id", sa.Uuid(), nullable=False),
        sa.Column("plan_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("approver", sa.Text(), nullable=False),
        sa.Column("signature", sa.Text(), nullable=True),
        sa.Column(
            "approved_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["plan_id"], ["ledger.plan.plan_id"], name=op.f("fk_approval_plan_id")),
        sa.PrimaryKeyConstraint("approval_id", name=op.f("pk_approval")),
        sa.UniqueConstraint("plan_id", "kind", "approver", name=op.f("uq_approval_plan_id_kind_approver")),
        schema="ledger",
        comment="Who let a plan through, bound to its hash. kind: catalogue (auto achievements) | signature.",
    )
    op.create_table(
        "decision",
        sa.Column("row_id", sa.BigInteger(), nullable=False),
        sa.Column("achievement", sa.Text(), server_default="", nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("award_id", sa.Uuid(), nullable=True),
        sa.Column("fields_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("catalogue_version", sa.LargeBinary(length=32), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column(
            "recorded_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.ForeignKeyConstraint(["award_id"], ["ledger.award.award_id"], name=op.f("fk_decision_award_id")),
        sa.ForeignKeyConstraint(
            ["catalogue_version"],
            ["ledger.catalogue_version.catalogue_version"],
            name=op.f("fk_decision_catalogue_version"),
        ),
        sa.ForeignKeyConstraint(["row_id"], ["landed.row.row_id"], name=op.f("fk_decision_row_id")),
        sa.PrimaryKeyConstraint("row_id", "achievement", name=op.f("pk_decision")),
        schema="ledger",
        comment="What the catalogue made of an accepted row: earning (an award each) or skipped (a reason).",
    )
    op.create_index(op.f("ix_decision_award_id"), "decision", ["award_id"], unique=False, schema="ledger")
    op.create_table(
        "hold",
        sa.Column("award_id", sa.Uuid(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("reasons", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("plan_id", sa.Uuid(), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("decided_by", sa.Text(), nullable=True),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("decision_reason", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["award_id"], ["ledger.award.award_id"], name=op.f("fk_hold_award_id")),
        sa.ForeignKeyConstraint(["plan_id"], ["ledger.plan.plan_id"], name=op.f("fk_hold_plan_id")),
        sa.PrimaryKeyConstraint("award_id", "cause", "action", name=op.f("pk_hold")),
        schema="ledger",
        comment="An award that waits for a person: waiting | released | rejected. A rejected hold stays, with its reason.",
    )
    op.create_index(op.f("ix_hold_state"), "hold", ["state"], unique=False, schema="ledger")
    op.create_table(
        "plan_line",
        sa.Column("plan_id", sa.Uuid(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("achievement", sa.Text(), nullable=True),
        sa.Column("award_id", sa.Uuid(), nullable=True),
        sa.Column("credential_id", sa.Uuid(), nullable=True),
        sa.Column("cause", sa.Text(), nullable=True),
        sa.Column("person_id", sa.Uuid(), nullable=True),
        sa.Column("row_id", sa.BigInteger(), nullable=True),
        sa.Column("status_ordinal", sa.Integer(), nullable=True),
        sa.Column("facts", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("reasons", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("inputs", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["award_id"], ["ledger.award.award_id"], name=op.f("fk_plan_line_award_id")),
        sa.ForeignKeyConstraint(["person_id"], ["identity.person.person_id"], name=op.f("fk_plan_line_person_id")),
        sa.ForeignKeyConstraint(["plan_id"], ["ledger.plan.plan_id"], name=op.f("fk_plan_line_plan_id")),
        sa.ForeignKeyConstraint(["row_id"], ["landed.row.row_id"], name=op.f("fk_plan_line_row_id")),
        sa.PrimaryKeyConstraint("plan_id", "ordinal", name=op.f("pk_plan_line")),
        schema="ledger",
        comment="create | hold | skip, with reasons and cited inputs. state: planned | applied | held | skipped.",
    )
    op.create_index(op.f("ix_plan_line_award_id"), "plan_line", ["award_id"], unique=False, schema="ledger")
    op.create_index(op.f("ix_plan_line_credential_id"), "plan_line", ["credential_id"], unique=False, schema="ledger")
    op.create_index(
        "ix_plan_line_open",
        "plan_line",
        ["plan_id", "ordinal"],
        unique=False,
        schema="ledger",
        postgresql_where="state = 'planned'",
    )
    op.create_index(op.f("ix_plan_line_row_id"), "plan_line", ["row_id"], unique=False, schema="ledger")
    op.create_table(
        "status_block",
        sa.Column("plan_id", sa.Uuid(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("first_position", sa.BigInteger(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["plan_id"], ["ledger.plan.plan_id"], name=op.f("fk_status_block_plan_id")),
        sa.PrimaryKeyConstraint("plan_id", "purpose", name=op.f("pk_status_block")),
        sa.UniqueConstraint("purpose", "first_position", name=op.f("uq_status_block_purpose_first_position")),
        schema="ledger",
        comment="A contiguous block of positions that a plan reserved for its lines.",
    )
    op.create_table(
        "reason",
        sa.Column("row_id", sa.BigInteger(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("field", sa.Text(), nullable=False),
        sa.Column("dataset", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=True),
        sa.Column("remedy", sa.Text(), nullable=False),
        sa.Column("gate_version", sa.LargeBinary(length=32), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("resolved_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["row_id"], ["landed.row.row_id"], name=op.f("fk_reason_row_id")),
        sa.PrimaryKeyConstraint("row_id", "code", "field", name=op.f("pk_reason")),
        schema="quarantine",
        comment="Why a landed row is in quarantine. A row with several faults has several reasons and counts once.",
    )
    op.create_index(
        op.f("ix_reason_dataset"),
        "reason",
        ["dataset"],
        unique=False,
        schema="quarantine",
        postgresql_where="resolved_at is null",
    )
    op.create_table(
        "review_pair",
        sa.Column("left_key", sa.Text(), nullable=False),
        sa.Column("right_key", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("decided_by", sa.Text(), nullable=True),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["left_key"], ["identity.source_record.source_key"], name=op.f("fk_review_pair_left_key")
        ),
        sa.ForeignKeyConstraint(
            ["right_key"], ["identity.source_record.source_key"], name=op.f("fk_review_pair_right_key")
        ),
        sa.PrimaryKeyConstraint("left_key", "right_key", name=op.f("pk_review_pair")),
        schema="identity",
        comment="Two records that may be one person and that the strict rules could not prove: waiting | same | different.",
    )
    op.create_table(
        "credential",
        sa.Column("credential_id", sa.Uuid(), nullable=False),
        sa.Column("award_id", sa.Uuid(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("public_id", sa.Text(), nullable=False),
        sa.Column("id_secret_version", sa.Integer(), nullable=False),
        sa.Column("salt_secret_version", sa.Integer(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("achievement", sa.Text(), nullable=False),
        sa.Column("plan_id", sa.Uuid(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("list_number", sa.Integer(), nullable=False),
        sa.Column("status_index", sa.Integer(), nullable=False),
        sa.Column("as_of", sa.DateTime(timezone=True), nullable=False),
        sa.Column("awarded_on", sa.Date(), nullable=False),
        sa.Column("valid_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("document", sa.LargeBinary(), nullable=True),
        sa.Column("document_form", sa.Text(), nullable=False),
        sa.Column("document_sha256", sa.LargeBinary(length=32), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column(
            "recorded_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.ForeignKeyConstraint(["award_id"], ["ledger.award.award_id"], name=op.f("fk_credential_award_id")),
        sa.ForeignKeyConstraint(["key_id"], ["ledger.signing_key.key_id"], name=op.f("fk_credential_key_id")),
        sa.ForeignKeyConstraint(
            ["list_number"], ["ledger.status_list.list_number"], name=op.f("fk_credential_list_number")
        ),
        sa.ForeignKeyConstraint(["person_id"], ["identity.person.person_id"], name=op.f("fk_credential_person_id")),
        sa.ForeignKeyConstraint(
            ["plan_id", "ordinal"],
            ["ledger.plan_line.plan_id", "ledger.plan_line.ordinal"],
            name=op.f("fk_credential_plan_id_ordinal"),
        ),
        sa.PrimaryKeyConstraint("credential_id", name=op.f("pk_credential")),
        sa.UniqueConstraint("award_id", "cause", name=op.f("uq_credential_award_id_cause")),
        sa.UniqueConstraint("list_number", "status_index", name=op.f("uq_credential_list_number_status_index")),
        sa.UniqueConstraint("plan_id", "ordinal", name=op.f("uq_credential_plan_id_ordinal")),
        sa.UniqueConstraint("public_id", name=op.f("uq_credential_public_id")),
        schema="ledger",
        comment="A signed credential. document: its bytes in document_form (zstd), null once erased; the SHA-256 stays.",
    )
    op.create_index(op.f("ix_credential_key_id"), "credential", ["key_id"], unique=False, schema="ledger")
    op.create_index(op.f("ix_credential_person_id"), "credential", ["person_id"], unique=False, schema="ledger")
    op.create_index(op.f("ix_credential_valid_until"), "credential", ["valid_until"], unique=False, schema="ledger")
    op.create_table(
        "credential_state",
        sa.Column("credential_id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("superseded_by", sa.Uuid(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column(
            "changed_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.ForeignKeyConstraint(
            ["credential_id"], ["ledger.credential.credential_id"], name=op.f("fk_credential_state_credential_id")
        ),
        sa.ForeignKeyConstraint(
            ["superseded_by"], ["ledger.credential.credential_id"], name=op.f("fk_credential_state_superseded_by")
        ),
        sa.PrimaryKeyConstraint("credential_id", name=op.f("pk_credential_state")),
        schema="ledger",
        comment="current | superseded | revoked | suspended | withdrawn. version counts up with every change.",
    )
    op.create_index(
        op.f("ix_credential_state_state"),
        "credential_state",
        ["state"],
        unique=False,
        schema="ledger",
        postgresql_where="state <> 'current'",
    )
    op.create_table(
        "event",
        sa.Column("event_id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("credential_id", sa.Uuid(), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("detail", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column(
            "happened_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.ForeignKeyConstraint(
            ["credential_id"], ["ledger.credential.credential_id"], name=op.f("fk_event_credential_id")
        ),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_event")),
        sa.UniqueConstraint("credential_id", "seq", name=op.f("uq_event_credential_id_seq")),
        schema="ledger",
        comment="The audit log: append-only by trigger and by grant. Holds ids, never personal data.",
    )
    op.create_table(
        "publication",
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("credential_id", sa.Uuid(), nullable=True),
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("size_bytes", sa.Integer(), nullable=False),
        sa.Column("valid_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column(
            "published_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.ForeignKeyConstraint(
            ["credential_id"], ["ledger.credential.credential_id"], name=op.f("fk_publication_credential_id")
        ),
        sa.PrimaryKeyConstraint("target", "path", name=op.f("pk_publication")),
        schema="ledger",
        comment="The manifest: which object stands where, with which digest and version.",
    )
    op.create_index(
        op.f("ix_publication_credential_id_kind"),
        "publication",
        ["credential_id", "kind"],
        unique=False,
        schema="ledger",
    )
    op.create_table(
        "message",
        sa.Column("message_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("credential_id", sa.Uuid(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column(
            "recorded_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["credential_id"], ["ledger.credential.credential_id"], name=op.f("fk_message_credential_id")
        ),
        sa.ForeignKeyConstraint(["person_id"], ["identity.person.person_id"], name=op.f("fk_message_person_id")),
        sa.PrimaryKeyConstraint("message_id", name=op.f("pk_message")),
        sa.UniqueConstraint("credential_id", "kind", name=op.f("uq_message_credential_id_kind")),
        schema="outbox",
        comment="A notification that waits to be sent: issued | superseded | revoked | expiring. No address is kept here.",
    )
    op.create_index(
        op.f("ix_message_recorded_at"),
        "message",
        ["recorded_at"],
        unique=False,
        schema="outbox",
        postgresql_where="sent_at is null",
    )

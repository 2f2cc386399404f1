"""Schema `ledger`: awards, plans, approvals, holds, credentials, their states and everything that ever moved them.

Unique constraints, not look-ups, make issuing exactly-once. Tables that get a million rows at a time have a foreign key
to what they belong to and no more: what else a set statement joined is there (docs/decisions/0008-bulk-writes.md), and
`reconcile` looks for references to nothing.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Date,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
)

from credential_pipeline.store.tables.base import day, document, instant, metadata, recorded_at, sha256, text

institution = Table(
    "institution",
    metadata,
    Column("institution_id", Text, primary_key=True),
    text("did"),
    text("base_url"),
    recorded_at(),
    schema="ledger",
    comment="The one institution this database belongs to.",
)

catalogue_version = Table(
    "catalogue_version",
    metadata,
    Column("catalogue_version", LargeBinary(32), primary_key=True),
    document("catalogue"),
    text("run_id"),
    recorded_at(),
    schema="ledger",
    comment="Every catalogue that a plan was made with: what a rule said at the time.",
)

signing_key = Table(
    "signing_key",
    metadata,
    Column("key_id", Text, primary_key=True),
    text("algorithm"),
    text("public_key_multibase"),
    text("kms_key", null=True),
    instant("valid_from"),
    instant("valid_until", null=True),
    instant("compromised_at", null=True),
    recorded_at(),
    schema="ledger",
    comment="Periods of the issuer's keys. The private halves are in the secrets directory or in a KMS, never here.",
)

award = Table(
    "award",
    metadata,
    Column("award_id", Uuid, primary_key=True),
    Column("person_id", Uuid, ForeignKey("identity.person.person_id"), nullable=False),
    text("achievement"),
    text("occurrence"),
    Column("awarded_on", Date, nullable=False),
    Column("duplicate_of", Uuid, ForeignKey("ledger.award.award_id"), nullable=True),
    day(),
    text("run_id"),
    recorded_at(),
    Index(
        "uq_award_live",
        "person_id",
        "achievement",
        "occurrence",
        unique=True,
        postgresql_where="duplicate_of is null",
    ),
    Index(None, "person_id"),
    schema="ledger",
    comment="Person x achievement x occurrence. person_id moves to the survivor of a merge, award_id never changes.",
)

decision = Table(
    "decision",
    metadata,
    Column("row_id", BigInteger, ForeignKey("landed.row.row_id"), nullable=False),
    Column("achievement", Text, nullable=False, server_default=""),
    text("outcome"),
    Column("reason", Text, nullable=True),
    Column("award_id", Uuid, ForeignKey("ledger.award.award_id"), nullable=True),
    sha256("fields_hash"),
    Column(
        "catalogue_version",
        LargeBinary(32),
        ForeignKey("ledger.catalogue_version.catalogue_version"),
        nullable=False,
    ),
    day(),
    text("run_id"),
    recorded_at(),
    PrimaryKeyConstraint("row_id", "achievement"),
    Index(None, "award_id"),
    schema="ledger",
    comment="What the catalogue made of an accepted row: earning (an award each) or skipped (a reason).",
)

plan = Table(
    "plan",
    metadata,
    Column("plan_id", Uuid, primary_key=True),
    sha256("hash"),
    text("kind"),
    text("scope"),
    instant("as_of"),
    Column(
        "catalogue_version",
        LargeBinary(32),
        ForeignKey("ledger.catalogue_version.catalogue_version"),
        nullable=False,
    ),
    document("counts"),
    text("state"),
    text("created_by"),
    text("run_id"),
    recorded_at(),
    Column("approval", Text, nullable=False, server_default="auto"),
    Column("reason", Text, nullable=True),
    document("forecast", null=True),
    Index(None, "scope", "state"),
    schema="ledger",
    comment="What would happen, before it happens. state: planned | approved | applied | stale. approval: auto | "
    "four_eyes.",
)

plan_line = Table(
    "plan_line",
    metadata,
    Column("plan_id", Uuid, ForeignKey("ledger.plan.plan_id"), nullable=False),
    Column("ordinal", Integer, nullable=False),
    text("action"),
    Column("achievement", Text, nullable=True),
    Column("award_id", Uuid, nullable=True),
    Column("credential_id", Uuid, nullable=True),
    Column("cause", Text, nullable=True),
    Column("person_id", Uuid, nullable=True),
    Column("row_id", BigInteger, nullable=True),
    Column("status_ordinal", Integer, nullable=True),
    document("facts", null=True),
    document("reasons"),
    document("inputs"),
    text("state"),
    Column("run_id", Text, nullable=True),
    Column("prior_id", Uuid, nullable=True),
    PrimaryKeyConstraint("plan_id", "ordinal"),
    Index(None, "award_id"),
    Index(None, "row_id"),
    schema="ledger",
    comment="create | replace | renew | revoke | suspend | reinstate | hold | skip, with reasons and cited inputs. "
    "prior_id: the credential that the line is about. state: planned | applied | held | skipped.",
)

approval = Table(
    "approval",
    metadata,
    Column("approval_id", BigInteger, Identity(), primary_key=True),
    Column("plan_id", Uuid, ForeignKey("ledger.plan.plan_id"), nullable=False),
    sha256("plan_hash"),
    text("kind"),
    text("approver"),
    Column("signature", Text, nullable=True),
    recorded_at("approved_at"),
    instant("expires_at", null=True),
    UniqueConstraint("plan_id", "kind", "approver"),
    schema="ledger",
    comment="Who let a plan through, bound to its hash. kind: catalogue (auto achievements) | actor (a command given "
    "by name) | signature (SSHSIG); preparation is the preparer's own signature and lets nothing through.",
)

hold = Table(
    "hold",
    metadata,
    Column("award_id", Uuid, ForeignKey("ledger.award.award_id"), nullable=False),
    text("cause"),
    text("action"),
    document("reasons"),
    text("state"),
    Column("plan_id", Uuid, ForeignKey("ledger.plan.plan_id"), nullable=False),
    recorded_at("opened_at"),
    Column("decided_by", Text, nullable=True),
    instant("decided_at", null=True),
    Column("decision_reason", Text, nullable=True),
    document("released", null=True),
    PrimaryKeyConstraint("award_id", "cause", "action"),
    Index(None, "state"),
    schema="ledger",
    comment="An award that waits for a person: waiting | released | rejected. A rejected hold stays, with its reason. "
    "released: reasons that a person let go; they hold it no more.",
)

status_cursor = Table(
    "status_cursor",
    metadata,
    Column("purpose", Text, primary_key=True),
    Column("next_position", BigInteger, nullable=False),
    schema="ledger",
    comment="The first position of a purpose that no block has reserved yet.",
)

status_block = Table(
    "status_block",
    metadata,
    Column("plan_id", Uuid, ForeignKey("ledger.plan.plan_id"), nullable=False),
    text("purpose"),
    Column("first_position", BigInteger, nullable=False),
    Column("size", Integer, nullable=False),
    PrimaryKeyConstraint("plan_id", "purpose"),
    UniqueConstraint("purpose", "first_position"),
    schema="ledger",
    comment="A contiguous block of positions that a plan reserved for its lines.",
)

status_list = Table(
    "status_list",
    metadata,
    Column("list_number", Integer, primary_key=True, autoincrement=False),
    text("purpose"),
    Column("ordinal", Integer, nullable=False),
    Column("secret_version", Integer, nullable=False),
    Column("version", BigInteger, nullable=False, server_default="0"),
    UniqueConstraint("purpose", "ordinal"),
    schema="ledger",
    comment="/status/LIST_NUMBER.json. version counts up with every published state of its bits.",
)

credential = Table(
    "credential",
    metadata,
    Column("credential_id", Uuid, primary_key=True),
    Column("award_id", Uuid, ForeignKey("ledger.award.award_id"), nullable=False),
    text("cause"),
    text("public_id"),
    Column("id_secret_version", Integer, nullable=False),
    Column("salt_secret_version", Integer, nullable=False),
    Column("person_id", Uuid, nullable=False),
    text("achievement"),
    Column("plan_id", Uuid, nullable=False),
    Column("ordinal", Integer, nullable=False),
    text("key_id"),
    Column("list_number", Integer, nullable=False),
    Column("status_index", Integer, nullable=False),
    instant("as_of"),
    Column("awarded_on", Date, nullable=False),
    instant("valid_until", null=True),
    Column("document", LargeBinary, nullable=True),
    text("document_form"),
    sha256("document_sha256"),
    text("run_id"),
    recorded_at(),
    UniqueConstraint("award_id", "cause"),
    UniqueConstraint("public_id"),
    UniqueConstraint("list_number", "status_index"),
    UniqueConstraint("plan_id", "ordinal"),
    Index(None, "person_id"),
    Index(None, "key_id"),
    Index(None, "valid_until"),
    schema="ledger",
    comment="A signed credential. document: its bytes in document_form (zstd, or zstd:N with a dictionary), null once "
    "erased; the SHA-256 stays.",
)

document_dictionary = Table(
    "document_dictionary",
    metadata,
    Column("dictionary_id", Integer, Identity(), primary_key=True),
    text("achievement"),
    text("achievement_version"),
    Column(
        "catalogue_version",
        LargeBinary(32),
        ForeignKey("ledger.catalogue_version.catalogue_version"),
        nullable=False,
    ),
    Column("content", LargeBinary, nullable=False),
    sha256("sha256"),
    text("run_id"),
    recorded_at(),
    UniqueConstraint("achievement", "achievement_version"),
    schema="ledger",
    comment="What documents of form zstd:N are packed with, N = dictionary_id: append-only, trained on invented "
    "persons. Without it they cannot be read.",
)

credential_jwt = Table(
    "credential_jwt",
    metadata,
    Column("credential_id", Uuid, ForeignKey("ledger.credential.credential_id"), primary_key=True),
    Column("key_id", Text, ForeignKey("ledger.signing_key.key_id"), primary_key=True),
    instant("issued_at"),
    Column("signature", LargeBinary, nullable=False),
    sha256("jwt_sha256"),
    text("run_id"),
    recorded_at(),
    schema="ledger",
    comment="Signatures of credentials as JWTs: with its document each gives the JWT again, without it nothing.",
)

credential_state = Table(
    "credential_state",
    metadata,
    Column("credential_id", Uuid, ForeignKey("ledger.credential.credential_id"), primary_key=True),
    text("state"),
    Column("version", Integer, nullable=False, server_default="1"),
    Column("superseded_by", Uuid, nullable=True),
    Column("reason", Text, nullable=True),
    recorded_at("changed_at"),
    schema="ledger",
    comment="current | superseded | revoked | suspended | withdrawn. version counts up with every change.",
)

event = Table(
    "event",
    metadata,
    Column("event_id", BigInteger, Identity(), primary_key=True),
    Column("credential_id", Uuid, nullable=False),
    Column("seq", Integer, nullable=False),
    text("kind"),
    text("actor"),
    Column("reason", Text, nullable=True),
    document("detail", null=True),
    text("run_id"),
    recorded_at("happened_at"),
    UniqueConstraint("credential_id", "seq"),
    schema="ledger",
    comment="The audit log: append-only by trigger and by grant. Holds ids, never personal data.",
)

publication = Table(
    "publication",
    metadata,
    text("target"),
    text("path"),
    text("kind"),
    Column("credential_id", Uuid, ForeignKey("ledger.credential.credential_id"), nullable=True),
    sha256("digest"),
    Column("version", BigInteger, nullable=False),
    Column("size_bytes", Integer, nullable=False),
    instant("valid_until", null=True),
    text("run_id"),
    recorded_at("published_at"),
    PrimaryKeyConstraint("target", "path"),
    Index(None, "credential_id", "kind"),
    schema="ledger",
    comment="The manifest: which object stands where, with which digest and version.",
)

action = Table(
    "action",
    metadata,
    Column("action_id", BigInteger, Identity(), primary_key=True),
    text("kind"),
    text("subject"),
    text("actor"),
    Column("reason", Text, nullable=True),
    document("detail", null=True),
    text("run_id"),
    recorded_at("happened_at"),
    Index(None, "subject"),
    schema="ledger",
    comment="The audit log of what is not about one credential: plans, approvals, holds, keys, erasures. Append-only.",
)

erasure = Table(
    "erasure",
    metadata,
    Column("person_id", Uuid, ForeignKey("identity.person.person_id"), primary_key=True),
    text("actor"),
    text("reason"),
    document("counts"),
    text("run_id"),
    recorded_at("erased_at"),
    schema="ledger",
    comment="Persons whose data was erased: who asked, why, and how many rows of each table were emptied.",
)

tombstone = Table(
    "tombstone",
    metadata,
    Column("digest", LargeBinary(32), primary_key=True),
    Column("secret_version", Integer, nullable=False),
    Column("person_id", Uuid, ForeignKey("ledger.erasure.person_id"), nullable=False),
    recorded_at(),
    schema="ledger",
    comment="Keyed hashes of the source keys and rows of erased persons: what bears one of them lands empty.",
)

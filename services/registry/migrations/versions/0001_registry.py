"""The registry's tables as they were first."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from servicekit.column_types import JsonColumn, UtcDateTime

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# SQLite numbers rows by itself only in a column of exactly this type.
ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
WORD = sa.String(64, collation="C").with_variant(sa.String(64), "sqlite")


def upgrade() -> None:
    op.create_table(
        "base_models",
        sa.Column("base_model_id", sa.String(63), nullable=False),
        sa.Column("name", sa.String(80), nullable=False),
        sa.Column("display_name", sa.String(200), nullable=False),
        sa.Column("family", sa.String(32), nullable=False),
        sa.Column("source", sa.String(1024), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("resolution", sa.Integer(), nullable=False),
        sa.Column("license", sa.String(200), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("create_time", UtcDateTime(), nullable=False),
        sa.Column("update_time", UtcDateTime(), nullable=False),
        sa.Column("etag", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("base_model_id"),
        sa.UniqueConstraint("name"),
    )
    op.create_index("ix_base_models_sha256", "base_models", ["sha256"])

    op.create_table(
        "brands",
        sa.Column("brand_id", sa.String(63), nullable=False),
        sa.Column("name", sa.String(80), nullable=False),
        sa.Column("display_name", sa.String(200), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("labels", JsonColumn, nullable=False),
        sa.Column("create_time", UtcDateTime(), nullable=False),
        sa.Column("update_time", UtcDateTime(), nullable=False),
        sa.Column("etag", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("brand_id"),
        sa.UniqueConstraint("name"),
    )
    op.create_table(
        "change_counter",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "changes",
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("time", UtcDateTime(), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("brand_id", sa.String(63), nullable=False),
        sa.Column("lora_id", sa.String(63), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("alias", sa.String(63), nullable=False),
        sa.PrimaryKeyConstraint("sequence"),
    )
    op.create_index("ix_changes_brand_sequence", "changes", ["brand_id", "sequence"])

    op.create_table(
        "request_ids",
        sa.Column("scope", sa.String(200), nullable=False),
        sa.Column("request_id", sa.String(36), nullable=False),
        sa.Column("body_digest", sa.String(64), nullable=False),
        sa.Column("response_name", sa.String(500), nullable=False),
        sa.Column("create_time", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("scope", "request_id"),
    )
    op.create_index("ix_request_ids_create_time", "request_ids", ["create_time"])

    op.create_table(
        "retired_loras",
        sa.Column("name", sa.String(150), nullable=False),
        sa.Column("last_number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "loras",
        sa.Column("id", ROW_ID, autoincrement=True, nullable=False),
        sa.Column("brand_id", sa.String(63), nullable=False),
        sa.Column("lora_id", sa.String(63), nullable=False),
        sa.Column("name", sa.String(150), nullable=False),
        sa.Column("display_name", sa.String(200), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("tags", JsonColumn, nullable=False),
        sa.Column("family", sa.String(32), nullable=False),
        sa.Column("latest_version", sa.BigInteger(), nullable=False),
        sa.Column("last_number", sa.BigInteger(), nullable=False),
        sa.Column("trigger_words", JsonColumn, nullable=False),
        sa.Column("create_time", UtcDateTime(), nullable=False),
        sa.Column("update_time", UtcDateTime(), nullable=False),
        sa.Column("etag", sa.String(32), nullable=False),
        sa.ForeignKeyConstraint(
            ["brand_id"],
            ["brands.brand_id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
    )
    op.create_index("ix_loras_brand_create_time", "loras", ["brand_id", "create_time", "name"])
    op.create_index("ix_loras_brand_name", "loras", ["brand_id", "name"])
    op.create_index("ix_loras_brand_update_time", "loras", ["brand_id", "update_time", "name"])

    op.create_table(
        "lora_aliases",
        sa.Column("lora", ROW_ID, nullable=False),
        sa.Column("alias", sa.String(63), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["lora"], ["loras.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("lora", "alias"),
    )
    op.create_table(
        "lora_tags",
        sa.Column("tag", sa.String(63), nullable=False),
        sa.Column("lora", ROW_ID, nullable=False),
        sa.ForeignKeyConstraint(["lora"], ["loras.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("tag", "lora"),
    )
    op.create_index("ix_lora_tags_lora", "lora_tags", ["lora"])

    op.create_table(
        "lora_version_tags",
        sa.Column("lora", ROW_ID, nullable=False),
        sa.Column("tag", sa.String(63), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["lora"], ["loras.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("lora", "tag", "version"),
    )
    op.create_table(
        "lora_versions",
        sa.Column("id", ROW_ID, autoincrement=True, nullable=False),
        sa.Column("lora", ROW_ID, nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("media_type", sa.String(127), nullable=False),
        sa.Column("format", sa.String(32), nullable=False),
        sa.Column("family", sa.String(32), nullable=False),
        sa.Column("base_model", sa.String(80), nullable=False),
        sa.Column("base_model_sha256", sa.String(64), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("components", JsonColumn, nullable=False),
        sa.Column("trigger_words", JsonColumn, nullable=False),
        sa.Column("training_job", sa.String(256), nullable=False),
        sa.Column("dataset_revision", sa.String(256), nullable=False),
        sa.Column("dataset_sha256", sa.String(64), nullable=False),
        sa.Column("parent_version", sa.String(256), nullable=False),
        sa.Column("tags", JsonColumn, nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("license", sa.String(200), nullable=False),
        sa.Column("evaluation", JsonColumn, nullable=False),
        sa.Column("previews", JsonColumn, nullable=False),
        sa.Column("creator", sa.String(200), nullable=False),
        sa.Column("create_time", UtcDateTime(), nullable=False),
        sa.Column("etag", sa.String(32), nullable=False),
        sa.ForeignKeyConstraint(["lora"], ["loras.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("lora", "version", name="uq_lora_versions_lora_version"),
        sa.UniqueConstraint("name"),
    )
    op.create_index("ix_lora_versions_base_model", "lora_versions", ["base_model", "lora"])
    op.create_index("ix_lora_versions_create_time", "lora_versions", ["lora", "create_time", "version"])
    op.create_index("ix_lora_versions_dataset_revision", "lora_versions", ["dataset_revision"])
    op.create_index("ix_lora_versions_parent_version", "lora_versions", ["parent_version"])
    op.create_index("ix_lora_versions_sha256", "lora_versions", ["sha256"])
    op.create_index("ix_lora_versions_training_job", "lora_versions", ["training_job"])

    op.create_table(
        "lora_words",
        sa.Column("word", WORD, nullable=False),
        sa.Column("lora", ROW_ID, nullable=False),
        sa.ForeignKeyConstraint(["lora"], ["loras.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("word", "lora"),
    )
    op.create_index("ix_lora_words_lora", "lora_words", ["lora"])

    op.create_table(
        "lora_version_details",
        sa.Column("version", ROW_ID, nullable=False),
        sa.Column("modules", JsonColumn, nullable=False),
        sa.Column("file_metadata", JsonColumn, nullable=False),
        sa.Column("training_spec_json", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["version"], ["lora_versions.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("version"),
    )
    counter = sa.table("change_counter", sa.column("id", sa.Integer), sa.column("value", sa.BigInteger))
    op.bulk_insert(counter, [{"id": 1, "value": 0}])


def downgrade() -> None:
    for table in (
        "lora_version_details",
        "lora_words",
        "lora_versions",
        "lora_version_tags",
        "lora_tags",
        "lora_aliases",
        "loras",
        "retired_loras",
        "request_ids",
        "changes",
        "change_counter",
        "brands",
        "base_models",
    ):
        op.drop_table(table)

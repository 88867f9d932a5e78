"""Datasets, pictures, revisions and label jobs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from servicekit.column_types import JsonColumn, UtcDateTime

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "datasets",
        sa.Column("brand", sa.String(length=63), nullable=False),
        sa.Column("dataset", sa.String(length=63), nullable=False),
        sa.Column("display_name", sa.String(length=200), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("create_time", UtcDateTime(), nullable=False),
        sa.Column("update_time", UtcDateTime(), nullable=False),
        sa.Column("etag", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("brand", "dataset"),
    )
    op.create_table(
        "request_ids",
        sa.Column("scope", sa.String(length=200), nullable=False),
        sa.Column("request_id", sa.String(length=36), nullable=False),
        sa.Column("body_digest", sa.String(length=64), nullable=False),
        sa.Column("response_name", sa.String(length=500), nullable=False),
        sa.Column("create_time", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("scope", "request_id"),
    )
    with op.batch_alter_table("request_ids", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_request_ids_create_time"), ["create_time"], unique=False)

    op.create_table(
        "revisions",
        sa.Column("brand", sa.String(length=63), nullable=False),
        sa.Column("dataset", sa.String(length=63), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("image_count", sa.Integer(), nullable=False),
        sa.Column(
            "trigger_words",
            JsonColumn,
            nullable=False,
        ),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("creator", sa.String(length=200), nullable=False),
        sa.Column("create_time", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("brand", "dataset", "revision"),
    )
    op.create_table(
        "images",
        sa.Column("image", sa.String(length=32), nullable=False),
        sa.Column("brand", sa.String(length=63), nullable=False),
        sa.Column("dataset", sa.String(length=63), nullable=False),
        sa.Column("source_name", sa.String(length=255), nullable=False),
        sa.Column("source_sha256", sa.String(length=64), nullable=False),
        sa.Column("source_format", sa.String(length=16), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("pixel_sha256", sa.String(length=64), nullable=True),
        sa.Column("perceptual_hash", sa.BigInteger(), nullable=True),
        sa.Column("thumbnail", sa.LargeBinary(), nullable=True),
        sa.Column("caption", sa.Text(), nullable=False),
        sa.Column("caption_source", sa.String(length=16), nullable=False),
        sa.Column("tags", JsonColumn, nullable=False),
        sa.Column(
            "flags",
            JsonColumn,
            nullable=False,
        ),
        sa.Column("is_flagged", sa.Boolean(), nullable=False),
        sa.Column("duplicate_of", sa.String(length=32), nullable=False),
        sa.Column("split", sa.String(length=16), nullable=False),
        sa.Column("excluded", sa.Boolean(), nullable=False),
        sa.Column("failure_reason", sa.String(length=64), nullable=False),
        sa.Column("failure_message", sa.Text(), nullable=False),
        sa.Column("label_job", sa.String(length=32), nullable=False),
        sa.Column("create_time", UtcDateTime(), nullable=False),
        sa.Column("update_time", UtcDateTime(), nullable=False),
        sa.Column("etag", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(
            ["brand", "dataset"],
            ["datasets.brand", "datasets.dataset"],
            name="fk_images_dataset",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("image"),
        sa.UniqueConstraint("brand", "dataset", "source_name", name="uq_images_source_name"),
    )
    with op.batch_alter_table("images", schema=None) as batch_op:
        batch_op.create_index("ix_images_duplicate_of", ["brand", "dataset", "duplicate_of"], unique=False)
        batch_op.create_index("ix_images_pixels", ["brand", "dataset", "pixel_sha256"], unique=False)

    op.create_table(
        "label_jobs",
        sa.Column("job", sa.String(length=32), nullable=False),
        sa.Column("brand", sa.String(length=63), nullable=False),
        sa.Column("dataset", sa.String(length=63), nullable=False),
        sa.Column("overwrite", sa.Boolean(), nullable=False),
        sa.Column("trigger_word", sa.String(length=100), nullable=False),
        sa.Column("batch_size", sa.Integer(), nullable=False),
        sa.Column("max_tokens", sa.Integer(), nullable=False),
        sa.Column("captioner", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column(
            "progress",
            JsonColumn,
            nullable=False,
        ),
        sa.Column("error_reason", sa.String(length=64), nullable=False),
        sa.Column("error_message", sa.Text(), nullable=False),
        sa.Column("create_time", UtcDateTime(), nullable=False),
        sa.Column("start_time", UtcDateTime(), nullable=True),
        sa.Column("end_time", UtcDateTime(), nullable=True),
        sa.Column("etag", sa.String(length=64), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("lease_until", UtcDateTime(), nullable=True),
        sa.Column("last_sequence", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["brand", "dataset"],
            ["datasets.brand", "datasets.dataset"],
            name="fk_label_jobs_dataset",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("job"),
    )
    with op.batch_alter_table("label_jobs", schema=None) as batch_op:
        batch_op.create_index("ix_label_jobs_dataset", ["brand", "dataset", "create_time"], unique=False)
        batch_op.create_index("ix_label_jobs_state", ["state", "create_time"], unique=False)

    op.create_table(
        "hash_bands",
        sa.Column("brand", sa.String(length=63), nullable=False),
        sa.Column("dataset", sa.String(length=63), nullable=False),
        sa.Column("band", sa.Integer(), nullable=False),
        sa.Column("value", sa.Integer(), nullable=False),
        sa.Column("image", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(["image"], ["images.image"], name="fk_hash_bands_image", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("brand", "dataset", "band", "value", "image"),
    )
    with op.batch_alter_table("hash_bands", schema=None) as batch_op:
        batch_op.create_index("ix_hash_bands_image", ["image"], unique=False)

    op.create_table(
        "label_events",
        sa.Column("job", sa.String(length=32), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("time", UtcDateTime(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("body", JsonColumn, nullable=False),
        sa.ForeignKeyConstraint(["job"], ["label_jobs.job"], name="fk_label_events_job", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job", "sequence"),
    )


def downgrade() -> None:
    op.drop_table("label_events")
    with op.batch_alter_table("hash_bands", schema=None) as batch_op:
        batch_op.drop_index("ix_hash_bands_image")

    op.drop_table("hash_bands")
    with op.batch_alter_table("label_jobs", schema=None) as batch_op:
        batch_op.drop_index("ix_label_jobs_state")
        batch_op.drop_index("ix_label_jobs_dataset")

    op.drop_table("label_jobs")
    with op.batch_alter_table("images", schema=None) as batch_op:
        batch_op.drop_index("ix_images_pixels")
        batch_op.drop_index("ix_images_duplicate_of")

    op.drop_table("images")
    op.drop_table("revisions")
    with op.batch_alter_table("request_ids", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_request_ids_create_time"))

    op.drop_table("request_ids")
    op.drop_table("datasets")

"""Jobs, their events, figures and files."""

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
        "training_jobs",
        sa.Column("name", sa.String(200), primary_key=True),
        sa.Column("brand", sa.String(63), nullable=False),
        sa.Column("display_name", sa.String(200), nullable=False),
        sa.Column("creator", sa.String(200), nullable=False),
        sa.Column("lora", sa.String(200), nullable=False),
        sa.Column("base_model", sa.String(100), nullable=False),
        sa.Column("dataset_revision", sa.String(256), nullable=False),
        sa.Column("base_sha256", sa.String(64), nullable=False),
        sa.Column("resolution", sa.Integer, nullable=False),
        sa.Column("precision", sa.String(16), nullable=False),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("not_before", UtcDateTime, nullable=False),
        sa.Column("worker", sa.String(63), nullable=False),
        sa.Column("lease_expires_at", UtcDateTime),
        sa.Column("fencing_token", sa.BigInteger, nullable=False),
        sa.Column("completed_token", sa.BigInteger, nullable=False),
        sa.Column("registration_id", sa.String(36), nullable=False),
        sa.Column("lora_version", sa.String(256), nullable=False),
        sa.Column("total_steps", sa.BigInteger, nullable=False),
        sa.Column("images_per_second", sa.Float, nullable=False),
        sa.Column("loss", sa.Float, nullable=False),
        sa.Column("last_sequence", sa.BigInteger, nullable=False),
        sa.Column("create_time", UtcDateTime, nullable=False),
        sa.Column("start_time", UtcDateTime),
        sa.Column("end_time", UtcDateTime),
        sa.Column("spec", JsonColumn, nullable=False),
        sa.Column("sources", JsonColumn, nullable=False),
        sa.Column("advice", JsonColumn, nullable=False),
        sa.Column("progress", JsonColumn),
        sa.Column("error", JsonColumn),
        sa.Column("checkpoint", JsonColumn),
    )
    op.create_index("ix_training_jobs_brand_create", "training_jobs", ["brand", "create_time"])
    op.create_index("ix_training_jobs_queue", "training_jobs", ["state", "brand", "priority", "create_time"])
    op.create_index("ix_training_jobs_lease", "training_jobs", ["state", "lease_expires_at"])
    op.create_table(
        "training_events",
        sa.Column("job", sa.String(200), _owner(), primary_key=True),
        sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("time", UtcDateTime, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("payload", JsonColumn, nullable=False),
    )
    op.create_table(
        "training_points",
        sa.Column("job", sa.String(200), _owner(), primary_key=True),
        sa.Column("step", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("time", UtcDateTime, nullable=False),
        sa.Column("loss", sa.Float, nullable=False),
        sa.Column("smoothed_loss", sa.Float, nullable=False),
        sa.Column("learning_rate", sa.Float, nullable=False),
        sa.Column("images_per_second", sa.Float, nullable=False),
    )
    op.create_table(
        "training_artifacts",
        sa.Column("job", sa.String(200), _owner(), primary_key=True),
        sa.Column("file_name", sa.String(255), primary_key=True),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("media_type", sa.String(127), nullable=False),
        sa.Column("step", sa.BigInteger, nullable=False),
        sa.Column("prompt", sa.Text, nullable=False),
    )
    op.create_table(
        "training_request_ids",
        sa.Column("scope", sa.String(200), primary_key=True),
        sa.Column("request_id", sa.String(36), primary_key=True),
        sa.Column("body_digest", sa.String(64), nullable=False),
        sa.Column("response_name", sa.String(500), nullable=False),
        sa.Column("create_time", UtcDateTime, nullable=False),
    )
    op.create_index("ix_training_request_ids_create_time", "training_request_ids", ["create_time"])


def downgrade() -> None:
    for table in ("request_ids", "artifacts", "points", "events", "jobs"):
        op.drop_table(f"training_{table}")


def _owner() -> sa.ForeignKey:
    return sa.ForeignKey("training_jobs.name", ondelete="CASCADE")

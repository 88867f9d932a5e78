"""Places in the line, jobs that make way, workers, and the memory that they have measured."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from servicekit.column_types import JsonColumn, UtcDateTime

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("training_jobs") as table:
        table.add_column(sa.Column("line_time", UtcDateTime))
        table.add_column(sa.Column("makes_way", sa.Boolean, nullable=False, server_default=sa.false()))
        table.add_column(sa.Column("leased_at", UtcDateTime))
    op.execute("UPDATE training_jobs SET line_time = create_time")
    op.execute("UPDATE training_jobs SET leased_at = start_time WHERE lease_expires_at IS NOT NULL")
    with op.batch_alter_table("training_jobs") as table:
        table.alter_column("line_time", existing_type=UtcDateTime, nullable=False)
    op.create_table(
        "training_workers",
        sa.Column("name", sa.String(63), primary_key=True),
        sa.Column("places", sa.Integer, nullable=False),
        sa.Column("device", sa.String(200), nullable=False),
        sa.Column("last_seen", UtcDateTime, nullable=False),
    )
    op.create_index("ix_training_workers_last_seen", "training_workers", ["last_seen"])
    op.create_table(
        "training_brands",
        sa.Column("name", sa.String(63), primary_key=True),
        sa.Column("served_at", UtcDateTime, nullable=False),
    )
    op.create_table(
        "training_memory",
        sa.Column("base_sha256", sa.String(64), primary_key=True),
        sa.Column("precision", sa.String(16), primary_key=True),
        sa.Column("device", sa.String(200), primary_key=True),
        sa.Column("measured_at", UtcDateTime, nullable=False),
        sa.Column("figures", JsonColumn, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("training_memory")
    op.drop_table("training_brands")
    op.drop_table("training_workers")
    with op.batch_alter_table("training_jobs") as table:
        table.drop_column("leased_at")
        table.drop_column("makes_way")
        table.drop_column("line_time")

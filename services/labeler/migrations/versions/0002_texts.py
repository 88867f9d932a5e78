"""Texts of datasets, and how many a revision has."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from servicekit.column_types import UtcDateTime

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "texts",
        sa.Column("text", sa.String(length=32), nullable=False),
        sa.Column("brand", sa.String(length=63), nullable=False),
        sa.Column("dataset", sa.String(length=63), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("source_name", sa.String(length=255), nullable=False),
        sa.Column("line_number", sa.Integer(), nullable=False),
        sa.Column("prompt", sa.Text(), nullable=False),
        sa.Column("response", sa.Text(), nullable=False),
        sa.Column("messages", sa.Text(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("size_bytes", sa.Integer(), nullable=False),
        sa.Column("split", sa.String(length=16), nullable=False),
        sa.Column("excluded", sa.Boolean(), nullable=False),
        sa.Column("create_time", UtcDateTime(), nullable=False),
        sa.Column("update_time", UtcDateTime(), nullable=False),
        sa.Column("etag", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(
            ["brand", "dataset"],
            ["datasets.brand", "datasets.dataset"],
            name="fk_texts_dataset",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("text"),
        sa.UniqueConstraint("brand", "dataset", "sha256", name="uq_texts_sha256"),
        sa.UniqueConstraint("brand", "dataset", "position", name="uq_texts_position"),
    )
    with op.batch_alter_table("revisions") as table:
        table.add_column(sa.Column("text_count", sa.Integer(), nullable=False, server_default="0"))


def downgrade() -> None:
    with op.batch_alter_table("revisions") as table:
        table.drop_column("text_count")
    op.drop_table("texts")

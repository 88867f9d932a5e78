"""How fast packs train and what memory their workers take."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_TABLES = ("training_jobs", "training_points")


def upgrade() -> None:
    for name in _TABLES:
        with op.batch_alter_table(name) as table:
            table.add_column(
                sa.Column("pack_images_per_second", sa.Float, nullable=False, server_default="0")
            )
            table.add_column(
                sa.Column("device_memory_bytes", sa.BigInteger, nullable=False, server_default="0")
            )


def downgrade() -> None:
    for name in _TABLES:
        with op.batch_alter_table(name) as table:
            table.drop_column("device_memory_bytes")
            table.drop_column("pack_images_per_second")

"""With what a version was trained, and how that went."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from servicekit.column_types import JsonColumn

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("lora_version_details") as table:
        table.add_column(sa.Column("origin_details", JsonColumn, nullable=False, server_default="{}"))


def downgrade() -> None:
    with op.batch_alter_table("lora_version_details") as table:
        table.drop_column("origin_details")

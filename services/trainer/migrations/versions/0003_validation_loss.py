"""The validation loss of a step."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("training_points") as table:
        table.add_column(sa.Column("validation_loss", sa.Float))


def downgrade() -> None:
    with op.batch_alter_table("training_points") as table:
        table.drop_column("validation_loss")

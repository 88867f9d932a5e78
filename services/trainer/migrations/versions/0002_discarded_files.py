"""Files that are to be deleted from the artifact store."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table("training_discarded_files", sa.Column("sha256", sa.String(64), primary_key=True))
    for column in ("kind", "sha256"):
        op.create_index(f"ix_training_artifacts_{column}", "training_artifacts", [column])


def downgrade() -> None:
    for column in ("kind", "sha256"):
        op.drop_index(f"ix_training_artifacts_{column}", "training_artifacts")
    op.drop_table("training_discarded_files")

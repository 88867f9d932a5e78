"""Alembic's entry to the labeler's tables."""

from __future__ import annotations

from servicekit.migrations_env import run_migrations
from services.labeler.tables import Base

run_migrations(Base.metadata)

"""Alembic's entry to the trainer's migrations."""

from __future__ import annotations

from servicekit.migrations_env import run_migrations
from services.trainer.tables import Base

run_migrations(Base.metadata)

"""Alembic's entry point for the registry's database."""

from servicekit.migrations_env import run_migrations
from services.registry.tables import Base

run_migrations(Base.metadata)

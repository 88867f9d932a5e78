"""The migrations make exactly the tables that the code uses, on both databases, and can be taken back."""

from __future__ import annotations

from servicekit.database import migrate
from servicekit.migrations import schema_drift
from services.registry.__main__ import MIGRATIONS
from services.registry.tables import Base


def test_migrations_and_tables_agree(database_url: str) -> None:
    migrate(database_url, MIGRATIONS)
    migrate(database_url, MIGRATIONS)
    assert schema_drift(database_url, Base.metadata) == []

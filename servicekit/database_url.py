"""Database URLs: which ones Brandloom takes."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

SQLITE: Final = "sqlite"
POSTGRESQL: Final = "postgresql"
_DRIVERS: Final = {"sqlite+aiosqlite": SQLITE, "postgresql+psycopg": POSTGRESQL}


def checked_url(url: str) -> URL:
    """The parsed URL; ValueError unless it is a SQLite file or PostgreSQL through its async driver."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise ValueError("the database URL cannot be parsed") from None  # it may hold a password: not quoted
    if parsed.drivername not in _DRIVERS:
        raise ValueError(f"the database URL must begin with {' or '.join(_DRIVERS)}, not {parsed.drivername}")
    if parsed.get_backend_name() == SQLITE and parsed.database in (None, "", ":memory:"):
        raise ValueError(
            "SQLite must be a file: a database in memory cannot be shared by several connections"
        )
    return parsed


def make_parent(url: URL) -> None:
    """Makes the directory of a SQLite file."""
    if url.database:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)

"""The labeler's records on SQLite and PostgreSQL, migrated."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from servicekit.database import Database, migrate
from services.labeler.__main__ import MIGRATIONS
from services.labeler.repository import SqlRecords


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    await asyncio.to_thread(migrate, database_url, MIGRATIONS)
    opened = Database(database_url)
    yield opened
    await opened.dispose()


@pytest.fixture
def records(database: Database) -> SqlRecords:
    return SqlRecords(database)

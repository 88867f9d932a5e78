"""The trainer's tables in a real SQLite and a real PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from servicekit.clock import SystemClock
from servicekit.database import Database, migrate
from services.trainer.application import MIGRATIONS
from services.trainer.repository import SqlJobs


@pytest.fixture
async def jobs(database_url: str) -> AsyncIterator[SqlJobs]:
    await asyncio.to_thread(migrate, database_url, MIGRATIONS)
    database = Database(database_url)
    yield SqlJobs(database, SystemClock())
    await database.dispose()

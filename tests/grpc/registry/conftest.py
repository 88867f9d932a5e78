"""A fresh registry for each test, on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.grpc.registry.harness import Registry, running_registry


@pytest.fixture
async def registry(tmp_path: Path, database_url: str) -> AsyncIterator[Registry]:
    async with running_registry(tmp_path, database_url) as running:
        yield running


@pytest.fixture
async def embedded(tmp_path: Path) -> AsyncIterator[Registry]:
    """On SQLite only, for what has nothing to do with the database."""
    async with running_registry(tmp_path, f"sqlite+aiosqlite:///{tmp_path}/registry.db") as running:
        yield running

"""One service's database: SQLAlchemy 2 async sessions on SQLite (WAL) or PostgreSQL (psycopg).

database = Database("sqlite+aiosqlite:////home/me/.brandloom/registry.db")
async with database.transaction() as session:   # commits at the end, rolls back on an exception
    session.add(row)
async with database.snapshot() as session:      # read only, one consistent view
    rows = (await session.scalars(select(Row))).all()
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext, suppress
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine

from servicekit.database_faults import translated_faults
from servicekit.database_url import SQLITE, checked_url, make_parent
from servicekit.migrations import migrate
from servicekit.sqlite import READ_ONLY, prepare_engine

__all__ = ["Database", "migrate"]

_READY_TIMEOUT_SECONDS: Final = 5.0
_CLOSING_TIMEOUT_SECONDS: Final = 5.0


class Database:
    """Engine and sessions of one database; safe to share by all tasks of one event loop."""

    def __init__(self, url: str, *, pool_size: int = 10) -> None:
        self.url = checked_url(url)
        self._is_sqlite = self.url.get_backend_name() == SQLITE
        self._engine = _create_engine(self.url, pool_size)
        reading: dict[str, Any] = {READ_ONLY: True}
        if not self._is_sqlite:
            reading |= {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        snapshot_engine = self._engine.execution_options(**reading)
        self._sessions = async_sessionmaker(self._engine, expire_on_commit=False)
        self._snapshots = async_sessionmaker(snapshot_engine, expire_on_commit=False, autoflush=False)
        # SQLite lets one writer in at a time and the others poll; waiting in line here is fairer and cheaper.
        self._writers = asyncio.Lock() if self._is_sqlite else nullcontext()
        self._open_sessions = 0
        self._none_open = asyncio.Event()
        self._none_open.set()

    @property
    def engine(self) -> AsyncEngine:
        """The engine, for what sessions do not cover."""
        return self._engine

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        """A session that may write; SQLite takes its write lock at once, so what was read stays true.

        A task that is cancelled while it commits is cancelled once the commit has ended.
        """
        async with self._writers, self._opened(self._sessions) as session:
            yield session

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[AsyncSession]:
        """A session that sees one moment of the database and cannot write."""
        async with self._opened(self._snapshots) as session:
            yield session

    async def ready(self) -> bool:
        """Whether the database answers; never raises."""
        try:
            async with asyncio.timeout(_READY_TIMEOUT_SECONDS), self.snapshot() as session:
                await session.execute(text("SELECT 1"))
        except Exception:  # whatever is wrong, the answer is no
            return False
        return True

    async def dispose(self) -> None:
        """Closes all connections, once the sessions of requests that were cancelled have ended."""
        # A server cancels its last requests and does not wait for them: a loop that ends cancels what they
        # still do, in the middle of giving their connections back.
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSING_TIMEOUT_SECONDS):
                await self._none_open.wait()
        await self._engine.dispose()

    @asynccontextmanager
    async def _opened(self, sessions: async_sessionmaker[AsyncSession]) -> AsyncIterator[AsyncSession]:
        self._open_sessions += 1
        self._none_open.clear()
        try:
            with translated_faults():
                # Not session.begin() inside of sessions(): only of this context SQLAlchemy lets the end,
                # commit and all, run whole when its task is cancelled.
                async with sessions.begin() as session:
                    yield session
        finally:
            self._open_sessions -= 1
            if not self._open_sessions:
                self._none_open.set()


def _create_engine(url: URL, pool_size: int) -> AsyncEngine:
    if url.get_backend_name() != SQLITE:
        return create_async_engine(url, pool_size=pool_size, max_overflow=pool_size, pool_pre_ping=True)
    make_parent(url)
    engine = create_async_engine(url, pool_size=pool_size, max_overflow=pool_size)
    prepare_engine(engine.sync_engine)
    return engine

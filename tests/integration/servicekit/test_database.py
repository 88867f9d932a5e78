from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import ForeignKey, event, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError, StatementError
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from servicekit.column_types import JsonColumn, UtcDateTime
from servicekit.database import Database
from servicekit.errors import Aborted, Unavailable


class Base(DeclarativeBase):
    pass


class Counter(Base):
    __tablename__ = "counters"
    name: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[int] = mapped_column(default=0)
    moment: Mapped[datetime | None] = mapped_column(UtcDateTime, default=None)
    facts: Mapped[dict[str, Any] | None] = mapped_column(JsonColumn, default=None)


class Child(Base):
    __tablename__ = "children"
    id: Mapped[int] = mapped_column(primary_key=True)
    counter: Mapped[str] = mapped_column(ForeignKey("counters.name"))


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url)
    async with database.engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    yield database
    await database.dispose()


async def value_of(database: Database, name: str) -> int | None:
    async with database.snapshot() as session:
        return (await session.execute(select(Counter.value).where(Counter.name == name))).scalar_one_or_none()


async def test_a_transaction_commits_at_its_end(database: Database) -> None:
    async with database.transaction() as session:
        session.add(Counter(name="a", value=1))
    assert await value_of(database, "a") == 1


async def test_a_transaction_that_raises_leaves_nothing(database: Database) -> None:
    with pytest.raises(RuntimeError, match="stop"):
        async with database.transaction() as session:
            session.add(Counter(name="a"))
            await session.flush()
            raise RuntimeError("stop")
    assert await value_of(database, "a") is None


async def test_a_transaction_that_is_cancelled_leaves_nothing_and_frees_the_writer(
    database: Database,
) -> None:
    inside = asyncio.Event()

    async def slow() -> None:
        async with database.transaction() as session:
            session.add(Counter(name="a"))
            await session.flush()
            inside.set()
            await asyncio.sleep(60)

    task = asyncio.create_task(slow())
    await inside.wait()
    task.cancel()
    await asyncio.wait({task})
    async with database.transaction() as session:
        session.add(Counter(name="b", value=2))
    assert (await value_of(database, "a"), await value_of(database, "b")) == (None, 2)


async def test_a_transaction_that_is_cancelled_while_it_commits_has_committed(database: Database) -> None:
    async def add() -> None:
        async with database.transaction() as session:
            session.add(Counter(name="a", value=1))

    more_connections: list[object] = []
    event.listen(database.engine.sync_engine, "connect", lambda *given: more_connections.append(given))
    task = asyncio.create_task(add())
    event.listen(database.engine.sync_engine, "commit", lambda _connection: task.cancel(), once=True)
    await asyncio.wait([task])
    assert task.cancelled()
    assert await value_of(database, "a") == 1
    assert not more_connections  # the one was not given up in the middle of its commit


async def test_sqlite_queries_cancelled_twice_leave_no_task_behind(tmp_path: Path) -> None:
    """As when a client goes while its query runs, and the process ends at the same moment."""
    database = Database(f"sqlite+aiosqlite:///{tmp_path}/cancelled.db")
    assert await database.ready()  # while a new file gets its write-ahead log, nobody else may open it
    for turns in range(40):
        query = asyncio.create_task(database.ready())
        for _ in range(turns):
            await asyncio.sleep(0)
        query.cancel()
        await asyncio.sleep(0)
        query.cancel()
        await asyncio.wait([query], timeout=10)
        assert query.done()
    left = asyncio.all_tasks() - {asyncio.current_task()}
    if left:
        _, left = await asyncio.wait(left, timeout=10)
    assert not left
    assert await database.ready()
    await database.dispose()


async def test_a_cancelled_task_gives_its_connection_back_whole(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    database = Database(f"sqlite+aiosqlite:///{tmp_path}/cancelled.db")
    async with database.engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    for turns in range(300):
        query = asyncio.create_task(value_of(database, "a"))
        for _ in range(turns):
            await asyncio.sleep(0)
        query.cancel()
        await asyncio.wait([query])
    await database.dispose()
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


async def test_connections_close_after_what_is_still_open(database: Database) -> None:
    """A server that stops does not wait for the requests that it cancelled."""
    ended: list[str] = []
    inside = asyncio.Event()

    async def slow_to_end() -> None:
        try:
            async with database.transaction() as session:
                session.add(Counter(name="a"))
                inside.set()
                try:
                    await asyncio.sleep(60)
                finally:
                    await session.flush()
        finally:
            ended.append("request")

    request = asyncio.create_task(slow_to_end())
    await inside.wait()
    request.cancel()
    await database.dispose()
    ended.append("database")
    assert ended == ["request", "database"]
    assert await value_of(database, "a") is None


async def test_a_snapshot_cannot_write(database: Database) -> None:
    with pytest.raises(DBAPIError, match=r"readonly|read-only"):
        async with database.snapshot() as session:
            session.add(Counter(name="a"))
            await session.flush()
    async with database.transaction() as session:  # the same connection may write again
        session.add(Counter(name="a"))


async def test_a_snapshot_sees_one_moment(database: Database) -> None:
    async with database.transaction() as session:
        session.add(Counter(name="a", value=1))
    async with database.snapshot() as reading:
        first = (await reading.execute(select(Counter.value))).scalar_one()
        async with database.transaction() as session:
            (await session.get_one(Counter, "a")).value = 2
        second = (await reading.execute(select(Counter.value))).scalar_one()
    assert (first, second) == (1, 1)
    assert await value_of(database, "a") == 2


async def test_writers_at_once_lose_nothing(database: Database) -> None:
    async with database.transaction() as session:
        session.add(Counter(name="a"))

    async def add_one() -> None:
        async with database.transaction() as session:
            counter = await session.get_one(Counter, "a", with_for_update=True)
            counter.value += 1

    await asyncio.gather(*(add_one() for _ in range(25)))
    assert await value_of(database, "a") == 25


async def test_two_processes_worth_of_writers(database: Database, database_url: str) -> None:
    """A second Database has its own writers' line, as another process would."""
    other = Database(database_url)
    async with database.transaction() as session:
        session.add(Counter(name="a"))

    async def add_one(through: Database) -> None:
        async with through.transaction() as session:
            counter = await session.get_one(Counter, "a", with_for_update=True)
            counter.value += 1

    await asyncio.gather(*(add_one(each) for each in [database, other] * 10))
    assert await value_of(other, "a") == 20
    await other.dispose()


async def test_foreign_keys_are_enforced(database: Database) -> None:
    with pytest.raises(IntegrityError):
        async with database.transaction() as session:
            session.add(Child(id=1, counter="nobody"))


async def test_times_keep_their_moment_and_come_back_in_utc(database: Database) -> None:
    moment = datetime(2026, 5, 4, 12, 0, 0, 123456, tzinfo=timezone(timedelta(hours=2)))
    async with database.transaction() as session:
        session.add(Counter(name="a", moment=moment, facts={"tags": ["x", "ü"], "n": 1}))
    async with database.snapshot() as session:
        row = await session.get_one(Counter, "a")
        found = (await session.execute(select(Counter.name).where(Counter.moment == moment))).scalar_one()
    assert row.moment == moment
    assert row.moment is not None
    assert row.moment.tzinfo is UTC
    assert row.facts == {"tags": ["x", "ü"], "n": 1}
    assert found == "a"


async def test_a_time_without_a_zone_is_refused(database: Database) -> None:
    with pytest.raises(StatementError, match="without a zone"):
        async with database.transaction() as session:
            session.add(Counter(name="a", moment=datetime(2026, 1, 1)))


async def test_ready(database: Database) -> None:
    assert await database.ready()


@pytest.mark.postgres
async def test_serialisation_conflicts_are_aborted(postgres_url: str) -> None:
    database = Database(postgres_url)
    async with database.engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    async with database.transaction() as session:
        session.add(Counter(name="a"))
    with pytest.raises(Aborted) as caught:
        async with database.transaction() as slow:
            await slow.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
            await slow.execute(select(Counter))
            async with database.transaction() as quick:
                (await quick.get_one(Counter, "a")).value = 1
            await slow.execute(text("UPDATE counters SET value = 2"))
    assert caught.value.reason == "TRANSACTION_CONFLICT"
    await database.dispose()


async def test_a_database_that_is_not_there_is_unavailable() -> None:
    database = Database("postgresql+psycopg://nobody@127.0.0.1:1/none?connect_timeout=2")
    assert not await database.ready()
    with pytest.raises(Unavailable):
        async with database.transaction() as session:
            await session.execute(text("SELECT 1"))
    await database.dispose()


async def test_a_sqlite_file_that_another_program_has_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("servicekit.sqlite._BUSY_TIMEOUT_MILLISECONDS", 50)
    path = tmp_path / "locked.db"
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("PRAGMA journal_mode = WAL")
    holder.execute("BEGIN IMMEDIATE")
    database = Database(f"sqlite+aiosqlite:///{path}")
    assert await database.ready()  # readers are not held up
    with pytest.raises(Unavailable) as caught:
        async with database.transaction() as session:
            await session.execute(text("SELECT 1"))
    assert caught.value.retry_after_seconds == 1.0
    holder.close()
    await database.dispose()


async def test_the_directory_is_made(tmp_path: Path) -> None:
    database = Database(f"sqlite+aiosqlite:///{tmp_path}/new/home/x.db")
    assert await database.ready()
    await database.dispose()


@pytest.mark.parametrize(
    "url",
    ["sqlite+aiosqlite://", "sqlite+aiosqlite:///:memory:", "sqlite:///x.db", "mysql://x", "nonsense", ""],
)
def test_unusable_urls_are_refused_without_showing_them(url: str) -> None:
    with pytest.raises(ValueError, match=r"SQLite|database URL"):
        Database(url)


async def test_a_full_disk_is_unavailable_and_changes_nothing(tmp_path: Path) -> None:
    database = Database(f"sqlite+aiosqlite:///{tmp_path}/full.db")
    async with database.transaction() as session:
        await session.execute(text("CREATE TABLE things (body TEXT)"))
    with pytest.raises(Unavailable) as caught:
        async with database.transaction() as session:
            await session.execute(text("PRAGMA max_page_count = 1"))  # it takes no page more than it has
            await session.execute(text("INSERT INTO things VALUES (zeroblob(1000000))"))
    assert caught.value.reason == "DATABASE_UNAVAILABLE"
    async with database.snapshot() as session:
        assert await session.scalar(text("SELECT count(*) FROM things")) == 0
    await database.dispose()

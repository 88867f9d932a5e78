from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from servicekit.database import Database
from servicekit.errors import AlreadyExists, InvalidArgument
from servicekit.message_digest import message_digest
from servicekit.request_ids import RequestIdMixin, forget_before, remember
from tests.fakes.servicekit_messages import Order

NOW = datetime(2026, 1, 1, tzinfo=UTC)
DIGEST = "d" * 64


class Base(DeclarativeBase):
    pass


class RequestIdRecord(RequestIdMixin, Base):
    __tablename__ = "request_ids"


class Thing(Base):
    __tablename__ = "things"
    name: Mapped[str] = mapped_column(primary_key=True)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url)
    async with database.engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    yield database
    await database.dispose()


async def create(
    database: Database,
    request_id: str,
    name: str,
    *,
    digest: str = DIGEST,
    scope: str = "acme",
    fail: bool = False,
) -> str:
    """A create as services write it: the name of the thing that answers the request."""
    async with database.transaction() as session:
        first = await remember(
            session,
            RequestIdRecord,
            scope=scope,
            request_id=request_id,
            body_digest=digest,
            response_name=name,
            now=NOW,
        )
        if first is not None:
            return first
        session.add(Thing(name=name))
        await session.flush()
        if fail:
            raise RuntimeError("stop")
        return name


async def test_the_same_request_gets_the_first_answer(database: Database, database_url: str) -> None:
    request_id = str(uuid.uuid4())
    assert await create(database, request_id, "one") == "one"
    assert await create(database, request_id, "two") == "one"
    after_restart = Database(database_url)
    assert await create(after_restart, request_id.upper(), "three") == "one"
    await after_restart.dispose()


async def test_another_request_under_the_same_id_is_refused(database: Database) -> None:
    request_id = str(uuid.uuid4())
    await create(database, request_id, "one")
    with pytest.raises(AlreadyExists) as caught:
        await create(database, request_id, "two", digest="e" * 64)
    assert caught.value.reason == "REQUEST_ID_REUSED"
    assert caught.value.metadata == {"request_id": request_id, "resource_name": "one"}


async def test_ids_belong_to_their_scope(database: Database) -> None:
    request_id = str(uuid.uuid4())
    assert await create(database, request_id, "one", scope="acme") == "one"
    assert await create(database, request_id, "two", scope="other") == "two"


async def test_without_an_id_nothing_is_remembered(database: Database) -> None:
    assert await create(database, "", "one") == "one"
    assert await create(database, "", "two") == "two"


async def test_a_create_that_failed_may_be_repeated(database: Database) -> None:
    request_id = str(uuid.uuid4())
    with pytest.raises(RuntimeError, match="stop"):
        await create(database, request_id, "one", fail=True)
    assert await create(database, request_id, "one") == "one"


async def test_of_many_at_once_one_creates(database: Database) -> None:
    request_id = str(uuid.uuid4())
    answers = await asyncio.gather(*(create(database, request_id, f"thing-{at}") for at in range(8)))
    assert len(set(answers)) == 1


@pytest.mark.parametrize("request_id", ["x", "2f1d6e2e-e70b-11f1-9d82-02fc00000001", "0" * 32])
async def test_ids_are_random_uuids(database: Database, request_id: str) -> None:
    with pytest.raises(InvalidArgument, match="request_id"):
        await create(database, request_id, "one")


async def test_old_ids_are_forgotten(database: Database) -> None:
    request_id = str(uuid.uuid4())
    await create(database, request_id, "one")
    async with database.transaction() as session:
        assert await forget_before(session, RequestIdRecord, NOW) == 0
        assert await forget_before(session, RequestIdRecord, NOW + timedelta(seconds=1)) == 1
    assert await create(database, request_id, "two") == "two"


def test_equal_messages_have_equal_digests() -> None:
    first, second = Order(name="a", labels={"x": "1", "y": "2"}), Order(name="a", labels={"y": "2", "x": "1"})
    assert message_digest(first) == message_digest(second)
    assert message_digest(first) != message_digest(Order(name="b"))

"""Request ids chosen by clients (AIP-155): a repeated create returns the first answer instead of a second
resource.

class RequestIdRecord(RequestIdMixin, Base):
    __tablename__ = "request_ids"

async with database.transaction() as session:
    first = await remember(
        session, RequestIdRecord, scope=brand, request_id=request_id, body_digest=digest, response_name=name,
        now=clock.now())
    if first is not None:
        return await self._load(session, first)     # answered before: nothing is created
    ...                                             # create `name` in the same transaction
"""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import CursorResult, String, delete, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from servicekit.chores import Chore
from servicekit.clock import Clock
from servicekit.column_types import UtcDateTime
from servicekit.database import Database
from servicekit.errors import AlreadyExists, InvalidArgument

_SWEEP_SECONDS: Final = 3600.0


class RequestIdMixin:
    """The columns of a service's table of request ids. The scope is the brand, or what else the ids are
    unique in."""

    scope: Mapped[str] = mapped_column(String(200), primary_key=True)
    request_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    body_digest: Mapped[str] = mapped_column(String(64))
    response_name: Mapped[str] = mapped_column(String(500))
    create_time: Mapped[datetime] = mapped_column(UtcDateTime, index=True)


async def remember(
    session: AsyncSession,
    table: type[RequestIdMixin],
    *,
    scope: str,
    request_id: str,
    body_digest: str,
    response_name: str,
    now: datetime,
) -> str | None:
    """None when the request is new: it is remembered, go on and create `response_name` in the same
    transaction. Else the name that answered the first request.

    AlreadyExists with reason REQUEST_ID_REUSED when the id came with another body; InvalidArgument when it is
    no UUID4. An empty id is never remembered. Of two at once, the second waits for the first one's
    transaction.
    """
    if not request_id:
        return None
    row = {
        "scope": scope,
        "request_id": _canonical(request_id),
        "body_digest": body_digest,
        "response_name": response_name,
        "create_time": now,
    }
    dialect: Any = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    insertion = dialect.insert(table).values(**row).on_conflict_do_nothing()
    # Not by rowcount, which psycopg does not tell for such an insert.
    if await session.scalar(insertion.returning(table.request_id)) is not None:
        return None
    first = await session.execute(
        select(table.body_digest, table.response_name).where(
            table.scope == scope, table.request_id == row["request_id"]
        )
    )
    first_digest, first_name = first.one()
    if first_digest != body_digest:
        raise AlreadyExists(
            f"request id {request_id} was used before, for another request",
            reason="REQUEST_ID_REUSED",
            metadata={"request_id": request_id, "resource_name": first_name},
        )
    return str(first_name)


def forgetting(database: Database, table: type[RequestIdMixin], clock: Clock, keep: timedelta) -> Chore:
    """Forgets, every hour, the ids that are older than `keep`: their requests are not repeated any more."""

    async def forget_request_ids() -> None:
        async with database.transaction() as session:
            await forget_before(session, table, clock.now() - keep)

    return Chore(_SWEEP_SECONDS, forget_request_ids)


async def forget_before(session: AsyncSession, table: type[RequestIdMixin], moment: datetime) -> int:
    """Deletes the ids remembered before `moment`; returns how many."""
    result = await session.execute(delete(table).where(table.create_time < moment))
    assert isinstance(result, CursorResult)
    return result.rowcount


def _canonical(request_id: str) -> str:
    try:
        parsed = uuid.UUID(request_id)
    except ValueError:
        parsed = None
    if parsed is None or parsed.version != 4:
        raise InvalidArgument.of("request_id", "must be a random UUID (version 4)")
    return str(parsed)

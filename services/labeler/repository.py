"""The labeler's records in SQL: SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from servicekit.database import Database
from servicekit.request_ids import remember
from services.labeler.dataset_records import SqlDatasetRecords
from services.labeler.domain import RequestId
from services.labeler.image_records import SqlImageRecords
from services.labeler.job_records import SqlJobRecords
from services.labeler.revision_records import SqlRevisionRecords
from services.labeler.tables import RequestIdRow
from services.labeler.text_records import SqlTextRecords


class SqlUnit:
    """All records within one database session."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session
        self.datasets = SqlDatasetRecords(session)
        self.images = SqlImageRecords(session)
        self.texts = SqlTextRecords(session)
        self.revisions = SqlRevisionRecords(session)
        self.jobs = SqlJobRecords(session)

    async def remember(self, scope: str, request: RequestId, response_name: str, now: datetime) -> str | None:
        return await remember(
            self._session,
            RequestIdRow,
            scope=scope,
            request_id=request.value,
            body_digest=request.body_sha256,
            response_name=response_name,
            now=now,
        )


class SqlRecords:
    """Records over one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[SqlUnit]:
        async with self._database.transaction() as session:
            yield SqlUnit(session)

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[SqlUnit]:
        async with self._database.snapshot() as session:
            yield SqlUnit(session)

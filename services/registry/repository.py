"""All records behind one database: SQLite or PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from servicekit.clock import Clock
from servicekit.database import Database
from services.registry.brand_records import SqlBaseModelRecords, SqlBrandRecords
from services.registry.change_records import SqlChangeRecords, SqlRequestRecords
from services.registry.lora_records import SqlLoraRecords
from services.registry.version_records import SqlVersionRecords


@dataclass(frozen=True, slots=True)
class SqlRecords:
    """Records over one session."""

    brands: SqlBrandRecords
    base_models: SqlBaseModelRecords
    loras: SqlLoraRecords
    versions: SqlVersionRecords
    changes: SqlChangeRecords
    requests: SqlRequestRecords


class SqlRecordStore:
    """RecordStore over a database whose schema is up to date."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[SqlRecords]:
        async with self._database.transaction() as session:
            yield self._records(session)

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[SqlRecords]:
        async with self._database.snapshot() as session:
            yield self._records(session)

    def _records(self, session: AsyncSession) -> SqlRecords:
        return SqlRecords(
            brands=SqlBrandRecords(session),
            base_models=SqlBaseModelRecords(session),
            loras=SqlLoraRecords(session),
            versions=SqlVersionRecords(session),
            changes=SqlChangeRecords(session, self._clock),
            requests=SqlRequestRecords(session, self._clock),
        )

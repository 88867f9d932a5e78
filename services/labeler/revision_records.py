"""Sealed revisions in SQL."""

from __future__ import annotations

from typing import Final

from sqlalchemy import ColumnElement, and_, select
from sqlalchemy.ext.asyncio import AsyncSession

from servicekit.errors import NotFound
from servicekit.filtering import FieldKind, FilterField
from services.labeler.domain import ListQuery, Page, Revision
from services.labeler.keys import DatasetKey, RevisionKey
from services.labeler.paging import page_of
from services.labeler.tables import RevisionRow

FIELDS: Final = {"revision": FilterField(RevisionRow.revision, FieldKind.INTEGER)}


class SqlRevisionRecords:
    """RevisionRecords within one session."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def get(self, key: RevisionKey) -> Revision:
        if key.revision == 0:
            found = await self.latest(key.parent)
        else:
            row = await self._session.scalar(
                select(RevisionRow).where(_of(key.parent), RevisionRow.revision == key.revision)
            )
            found = None if row is None else _revision(row)
        if found is None:
            raise NotFound.of("DatasetRevision", key.name)
        return found

    async def latest(self, parent: DatasetKey) -> Revision | None:
        row = await self._session.scalar(
            select(RevisionRow).where(_of(parent)).order_by(RevisionRow.revision.desc()).limit(1)
        )
        return None if row is None else _revision(row)

    async def page(self, parent: DatasetKey, query: ListQuery) -> Page[Revision]:
        return await page_of(
            self._session,
            select(RevisionRow).where(_of(parent)),
            FIELDS,
            query,
            _revision,
            scope=("revisions", parent.name),
            default_order="revision desc",
            tie_breaker="revision",
        )

    async def add(self, revision: Revision) -> None:
        self._session.add(
            RevisionRow(
                brand=revision.key.parent.brand,
                dataset=revision.key.parent.dataset,
                revision=revision.key.revision,
                sha256=revision.sha256,
                size_bytes=revision.size_bytes,
                image_count=revision.image_count,
                text_count=revision.text_count,
                trigger_words=list(revision.trigger_words),
                note=revision.note,
                creator=revision.creator,
                create_time=revision.create_time,
            )
        )
        await self._session.flush()


def _of(parent: DatasetKey) -> ColumnElement[bool]:
    return and_(RevisionRow.brand == parent.brand, RevisionRow.dataset == parent.dataset)


def _revision(row: RevisionRow) -> Revision:
    return Revision(
        key=RevisionKey(DatasetKey(row.brand, row.dataset), row.revision),
        sha256=row.sha256,
        size_bytes=row.size_bytes,
        image_count=row.image_count,
        text_count=row.text_count,
        trigger_words=tuple(row.trigger_words),
        note=row.note,
        creator=row.creator,
        create_time=row.create_time,
    )

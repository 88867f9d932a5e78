"""Datasets in SQL."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, case, delete, func, select, tuple_, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from servicekit.errors import AlreadyExists, NotFound
from servicekit.filtering import FieldKind, FilterField
from services.labeler.domain import Dataset, DatasetCounts, ListQuery, Page
from services.labeler.keys import DatasetKey
from services.labeler.paging import page_of
from services.labeler.tables import DatasetRow, ImageRow, RevisionRow, TextRow

FIELDS: Final = {
    "name": FilterField("brands/" + DatasetRow.brand + "/datasets/" + DatasetRow.dataset, FieldKind.TEXT),
    "dataset_id": FilterField(DatasetRow.dataset, FieldKind.TEXT),
    "display_name": FilterField(DatasetRow.display_name, FieldKind.TEXT),
    "description": FilterField(DatasetRow.description, FieldKind.TEXT),
    "create_time": FilterField(DatasetRow.create_time, FieldKind.TIME),
    "update_time": FilterField(DatasetRow.update_time, FieldKind.TIME),
}


class SqlDatasetRecords:
    """DatasetRecords within one session."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def get(self, key: DatasetKey, *, lock: bool = False) -> Dataset:
        statement = select(DatasetRow).where(_is(key))
        row = await self._session.scalar(statement.with_for_update() if lock else statement)
        if row is None:
            raise NotFound.of("Dataset", key.name)
        return (await self._counted([_dataset(row)]))[0]

    async def page(self, brand: str, query: ListQuery) -> Page[Dataset]:
        page = await page_of(
            self._session,
            select(DatasetRow).where(DatasetRow.brand == brand),
            FIELDS,
            query,
            _dataset,
            scope=("datasets", brand),
            default_order="create_time desc",
            tie_breaker="dataset_id",
            search=("dataset_id", "display_name", "description"),
        )
        return Page(tuple(await self._counted(page.items)), page.next_page_token)

    async def add(self, dataset: Dataset) -> None:
        self._session.add(DatasetRow(**_columns(dataset)))
        try:
            await self._session.flush()
        except IntegrityError:
            raise AlreadyExists.of("Dataset", dataset.key.name) from None

    async def replace(self, dataset: Dataset) -> None:
        await self._session.execute(update(DatasetRow).where(_is(dataset.key)).values(**_columns(dataset)))

    async def delete(self, key: DatasetKey) -> None:
        await self._session.execute(delete(DatasetRow).where(_is(key)))

    async def _counted(self, datasets: Iterable[Dataset]) -> list[Dataset]:
        wanted = list(datasets)
        keys = [(dataset.key.brand, dataset.key.dataset) for dataset in wanted]
        counts = await self._counts(keys)
        texts = await self._texts(keys)
        latest = await self._latest(keys)
        return [
            dataclasses.replace(
                dataset,
                counts=dataclasses.replace(counts.get(key, DatasetCounts()), texts=texts.get(key, 0)),
                latest_revision=latest.get(key, 0),
            )
            for key, dataset in zip(keys, wanted, strict=True)
        ]

    async def _counts(self, keys: list[tuple[str, str]]) -> dict[tuple[str, str], DatasetCounts]:
        rows = await self._session.execute(
            select(
                ImageRow.brand,
                ImageRow.dataset,
                func.count(),
                func.sum(case((ImageRow.caption != "", 1), else_=0)),
                func.sum(case((ImageRow.is_flagged, 1), else_=0)),
            )
            .where(tuple_(ImageRow.brand, ImageRow.dataset).in_(keys))
            .group_by(ImageRow.brand, ImageRow.dataset)
        )
        return {
            (brand, dataset): DatasetCounts(images, int(captioned), int(flagged))
            for brand, dataset, images, captioned, flagged in rows
        }

    async def _texts(self, keys: list[tuple[str, str]]) -> dict[tuple[str, str], int]:
        rows = await self._session.execute(
            select(TextRow.brand, TextRow.dataset, func.count())
            .where(tuple_(TextRow.brand, TextRow.dataset).in_(keys))
            .group_by(TextRow.brand, TextRow.dataset)
        )
        return {(brand, dataset): count for brand, dataset, count in rows}

    async def _latest(self, keys: list[tuple[str, str]]) -> dict[tuple[str, str], int]:
        rows = await self._session.execute(
            select(RevisionRow.brand, RevisionRow.dataset, func.max(RevisionRow.revision))
            .where(tuple_(RevisionRow.brand, RevisionRow.dataset).in_(keys))
            .group_by(RevisionRow.brand, RevisionRow.dataset)
        )
        return {(brand, dataset): revision for brand, dataset, revision in rows}


def _is(key: DatasetKey) -> ColumnElement[bool]:
    return and_(DatasetRow.brand == key.brand, DatasetRow.dataset == key.dataset)


def _columns(dataset: Dataset) -> dict[str, Any]:
    return {
        "brand": dataset.key.brand,
        "dataset": dataset.key.dataset,
        "display_name": dataset.display_name,
        "description": dataset.description,
        "create_time": dataset.create_time,
        "update_time": dataset.update_time,
        "etag": dataset.etag,
    }


def _dataset(row: DatasetRow) -> Dataset:
    return Dataset(
        key=DatasetKey(row.brand, row.dataset),
        display_name=row.display_name,
        description=row.description,
        create_time=row.create_time,
        update_time=row.update_time,
        etag=row.etag,
    )

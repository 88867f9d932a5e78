"""Brands and base models in the database."""

from __future__ import annotations

import re
from typing import Any, Final

from sqlalchemy import ColumnElement, String, cast, delete, exists, null, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from servicekit.errors import AlreadyExists, NotFound
from servicekit.filtering import FieldKind, FilterField, map_field
from services.registry.domain import (
    BaseModel,
    Brand,
    ListQuery,
    ModelFamily,
    Page,
    base_model_name,
    brand_name,
)
from services.registry.paging import list_rows, text_bytes
from services.registry.ports import Brands
from services.registry.tables import BaseModelRow, BrandRow, VersionRow

FAMILY_CHOICES: Final = {
    word: family.value
    for family in ModelFamily
    for word in (family.name, family.value, f"MODEL_FAMILY_{family.name}")
}
_LABEL_KEY: Final = re.compile(r"[a-z][a-z0-9_-]{0,62}")


def _label(key: str) -> ColumnElement[Any]:
    # No label has another key, and a quote in one would end the path inside the JSON.
    return BrandRow.labels[key].as_string() if _LABEL_KEY.fullmatch(key) else cast(null(), String)


_BRAND_FIELDS: Final = {
    "name": FilterField(BrandRow.name, FieldKind.TEXT),
    "display_name": FilterField(BrandRow.display_name, FieldKind.TEXT),
    "labels": map_field(_label),
    "create_time": FilterField(BrandRow.create_time, FieldKind.TIME),
    "update_time": FilterField(BrandRow.update_time, FieldKind.TIME),
}
_BASE_FIELDS: Final = {
    "name": FilterField(BaseModelRow.name, FieldKind.TEXT),
    "family": FilterField(BaseModelRow.family, FieldKind.CHOICE, choices=FAMILY_CHOICES),
    "sha256": FilterField(BaseModelRow.sha256, FieldKind.TEXT),
    "display_name": FilterField(BaseModelRow.display_name, FieldKind.TEXT),
    "create_time": FilterField(BaseModelRow.create_time, FieldKind.TIME),
    "update_time": FilterField(BaseModelRow.update_time, FieldKind.TIME),
}


class SqlBrandRecords:
    """BrandRecords over one session."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def get(self, brand_id: str, *, lock: bool = False, keep: bool = False) -> Brand:
        statement = select(BrandRow).where(BrandRow.brand_id == brand_id)
        row = await self._session.scalar(locked(statement, lock, keep))
        if row is None:
            raise NotFound.of("Brand", brand_name(brand_id))
        return _brand(row)

    async def add(self, brand: Brand) -> None:
        await insert_new(self._session, BrandRow(**_brand_values(brand)), "Brand", brand.name)

    async def replace(self, brand: Brand) -> None:
        values = _brand_values(brand)
        await self._session.execute(
            update(BrandRow).where(BrandRow.brand_id == brand.brand_id).values(**values)
        )

    async def delete(self, brand_id: str) -> None:
        await self._session.execute(delete(BrandRow).where(BrandRow.brand_id == brand_id))

    async def list(self, brands: Brands, query: ListQuery) -> Page[Brand]:
        statement = select(BrandRow)
        if brands is not None:
            statement = statement.where(BrandRow.brand_id.in_(sorted(brands)))
        page: Page[BrandRow] = await list_rows(
            self._session,
            statement,
            _BRAND_FIELDS,
            query,
            scope=("brands",),
            order=("name", "name"),
            weigh=lambda row: 500 + text_bytes(row.description, row.display_name, *row.labels.values()),
        )
        return Page([_brand(row) for row in page.items], page.next_page_token)


class SqlBaseModelRecords:
    """BaseModelRecords over one session."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def get(self, base_model_id: str, *, lock: bool = False, keep: bool = False) -> BaseModel:
        statement = select(BaseModelRow).where(BaseModelRow.base_model_id == base_model_id)
        row = await self._session.scalar(locked(statement, lock, keep))
        if row is None:
            raise NotFound.of("BaseModel", base_model_name(base_model_id))
        return _base_model(row)

    async def find_by_sha256(self, sha256: str) -> BaseModel | None:
        row = await self._session.scalar(
            select(BaseModelRow).where(BaseModelRow.sha256 == sha256).order_by(BaseModelRow.name).limit(1)
        )
        return _base_model(row) if row is not None else None

    async def in_use(self, base_model_id: str) -> bool:
        condition = exists().where(VersionRow.base_model == base_model_name(base_model_id))
        return bool(await self._session.scalar(select(condition)))

    async def add(self, base: BaseModel) -> None:
        await insert_new(self._session, BaseModelRow(**_base_model_values(base)), "BaseModel", base.name)

    async def replace(self, base: BaseModel) -> None:
        statement = update(BaseModelRow).where(BaseModelRow.base_model_id == base.base_model_id)
        await self._session.execute(statement.values(**_base_model_values(base)))

    async def delete(self, base_model_id: str) -> None:
        await self._session.execute(delete(BaseModelRow).where(BaseModelRow.base_model_id == base_model_id))

    async def list(self, query: ListQuery) -> Page[BaseModel]:
        page: Page[BaseModelRow] = await list_rows(
            self._session,
            select(BaseModelRow),
            _BASE_FIELDS,
            query,
            scope=("baseModels",),
            order=("name", "name"),
            weigh=lambda row: 700 + text_bytes(row.description, row.display_name, row.source, row.license),
        )
        return Page([_base_model(row) for row in page.items], page.next_page_token)


async def insert_new(session: AsyncSession, row: Any, kind: str, name: str) -> None:
    """Inserts a row; AlreadyExists when its key is taken."""
    try:
        async with session.begin_nested():
            session.add(row)
    except IntegrityError:
        raise AlreadyExists.of(kind, name) from None


def locked(statement: Any, lock: bool, keep: bool = False) -> Any:
    """The statement, keeping others from changing (`lock`) or from deleting (`keep`) its rows for a while."""
    # SQLite knows no row locks and needs none: its transactions hold the only write lock.
    if lock:
        statement = statement.with_for_update()
    elif keep:
        # What a foreign key takes too: whoever only refers to the row does not wait for others who do.
        statement = statement.with_for_update(read=True, key_share=True)
    return statement.execution_options(populate_existing=lock or keep)


def _brand_values(brand: Brand) -> dict[str, Any]:
    return {
        "brand_id": brand.brand_id,
        "name": brand.name,
        "display_name": brand.display_name,
        "description": brand.description,
        "labels": dict(brand.labels),
        "create_time": brand.create_time,
        "update_time": brand.update_time,
        "etag": brand.etag,
    }


def _brand(row: BrandRow) -> Brand:
    return Brand(
        brand_id=row.brand_id,
        display_name=row.display_name,
        description=row.description,
        labels=row.labels,
        create_time=row.create_time,
        update_time=row.update_time,
        etag=row.etag,
    )


def _base_model_values(base: BaseModel) -> dict[str, Any]:
    names = (
        "base_model_id",
        "name",
        "display_name",
        "source",
        "sha256",
        "resolution",
        "license",
        "description",
    )
    values = {name: getattr(base, name) for name in (*names, "create_time", "update_time", "etag")}
    return {**values, "family": base.family.value}


def _base_model(row: BaseModelRow) -> BaseModel:
    return BaseModel(
        base_model_id=row.base_model_id,
        display_name=row.display_name,
        family=ModelFamily(row.family),
        source=row.source,
        sha256=row.sha256,
        resolution=row.resolution,
        license=row.license,
        description=row.description,
        create_time=row.create_time,
        update_time=row.update_time,
        etag=row.etag,
    )

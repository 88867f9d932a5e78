"""Pictures in SQL."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, and_, bindparam, delete, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from servicekit.errors import InvalidArgument, NotFound
from servicekit.filtering import FieldKind, FilterField, compile_filter, repeated_field
from servicekit.ids import new_id
from servicekit.json_columns import JsonListHas
from services.labeler.domain import (
    CaptionChange,
    CaptionSource,
    Fingerprint,
    Image,
    ImageFlag,
    LabelJob,
    ListQuery,
    Page,
    Split,
)
from services.labeler.image_rows import image_columns, image_of
from services.labeler.keys import DatasetKey, ImageKey
from services.labeler.likeness import bands
from services.labeler.paging import page_of
from services.labeler.tables import HashBandRow, ImageRow

_FLAG_WORDS: Final = {
    word: flag.value for flag in ImageFlag for word in (flag.name, f"IMAGE_FLAG_{flag.name}", flag.value)
}
_SOURCE_WORDS: Final = {
    word: source.value
    for source in CaptionSource
    for word in (source.name, f"CAPTION_SOURCE_{source.name}", source.value)
} | {"CAPTION_SOURCE_UNSPECIFIED": CaptionSource.NONE.value}


def _has_flag(word: str) -> ColumnElement[bool]:
    if word not in _FLAG_WORDS:
        known = ", ".join(f"IMAGE_FLAG_{flag.name}" for flag in ImageFlag)
        raise InvalidArgument.of("filter", f"there is no flag {word!r}; there are {known}")
    return JsonListHas(ImageRow.flags, _FLAG_WORDS[word])


FIELDS: Final = {
    "image_id": FilterField(ImageRow.image, FieldKind.TEXT),
    "source_name": FilterField(ImageRow.source_name, FieldKind.TEXT),
    "source_format": FilterField(ImageRow.source_format, FieldKind.TEXT),
    "caption": FilterField(ImageRow.caption, FieldKind.TEXT),
    "caption_source": FilterField(ImageRow.caption_source, FieldKind.CHOICE, choices=_SOURCE_WORDS),
    "tags": repeated_field(lambda tag: JsonListHas(ImageRow.tags, tag)),
    "flags": repeated_field(_has_flag),
    "split": FilterField(
        ImageRow.split, FieldKind.CHOICE, choices={split.value: split.value for split in Split}
    ),
    "excluded": FilterField(ImageRow.excluded, FieldKind.BOOLEAN),
    "width": FilterField(ImageRow.width, FieldKind.INTEGER),
    "height": FilterField(ImageRow.height, FieldKind.INTEGER),
    "create_time": FilterField(ImageRow.create_time, FieldKind.TIME),
    "update_time": FilterField(ImageRow.update_time, FieldKind.TIME),
}
_SEARCH: Final = ("source_name", "caption")


class SqlImageRecords:
    """ImageRecords within one session."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def get(self, key: ImageKey, *, lock: bool = False) -> Image:
        image = await self.find(key, lock=lock)
        if image is None:
            raise NotFound.of("Image", key.name)
        return image

    async def find(self, key: ImageKey, *, lock: bool = False) -> Image | None:
        statement = select(ImageRow).where(_of(key.parent), ImageRow.image == key.image)
        row = await self._session.scalar(statement.with_for_update() if lock else statement)
        return None if row is None else image_of(row)

    async def page(self, parent: DatasetKey, query: ListQuery) -> Page[Image]:
        return await page_of(
            self._session,
            select(ImageRow).where(_of(parent)),
            FIELDS,
            query,
            image_of,
            scope=("images", parent.name),
            default_order="source_name",
            tie_breaker="image_id",
            search=_SEARCH,
        )

    async def count(self, parent: DatasetKey) -> int:
        return await self._session.scalar(select(func.count()).select_from(ImageRow).where(_of(parent))) or 0

    async def matching(self, parent: DatasetKey, condition: str) -> list[Image]:
        return await self._all(_of(parent), compile_filter(condition, FIELDS, search=_SEARCH))

    async def included(self, parent: DatasetKey) -> list[Image]:
        return await self._all(_of(parent), _is_readable(), ImageRow.excluded.is_(False))

    async def by_source_name(self, parent: DatasetKey, source_name: str) -> Image | None:
        row = await self._session.scalar(
            select(ImageRow).where(_of(parent), ImageRow.source_name == source_name)
        )
        return None if row is None else image_of(row)

    async def by_pixels(self, parent: DatasetKey, pixel_sha256: str) -> Image | None:
        row = await self._session.scalar(
            select(ImageRow)
            .where(_of(parent), ImageRow.pixel_sha256 == pixel_sha256)
            .order_by(ImageRow.create_time, ImageRow.image)
            .limit(1)
        )
        return None if row is None else image_of(row)

    async def sharing_a_band(self, parent: DatasetKey, fingerprint: Fingerprint) -> list[Image]:
        shared = or_(
            *(
                and_(HashBandRow.band == band, HashBandRow.value == value)
                for band, value in enumerate(bands(fingerprint.perceptual_hash))
            )
        )
        sharing = select(HashBandRow.image).where(
            HashBandRow.brand == parent.brand, HashBandRow.dataset == parent.dataset, shared
        )
        rows = await self._session.scalars(
            select(ImageRow).where(ImageRow.image.in_(sharing)).order_by(ImageRow.create_time, ImageRow.image)
        )
        return [image_of(row) for row in rows]

    async def duplicates_of(self, key: ImageKey) -> list[Image]:
        rows = await self._session.scalars(
            select(ImageRow)
            .where(_of(key.parent), ImageRow.duplicate_of == key.image)
            .order_by(ImageRow.create_time, ImageRow.image)
        )
        return [image_of(row) for row in rows]

    async def add(self, image: Image) -> None:
        await self._session.execute(insert(ImageRow).values(**image_columns(image)))
        if image.fingerprint is not None:
            await self._session.execute(
                insert(HashBandRow),
                [
                    {
                        "brand": image.key.parent.brand,
                        "dataset": image.key.parent.dataset,
                        "band": band,
                        "value": value,
                        "image": image.key.image,
                    }
                    for band, value in enumerate(bands(image.fingerprint.perceptual_hash))
                ],
            )

    async def replace(self, image: Image) -> None:
        await self._session.execute(
            update(ImageRow).where(ImageRow.image == image.key.image).values(**image_columns(image))
        )

    async def delete(self, key: ImageKey) -> None:
        await self._session.execute(delete(ImageRow).where(_of(key.parent), ImageRow.image == key.image))

    async def set_captions(self, parent: DatasetKey, changes: Sequence[CaptionChange], now: datetime) -> None:
        if not changes:
            return
        connection = await self._session.connection()
        table = ImageRow.__table__
        await connection.execute(
            update(ImageRow)
            .where(table.c.image == bindparam("which"))
            .values(
                caption=bindparam("new_caption"),
                caption_source=bindparam("new_source"),
                etag=bindparam("new_etag"),
                update_time=now,
            ),
            [
                {
                    "which": change.image,
                    "new_caption": change.caption,
                    "new_source": change.source.value,
                    "new_etag": new_id(),
                }
                for change in changes
            ],
        )

    async def to_label(self, job: LabelJob, limit: int) -> list[Image]:
        rows = await self._session.scalars(
            select(ImageRow)
            .where(*_to_label(job))
            .order_by(ImageRow.create_time, ImageRow.image)
            .limit(limit)
        )
        return [image_of(row) for row in rows]

    async def count_to_label(self, job: LabelJob) -> int:
        return (
            await self._session.scalar(select(func.count()).select_from(ImageRow).where(*_to_label(job))) or 0
        )

    async def _all(self, *conditions: ColumnElement[bool]) -> list[Image]:
        rows = await self._session.scalars(
            select(ImageRow).where(*conditions).order_by(ImageRow.source_name, ImageRow.image)
        )
        return [image_of(row) for row in rows]


def _of(parent: DatasetKey) -> ColumnElement[bool]:
    return and_(ImageRow.brand == parent.brand, ImageRow.dataset == parent.dataset)


def _is_readable() -> ColumnElement[bool]:
    return ImageRow.failure_reason == ""


def _to_label(job: LabelJob) -> list[ColumnElement[bool]]:
    wanted = ImageRow.caption == ""
    if job.overwrite:
        wanted = ImageRow.caption_source != CaptionSource.REVIEWER.value
    return [
        _of(job.key.parent),
        _is_readable(),
        ImageRow.excluded.is_(False),
        ImageRow.label_job != job.key.job,
        wanted,
    ]

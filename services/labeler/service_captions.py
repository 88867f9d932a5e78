"""Edits of captions: one by one, in bulk, and from caption files."""

from __future__ import annotations

import asyncio
import dataclasses

from servicekit.clock import Clock
from servicekit.errors import Aborted, FailedPrecondition, FieldViolation, InvalidArgument
from servicekit.ids import new_id
from services.labeler import captions, contents, texts
from services.labeler.caption_matching import MAX_FAULTS, matched
from services.labeler.captions import CaptionEdit
from services.labeler.domain import CaptionChange, CaptionSource, Image
from services.labeler.keys import DatasetKey, ImageKey
from services.labeler.ports import CaptionFiles, Records
from services.labeler.rows import CaptionFormat


class CaptionService:
    """Changes captions."""

    def __init__(self, records: Records, files: CaptionFiles, clock: Clock) -> None:
        self._records = records
        self._files = files
        self._clock = clock

    async def update(self, key: ImageKey, caption: str, *, etag: str) -> Image:
        """Sets one caption as its reviewer wants it; an empty one takes it away."""
        text = caption.strip()
        if fault := texts.problem(text) or captions.too_long(text):
            raise InvalidArgument.of("caption", fault)
        async with self._records.transaction() as unit:
            image = await unit.images.get(key, lock=True)
            if etag and etag != image.etag:
                raise Aborted.stale_etag(key.name)
            if image.failure is not None:
                raise FailedPrecondition(
                    f"{key.name} could not be read, so it takes no caption", reason=image.failure.reason
                )
            changed = dataclasses.replace(
                image,
                caption=text,
                caption_source=CaptionSource.REVIEWER if text else CaptionSource.NONE,
                update_time=self._clock.now(),
                etag=new_id(),
            )
            await unit.images.replace(changed)
            return changed

    async def update_many(self, parent: DatasetKey, condition: str, edit: CaptionEdit) -> tuple[int, int]:
        """Edits the captions that the filter lets through, all or none; returns how many changed and matched.

        Who wrote a caption stays as it was: a bulk edit reviews nothing.
        """
        for part in dataclasses.astuple(edit):
            if isinstance(part, str):
                texts.require(edit=part)
        async with self._records.transaction() as unit:
            contents.require_no_texts(await unit.datasets.get(parent, lock=True))
            images = await unit.images.matching(parent, condition)
            changes = await asyncio.to_thread(_edited, images, edit)
            await unit.images.set_captions(parent, changes, self._clock.now())
        return len(changes), len(images)

    async def import_file(
        self, parent: DatasetKey, data: bytes, form: CaptionFormat, *, ignore_unknown: bool
    ) -> tuple[int, int]:
        """Sets the captions of a file, all rows or none; returns how many changed and how many named no
        picture.
        """
        rows = await self._files.parse(data, form)
        async with self._records.transaction() as unit:
            contents.require_no_texts(await unit.datasets.get(parent, lock=True))
            images = {image.key.image: image for image in await unit.images.matching(parent, "")}
            readable = [image for image in images.values() if image.is_readable]
            found = await asyncio.to_thread(matched, rows, readable, ignore_unknown=ignore_unknown)
            changes = [
                change
                for change in found.changes
                if (change.caption, change.source)
                != (images[change.image].caption, images[change.image].caption_source)
            ]
            await unit.images.set_captions(parent, changes, self._clock.now())
        return len(changes), found.unknown


def _edited(images: list[Image], edit: CaptionEdit) -> list[CaptionChange]:
    changes = []
    faults = []
    for image in images:
        caption = captions.edited(image.caption, edit)
        if caption == image.caption:
            continue
        if fault := captions.too_long(caption):
            faults.append(FieldViolation("edit", f"the caption of {image.source_name} then {fault}"))
            if len(faults) >= MAX_FAULTS:
                break
            continue
        source = image.caption_source if caption else CaptionSource.NONE
        changes.append(CaptionChange(image=image.key.image, caption=caption, source=source))
    if faults:
        raise InvalidArgument(faults, reason="CAPTION_TOO_LONG")
    return changes

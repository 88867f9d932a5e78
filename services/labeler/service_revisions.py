"""Sealed revisions and exports."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final

from servicekit.artifacts.port import ArtifactStore
from servicekit.clock import Clock
from servicekit.errors import FailedPrecondition
from services.labeler import texts
from services.labeler.domain import Image, ListQuery, Page, RequestId, Revision
from services.labeler.keys import DatasetKey, RevisionKey
from services.labeler.manifest import manifest_bytes, manifest_rows
from services.labeler.ports import CaptionFiles, Records
from services.labeler.rows import CaptionFormat, ExportRow

_MAX_MANIFEST_BYTES: Final = 1 << 30
_NAMED: Final = 5


@dataclass(frozen=True, slots=True)
class SealRequest:
    """What a revision is sealed with."""

    trigger_words: tuple[str, ...]
    note: str
    creator: str
    allow_empty_captions: bool
    request: RequestId


class RevisionService:
    """Seals, reads and exports."""

    def __init__(self, records: Records, store: ArtifactStore, files: CaptionFiles, clock: Clock) -> None:
        self._records = records
        self._store = store
        self._files = files
        self._clock = clock

    async def seal(self, parent: DatasetKey, asked: SealRequest) -> Revision:
        """The dataset as it is now, under the next number.

        When nothing has changed since the latest revision (same manifest, same trigger words), that one is
        the answer. FailedPrecondition for a dataset without pictures, or with pictures without captions.
        """
        texts.require(note=asked.note, trigger_words="".join(asked.trigger_words))
        async with self._records.snapshot() as unit:
            await unit.datasets.get(parent)
            images = await unit.images.included(parent)
        _check_sealable(parent, images, asked.allow_empty_captions)
        manifest = await asyncio.to_thread(manifest_bytes, images)
        artifact = await self._store.put_bytes(manifest)
        now = self._clock.now()
        async with self._records.transaction() as unit:
            await unit.datasets.get(parent, lock=True)
            latest = await unit.revisions.latest(parent)
            words = tuple(dict.fromkeys(asked.trigger_words))
            is_unchanged = latest and (latest.sha256, latest.trigger_words) == (artifact.sha256, words)
            number = (latest.key.revision if latest else 0) + (0 if is_unchanged else 1)
            key = RevisionKey(parent, number)
            first_name = await unit.remember(parent.brand, asked.request, key.name, now)
            if first_name is not None:
                return await unit.revisions.get(RevisionKey(parent, int(first_name.rsplit("/", 1)[1])))
            if latest and is_unchanged:
                return latest
            revision = Revision(
                key=key,
                sha256=artifact.sha256,
                size_bytes=artifact.size_bytes,
                image_count=len(images),
                trigger_words=words,
                note=asked.note,
                creator=asked.creator,
                create_time=now,
            )
            await unit.revisions.add(revision)
            return revision

    async def get(self, key: RevisionKey) -> Revision:
        """NotFound when there is none; number 0 is the latest."""
        async with self._records.snapshot() as unit:
            return await unit.revisions.get(key)

    async def page(self, parent: DatasetKey, query: ListQuery) -> Page[Revision]:
        """Revisions, the newest first; also those of a dataset that was deleted."""
        async with self._records.snapshot() as unit:
            return await unit.revisions.page(parent, query)

    async def export(
        self, key: DatasetKey | RevisionKey, form: CaptionFormat, *, include_images: bool
    ) -> AsyncIterator[bytes]:
        """The captions, with the pictures if asked for, of the dataset as it is now or of a revision.

        The same pictures and captions always make the same bytes.
        """
        rows = await (self._now(key) if isinstance(key, DatasetKey) else self._sealed(key))
        if include_images:
            return self._files.write_with_pictures(rows, form)
        return self._files.write(rows, form)

    async def _now(self, key: DatasetKey) -> list[ExportRow]:
        async with self._records.snapshot() as unit:
            await unit.datasets.get(key)
            images = await unit.images.included(key)
        rows = [
            ExportRow(image.source_name, image.caption, image.sha256, image.size_bytes) for image in images
        ]
        # Databases order text each in its own way.
        return sorted(rows, key=lambda row: row.source_name)

    async def _sealed(self, key: RevisionKey) -> list[ExportRow]:
        revision = await self.get(key)
        data = await self._store.get_bytes(revision.sha256, max_bytes=_MAX_MANIFEST_BYTES)
        return await asyncio.to_thread(manifest_rows, data)


def _check_sealable(parent: DatasetKey, images: Sequence[Image], allow_empty_captions: bool) -> None:
    if not images:
        raise FailedPrecondition(
            f"{parent.name} has no pictures to seal",
            reason="DATASET_EMPTY",
            metadata={"resource_name": parent.name},
        )
    bare = [image.source_name for image in images if not image.caption]
    if bare and not allow_empty_captions:
        raise FailedPrecondition(
            f"{len(bare)} pictures of {parent.name} have no caption ({', '.join(bare[:_NAMED])} ...); "
            "label them, write captions, exclude them, or seal with allow_empty_captions",
            reason="CAPTIONS_MISSING",
            metadata={"resource_name": parent.name, "count": str(len(bare))},
        )

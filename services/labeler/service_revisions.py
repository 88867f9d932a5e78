"""Sealed revisions."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from servicekit.artifacts.port import ArtifactStore
from servicekit.clock import Clock
from servicekit.errors import FailedPrecondition
from services.labeler import texts
from services.labeler.domain import Image, ListQuery, Page, RequestId, Revision
from services.labeler.domain_texts import Text
from services.labeler.keys import DatasetKey, RevisionKey
from services.labeler.manifest import manifest_bytes
from services.labeler.ports import Records
from services.labeler.text_lines import manifest_of_texts

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
    """Seals and reads."""

    def __init__(self, records: Records, store: ArtifactStore, clock: Clock) -> None:
        self._records = records
        self._store = store
        self._clock = clock

    async def seal(self, parent: DatasetKey, asked: SealRequest) -> Revision:
        """The dataset as it is now, under the next number.

        When nothing has changed since the latest revision (same manifest, same trigger words), that one is
        the answer. FailedPrecondition for a dataset that holds nothing, or pictures without captions.
        """
        texts.require(note=asked.note, trigger_words="".join(asked.trigger_words))
        async with self._records.snapshot() as unit:
            await unit.datasets.get(parent)
            images = await unit.images.included(parent)
            lines = await unit.texts.included(parent)
        _check_sealable(parent, images, lines, asked.allow_empty_captions)
        manifest = await asyncio.to_thread(_manifest, images, lines)
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
                text_count=len(lines),
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


def _manifest(images: Sequence[Image], lines: Sequence[Text]) -> bytes:
    return manifest_of_texts(lines) if lines else manifest_bytes(images)


def _check_sealable(
    parent: DatasetKey, images: Sequence[Image], lines: Sequence[Text], allow_empty_captions: bool
) -> None:
    if not images and not lines:
        raise FailedPrecondition(
            f"{parent.name} has no pictures or texts to seal",
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

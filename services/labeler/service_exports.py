"""Exports: captions and pictures, or texts, of a dataset as it is now or of a revision."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from servicekit.artifacts.port import ArtifactStore
from servicekit.errors import InvalidArgument
from services.labeler.keys import DatasetKey, RevisionKey
from services.labeler.manifest import manifest_rows
from services.labeler.ports import CaptionFiles, Records
from services.labeler.rows import CaptionFormat, Export, ExportRow
from services.labeler.text_lines import manifest_of_texts

_MAX_MANIFEST_BYTES: Final = 1 << 30


class ExportService:
    """Writes datasets and revisions as files."""

    def __init__(self, records: Records, store: ArtifactStore, files: CaptionFiles) -> None:
        self._records = records
        self._store = store
        self._files = files

    async def export(
        self, key: DatasetKey | RevisionKey, form: CaptionFormat | None, *, include_images: bool
    ) -> Export:
        """The captions (CSV if no form is given), with the pictures if asked for; or the texts as JSON Lines.

        The same content always makes the same bytes. InvalidArgument for a form that texts do not have.
        """
        content = await (self._now(key) if isinstance(key, DatasetKey) else self._sealed(key))
        if not isinstance(content, list):
            _require_jsonl(form, include_images)
            return Export(None, False, content)
        chosen = form or CaptionFormat.CSV
        write = self._files.write_with_pictures if include_images else self._files.write
        return Export(chosen, include_images, write(content, chosen))

    async def _now(self, key: DatasetKey) -> list[ExportRow] | AsyncIterator[bytes]:
        async with self._records.snapshot() as unit:
            dataset = await unit.datasets.get(key)
            texts = await unit.texts.included(key) if dataset.counts.texts else []
            images = await unit.images.included(key)
        if dataset.counts.texts:
            return _whole(await asyncio.to_thread(manifest_of_texts, texts))
        rows = [
            ExportRow(image.source_name, image.caption, image.sha256, image.size_bytes) for image in images
        ]
        # Databases order text each in its own way.
        return sorted(rows, key=lambda row: row.source_name)

    async def _sealed(self, key: RevisionKey) -> list[ExportRow] | AsyncIterator[bytes]:
        async with self._records.snapshot() as unit:
            revision = await unit.revisions.get(key)
        if revision.text_count:
            return self._store.open(revision.sha256)
        data = await self._store.get_bytes(revision.sha256, max_bytes=_MAX_MANIFEST_BYTES)
        return await asyncio.to_thread(manifest_rows, data)


async def _whole(data: bytes) -> AsyncIterator[bytes]:
    yield data


def _require_jsonl(form: CaptionFormat | None, include_images: bool) -> None:
    if form not in {None, CaptionFormat.JSONL}:
        raise InvalidArgument.of("format", "texts are exported as JSON Lines")
    if include_images:
        raise InvalidArgument.of("include_images", "there are no pictures among texts")

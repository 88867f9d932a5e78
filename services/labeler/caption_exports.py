"""Caption files through their port: parsed in a thread, written as streams, with or without the pictures.

The same rows always make the same bytes: entries in the rows' order, all stored as they are, none with a
date.
"""

from __future__ import annotations

import asyncio
import io
import zipfile
from collections.abc import AsyncIterator, Sequence
from typing import Final

from servicekit.artifacts.port import CHUNK_BYTES, ArtifactStore
from services.labeler import file_names
from services.labeler.captions_files import CANONICAL_NAMES, csv_bytes, jsonl_bytes, parsed
from services.labeler.limits import UploadLimits
from services.labeler.rows import CaptionFormat, CaptionRow, ExportRow

_EPOCH: Final = (1980, 1, 1, 0, 0, 0)
_MODE: Final = 0o100644 << 16


class CaptionFileStore:
    """CaptionFiles; the pictures come from the artifact store."""

    def __init__(self, store: ArtifactStore, limits: UploadLimits) -> None:
        self._store = store
        self._limits = limits

    async def parse(self, data: bytes, form: CaptionFormat) -> list[CaptionRow]:
        """InvalidArgument that names every faulty line and column."""
        return await asyncio.to_thread(parsed, data, form, self._limits)

    async def write(self, rows: Sequence[ExportRow], form: CaptionFormat) -> AsyncIterator[bytes]:
        """The captions alone, under the names that the pictures were uploaded with."""
        if form is CaptionFormat.TXT_ZIP:
            async for chunk in self._zipped(rows, _names(rows), form, with_pictures=False):
                yield chunk
            return
        data = await asyncio.to_thread(_table, [(row.source_name, row.caption) for row in rows], form)
        for start in range(0, len(data), CHUNK_BYTES):
            yield data[start : start + CHUNK_BYTES]

    async def write_with_pictures(
        self, rows: Sequence[ExportRow], form: CaptionFormat
    ) -> AsyncIterator[bytes]:
        """A .zip of the normalised pictures (PNG, whatever they were) with captions under their names in
        it.
        """
        async for chunk in self._zipped(rows, _names(rows), form, with_pictures=True):
            yield chunk

    async def _zipped(
        self, rows: Sequence[ExportRow], names: Sequence[str], form: CaptionFormat, *, with_pictures: bool
    ) -> AsyncIterator[bytes]:
        sink = _Sink()
        with zipfile.ZipFile(sink, "w") as archive:  # type: ignore[arg-type] # it only writes, flushes and tells
            if form is not CaptionFormat.TXT_ZIP:
                table = await asyncio.to_thread(
                    _table, [(name, row.caption) for name, row in zip(names, rows, strict=True)], form
                )
                archive.writestr(_entry(CANONICAL_NAMES[form]), table)
            for name, row in zip(names, rows, strict=True):
                if form is CaptionFormat.TXT_ZIP:
                    archive.writestr(_entry(f"{file_names.stem(name)}.txt"), row.caption)
                if with_pictures:
                    with archive.open(_entry(name), "w", force_zip64=row.size_bytes >= 1 << 31) as entry:
                        async for chunk in self._store.open(row.sha256):
                            await asyncio.to_thread(entry.write, chunk)
                            yield sink.taken()
                elif sink.size >= CHUNK_BYTES:
                    yield sink.taken()
        if rest := sink.taken():
            yield rest


class _Sink(io.RawIOBase):
    """Where a ZipFile writes: a buffer that is emptied as it goes, and so cannot seek."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self.size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: bytes | memoryview) -> int:  # type: ignore[override] # as ZipFile calls it
        part = bytes(data)
        self._parts.append(part)
        self.size += len(part)
        return len(part)

    def taken(self) -> bytes:
        """What was written since the last call."""
        data = b"".join(self._parts)
        self._parts.clear()
        self.size = 0
        return data


def _table(rows: Sequence[tuple[str, str]], form: CaptionFormat) -> bytes:
    return csv_bytes(rows) if form is CaptionFormat.CSV else jsonl_bytes(rows)


def _entry(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _EPOCH)
    info.external_attr = _MODE
    return info


def _names(rows: Sequence[ExportRow]) -> list[str]:
    """A .png name for each picture; where two would be the same (`a.jpg`, `a.png`), the later keep their
    suffix too.
    """
    taken: set[str] = set()
    names = []
    for row in rows:
        name = f"{file_names.stem(row.source_name)}.png"
        suffix = row.source_name.rsplit(".", 1)[-1]
        number = 1
        while name.lower() in taken:  # in lower case, because not every file system tells the two apart
            name = f"{file_names.stem(row.source_name)}-{suffix}{'' if number == 1 else number}.png"
            number += 1
        taken.add(name.lower())
        names.append(name)
    return names

"""Archives through their port: read in a thread, one file at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import BinaryIO

from services.labeler.archives import ArchiveError, is_archive, read_archive
from services.labeler.domain import Failure
from services.labeler.limits import UploadLimits
from services.labeler.rows import ArchivedFile


class ZipArchiveReader:
    """ArchiveReader of .zip files."""

    def __init__(self, limits: UploadLimits) -> None:
        self._limits = limits

    def is_archive(self, first_bytes: bytes) -> bool:
        """Whether a file that begins so is an archive."""
        return is_archive(first_bytes)

    async def files(self, file: BinaryIO) -> AsyncIterator[ArchivedFile | Failure]:
        """The files of the archive; a single Failure when it holds none or is refused as a whole."""
        reading = read_archive(file, self._limits)
        is_empty = True
        try:
            while (following := await asyncio.to_thread(next, reading, None)) is not None:
                is_empty = False
                yield following
            if is_empty:
                yield Failure("ARCHIVE_EMPTY", "the archive holds no files")
        except ArchiveError as error:
            yield error.failure
        finally:
            await asyncio.to_thread(reading.close)

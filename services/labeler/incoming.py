"""One file of an upload while its bytes arrive: counted against the limits, and never under a name from
outside.
"""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import dataclass
from typing import BinaryIO, Final, cast

from servicekit.errors import Unavailable
from services.labeler.domain import Failure
from services.labeler.limits import UploadLimits
from services.labeler.ports import ArchiveReader

_HEAD_BYTES: Final = 4
# Files up to this size stay in memory; larger ones go to an unnamed file, which no crash can leave behind.
_SPOOL_BYTES: Final = 8 << 20


@dataclass(frozen=True, slots=True)
class FileStart:
    """The next file of an upload begins; `size_bytes` is 0 when it was not said."""

    file_name: str
    size_bytes: int = 0
    caption: str = ""


class IncomingFile:
    """Takes the chunks of one file; `close` when done with it."""

    def __init__(self, start: FileStart, archives: ArchiveReader, limits: UploadLimits) -> None:
        self.start = start
        self.is_archive = False
        self._archives = archives
        self._limits = limits
        self._file = tempfile.SpooledTemporaryFile(max_size=_SPOOL_BYTES)  # noqa: SIM115 - closed by `close`
        self._head = b""
        self._size = 0
        self._failure: Failure | None = None

    async def take(self, chunk: bytes) -> None:
        """Keeps the chunk, unless the file has failed already: then it is dropped. Unavailable when the disk
        has no room for it.
        """
        if self._failure is not None:
            return
        if len(self._head) < _HEAD_BYTES:
            self._head += chunk[:_HEAD_BYTES]
            self.is_archive = self._archives.is_archive(self._head)
        self._size += len(chunk)
        limit = self._limits.max_archive_bytes if self.is_archive else self._limits.max_file_bytes
        if self._size > limit:
            self._failure = Failure("FILE_TOO_LARGE", f"the file has more than {limit} bytes")
            self.close()
            return
        try:
            await asyncio.to_thread(self._file.write, chunk)
        except OSError as error:
            why = error.strerror or type(error).__name__
            message = f"the file cannot be kept while it arrives: {why}"
            raise Unavailable(message, reason="SPOOL_UNAVAILABLE", retry_after_seconds=1.0) from error

    def content(self) -> BinaryIO | Failure:
        """The whole file, at its start; or why it is refused."""
        if self._failure is not None:
            return self._failure
        if self.start.size_bytes and self._size != self.start.size_bytes:
            return Failure(
                "SIZE_MISMATCH", f"{self._size} bytes came; {self.start.size_bytes} were announced"
            )
        self._file.seek(0)
        return cast(BinaryIO, self._file)

    def close(self) -> None:
        """Lets go of the bytes."""
        self._file.close()

"""A file of an upload while its bytes arrive."""

from __future__ import annotations

import errno
import os
import tempfile
from contextlib import closing

import pytest

from servicekit.errors import Unavailable
from services.labeler.archive_reader import ZipArchiveReader
from services.labeler.domain import Failure
from services.labeler.incoming import FileStart, IncomingFile
from services.labeler.limits import UploadLimits

LIMITS = UploadLimits(max_file_bytes=10, max_archive_bytes=20)


def incoming(size_bytes: int = 0) -> IncomingFile:
    return IncomingFile(FileStart("a.png", size_bytes), ZipArchiveReader(LIMITS), LIMITS)


async def test_what_comes_in_chunks_is_one_file() -> None:
    with closing(incoming(size_bytes=6)) as file:
        for chunk in (b"ab", b"", b"cdef"):
            await file.take(chunk)
        content = file.content()
        assert not isinstance(content, Failure)
        assert content.read() == b"abcdef"


@pytest.mark.parametrize(("first", "limit"), [(b"picture", 10), (b"PK\x03\x04", 20)])
async def test_what_is_beyond_the_limit_is_dropped(first: bytes, limit: int) -> None:
    file = incoming()
    await file.take(first)
    for _ in range(5):
        await file.take(b"x" * 8)
    assert file.content() == Failure("FILE_TOO_LARGE", f"the file has more than {limit} bytes")


async def test_a_full_disk_is_no_fault_of_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(tempfile.SpooledTemporaryFile, "write", full)
    with closing(incoming()) as file, pytest.raises(Unavailable, match="No space left on device"):
        await file.take(b"abc")

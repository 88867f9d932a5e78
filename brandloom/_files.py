"""Local files on their way to a service: what to send, and how to cut it."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from brandloom.errors import ConfigurationError
from brandloom.types.common import TransferProgress

CHUNK_BYTES: Final = 512 * 1024
PICTURE_SUFFIXES: Final = frozenset(
    {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif", ".heic"}
)
ARCHIVE_SUFFIXES: Final = frozenset({".zip"})

OnProgress = Callable[[TransferProgress], None]
"""Called after every chunk."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FileSource:
    """A file to send under `name`; pictures may bring a caption."""

    path: Path
    name: str
    size_bytes: int
    caption: str = ""

    async def chunks(self) -> AsyncIterator[bytes]:
        """The file's bytes, at most CHUNK_BYTES at a time."""
        try:
            with await asyncio.to_thread(self.path.open, "rb") as file:
                while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
                    yield chunk
        except OSError as error:
            raise ConfigurationError(f"{self.path} cannot be read: {error.strerror}") from error

    async def messages(
        self, header: Any, wrap: Callable[[bytes], Any], on_progress: OnProgress | None
    ) -> AsyncIterator[Any]:
        """The header, then the chunks, each wrapped in a message."""
        yield header
        sent = 0
        async for chunk in self.chunks():
            yield wrap(chunk)
            sent += len(chunk)
            if on_progress:
                on_progress(self._progress(sent))

    def _progress(self, sent: int) -> TransferProgress:
        done_files = int(sent >= self.size_bytes)
        return TransferProgress(
            done_bytes=sent, total_bytes=self.size_bytes, done_files=done_files, total_files=1
        )


def file_source(path: str | Path) -> FileSource:
    """One local file; ConfigurationError when there is none."""
    file = Path(path).expanduser()
    if not file.is_file():
        raise ConfigurationError(f"{file} is no file" if file.exists() else f"{file} does not exist")
    return FileSource(path=file, name=file.name, size_bytes=file.stat().st_size)


def picture_sources(paths: Sequence[str | Path], *, sidecars: bool) -> list[FileSource]:
    """Pictures and archives among the paths and in the folders among them, in the order of their names.

    Files of a folder are named by their path in it. With `sidecars`, `<picture>.txt` is read as the caption.
    ConfigurationError when a path does not exist or nothing is found.
    """
    found: list[FileSource] = []
    for given_path in paths:
        path = Path(given_path).expanduser()
        if path.is_dir():
            files = sorted(file for file in path.rglob("*") if _is_picture(file) or _is_archive(file))
            found.extend(_with_caption(file, file.relative_to(path).as_posix(), sidecars) for file in files)
        else:
            file_source(path)
            found.append(_with_caption(path, path.name, sidecars))
    if not found:
        raise ConfigurationError(f"no pictures or .zip archives in {', '.join(str(path) for path in paths)}")
    return found


async def sha256_of(path: Path) -> str:
    """SHA-256 of a file as 64 hex digits."""

    def digest() -> str:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    return await asyncio.to_thread(digest)


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in PICTURE_SUFFIXES and path.is_file() and not path.name.startswith(".")


def _is_archive(path: Path) -> bool:
    return path.suffix.lower() in ARCHIVE_SUFFIXES and path.is_file() and not path.name.startswith(".")


def _with_caption(path: Path, name: str, sidecars: bool) -> FileSource:
    sidecar = path.with_suffix(".txt")
    caption = ""
    if sidecars and not _is_archive(path) and sidecar.is_file():
        try:
            caption = " ".join(sidecar.read_text(encoding="utf-8-sig").split())
        except UnicodeDecodeError as error:
            raise ConfigurationError(f"{sidecar} is not UTF-8 text") from error
    return FileSource(path=path, name=name, size_bytes=path.stat().st_size, caption=caption)

"""Streams of file chunks into files: verified, and there entirely or not at all."""

from __future__ import annotations

import asyncio
import hashlib
import os
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from brandloom._files import OnProgress
from brandloom.errors import ConfigurationError, CorruptDownload
from brandloom.types.common import TransferProgress


async def save_stream(
    chunks: AsyncIterator[Any], destination: str | Path, on_progress: OnProgress | None = None
) -> Path:
    """Writes a FileChunk stream to `destination`, or into it under the file's own name when it is a folder.

    The file appears under its name only when it is complete and has the size and SHA-256 that the first
    message announced, if it did; CorruptDownload otherwise. Gives the path of the file.
    """
    first = await anext(chunks, None)
    if first is None:
        raise CorruptDownload("the stream ended before it told what the file is")
    target = await asyncio.to_thread(_target, destination, first.file_name)
    handle, draft = await asyncio.to_thread(_draft_beside, target)
    try:
        with os.fdopen(handle, "wb") as file:
            received = await _receive(first, chunks, file, on_progress)
            await asyncio.to_thread(os.fsync, file.fileno())
        _check(received, first.artifact, target.name)
        draft.replace(target)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    return target


async def _receive(
    first: Any, chunks: AsyncIterator[Any], file: Any, on_progress: OnProgress | None
) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    chunk = first
    while chunk is not None:
        digest.update(chunk.data)
        size += len(chunk.data)
        await asyncio.to_thread(file.write, chunk.data)
        if on_progress:
            total = first.artifact.size_bytes
            on_progress(TransferProgress(done_bytes=size, total_bytes=total, done_files=0, total_files=1))
        chunk = await anext(chunks, None)
    await asyncio.to_thread(file.flush)
    if on_progress:
        on_progress(TransferProgress(done_bytes=size, total_bytes=size, done_files=1, total_files=1))
    return digest.hexdigest(), size


def _check(received: tuple[str, int], announced: Any, name: str) -> None:
    digest, size = received
    if not announced.sha256:
        return  # made while it is sent, such as an export: only gRPC vouches for its end
    if size != announced.size_bytes or digest != announced.sha256:
        raise CorruptDownload(
            f"{name}: got {size} bytes with sha256 {digest},"
            f" announced were {announced.size_bytes} with {announced.sha256}"
        )


def _target(given: str | Path, file_name: str) -> Path:
    destination = Path(given).expanduser()
    if not destination.is_dir():
        return destination
    # The name comes from the service: a folder in it must not lead out of the destination.
    name = Path(file_name.replace("\\", "/")).name
    if name in ("", ".", ".."):
        raise ConfigurationError(f"{destination} is a folder and the download has no name: name the file")
    return destination / name


def _draft_beside(target: Path) -> tuple[int, Path]:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".part")
    except OSError as error:
        raise ConfigurationError(f"{target.parent} cannot be written: {error.strerror}") from error
    return handle, Path(name)

"""What both stores do with streams of bytes: count, hash, verify, gather, write to a file."""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import IO, Final

from servicekit.artifacts.port import CHUNK_BYTES, Artifact, ArtifactTooLarge
from servicekit.errors import DataLoss, FieldViolation

# Hashing and writing less than this costs less than the trip to another thread.
_INLINE_BYTES: Final = 64 << 10


async def spool(chunks: AsyncIterator[bytes], file: IO[bytes], *, max_bytes: int) -> Artifact:
    """Writes the stream to `file` and says what it was; ArtifactTooLarge as soon as it exceeds
    `max_bytes`."""
    digest = hashlib.sha256()
    size_bytes = 0

    def take(chunk: bytes) -> None:
        digest.update(chunk)
        file.write(chunk)

    async for chunk in chunks:
        size_bytes += len(chunk)
        if size_bytes > max_bytes:
            raise too_large(max_bytes)
        if len(chunk) < _INLINE_BYTES:
            take(chunk)
        else:
            await asyncio.to_thread(take, chunk)
    return Artifact(digest.hexdigest(), size_bytes)


def describe_file(path: Path) -> Artifact:
    """Digest and size of a file. Blocks: call it in a thread."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
        return Artifact(digest.hexdigest(), file.tell())


async def verified(chunks: AsyncIterator[bytes], sha256: str) -> AsyncIterator[bytes]:
    """The same bytes in pieces of CHUNK_BYTES at most; DataLoss in place of the last one when the digest
    differs."""
    digest = hashlib.sha256()
    held: bytes | None = None
    async for chunk in chunks:
        await asyncio.to_thread(digest.update, chunk)
        for start in range(0, len(chunk), CHUNK_BYTES):
            if held is not None:
                yield held
            held = chunk[start : start + CHUNK_BYTES]
    if digest.hexdigest() != sha256:
        raise DataLoss(
            f"artifact {sha256} does not hold the bytes that were stored",
            reason="DIGEST_MISMATCH",
            metadata={"sha256": sha256, "found_sha256": digest.hexdigest()},
        )
    if held is not None:
        yield held


async def gather(chunks: AsyncIterator[bytes], *, max_bytes: int) -> bytes:
    """The whole stream in memory; ArtifactTooLarge beyond `max_bytes`."""
    parts: list[bytes] = []
    size_bytes = 0
    async for chunk in chunks:
        size_bytes += len(chunk)
        if size_bytes > max_bytes:
            raise too_large(max_bytes)
        parts.append(chunk)
    return b"".join(parts)


async def write_whole(chunks: AsyncIterator[bytes], destination: Path) -> Path:
    """Writes the stream beside `destination` and moves it there when it is complete."""
    await asyncio.to_thread(destination.parent.mkdir, parents=True, exist_ok=True)
    draft = destination.with_name(f".{destination.name}.{secrets.token_hex(6)}.part")
    try:
        with draft.open("xb") as file:
            async for chunk in chunks:
                await asyncio.to_thread(file.write, chunk)
        await asyncio.to_thread(os.replace, draft, destination)
    finally:
        draft.unlink(missing_ok=True)
    return destination


async def one(data: bytes) -> AsyncIterator[bytes]:
    """A stream of one chunk."""
    yield data


async def read_file(path: Path) -> AsyncIterator[bytes]:
    """The file in chunks of CHUNK_BYTES at most."""
    with path.open("rb") as file:
        while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
            yield chunk


def too_large(max_bytes: int) -> ArtifactTooLarge:
    """The error for content beyond the limit."""
    return ArtifactTooLarge(
        [FieldViolation("content", f"is larger than {max_bytes} bytes")],
        metadata={"max_bytes": str(max_bytes)},
    )

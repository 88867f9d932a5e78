"""The artifact store in a local directory: the embedded default.

<root>/sha256/ab/<hex>      blobs, read-only
<root>/drafts/              what is being written; linked into place when it is complete and on the disk
"""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

from servicekit.artifacts import streams
from servicekit.artifacts.port import Artifact, artifact_key
from servicekit.errors import NotFound, Unavailable

_ABANDONED_SECONDS: Final = 24 * 3600


class LocalStore:
    """ArtifactStore over a directory on one file system; several processes may share it."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._drafts = root / "drafts"
        self._drafts.mkdir(parents=True, exist_ok=True)
        self._remove_abandoned()

    async def put_stream(self, chunks: AsyncIterator[bytes], *, max_bytes: int) -> Artifact:
        """Writes a draft, then links it into place; Unavailable when the disk does not take it."""
        source = _Source(chunks)
        try:
            with self._draft() as (draft, file):
                artifact = await streams.spool(source.chunks(), file, max_bytes=max_bytes)
                await asyncio.to_thread(self._publish, draft, file, artifact)
                return artifact
        except OSError as error:
            if error is source.fault:
                raise
            raise _unavailable(error) from error

    async def put_bytes(self, data: bytes) -> Artifact:
        """Like `put_stream`."""
        return await self.put_stream(streams.one(data), max_bytes=len(data))

    async def put_file(self, path: Path) -> Artifact:
        """Copies the file, unless its digest is stored already."""
        artifact = await asyncio.to_thread(streams.describe_file, path)
        if await self.stat(artifact.sha256) == artifact:
            return artifact
        # Hashed again while it is copied: the file may have changed since.
        return await self.put_stream(streams.read_file(path), max_bytes=artifact.size_bytes)

    def open(self, sha256: str) -> AsyncIterator[bytes]:
        """Reads and verifies the file of that digest."""
        return streams.verified(self._chunks(sha256), sha256)

    async def get_bytes(self, sha256: str, *, max_bytes: int) -> bytes:
        """Reads the file into memory."""
        return await streams.gather(self.open(sha256), max_bytes=max_bytes)

    async def fetch(self, sha256: str, destination: Path) -> Path:
        """Copies the file to `destination`."""
        return await streams.write_whole(self.open(sha256), destination)

    async def stat(self, sha256: str) -> Artifact | None:
        """Looks at the file without reading it."""
        path = self._path(sha256)
        try:
            found = await asyncio.to_thread(path.stat)
        except FileNotFoundError as error:
            self._require_folder(error)
            return None
        except OSError as error:
            raise _unavailable(error) from error
        return Artifact(sha256, found.st_size)

    async def presign_get(self, sha256: str, *, expires_seconds: int, filename: str) -> str | None:
        """Always None: a directory has no URLs that another machine could use."""
        return None

    async def delete(self, sha256: str) -> None:
        """Unlinks the file; those who are reading it read on to its end."""
        await asyncio.to_thread(self._path(sha256).unlink, missing_ok=True)

    async def ready(self) -> bool:
        """Whether the directory can be written to."""
        return await asyncio.to_thread(os.access, self._drafts, os.W_OK | os.X_OK)

    def _remove_abandoned(self) -> None:
        # Left by processes that were killed while they wrote. Nobody writes one blob for a day.
        oldest = time.time() - _ABANDONED_SECONDS
        for draft in self._drafts.iterdir():
            with suppress(FileNotFoundError):  # another process may be tidying too
                if draft.stat().st_mtime < oldest:
                    draft.unlink()

    def _path(self, sha256: str) -> Path:
        return self._root / artifact_key(sha256)

    async def _chunks(self, sha256: str) -> AsyncIterator[bytes]:
        try:
            async for chunk in streams.read_file(self._path(sha256)):
                yield chunk
        except FileNotFoundError as error:
            self._require_folder(error)
            raise NotFound.of("Artifact", sha256) from None
        except OSError as error:
            raise _unavailable(error) from error

    def _require_folder(self, error: OSError) -> None:
        """Unavailable when not one file is missing but the whole store, as when its disk is not there."""
        if not self._drafts.is_dir():
            raise _unavailable(error) from error

    @contextmanager
    def _draft(self) -> Iterator[tuple[Path, BinaryIO]]:
        draft = self._drafts / f"{os.getpid()}-{secrets.token_hex(8)}"
        try:
            with draft.open("xb") as file:
                yield draft, file
        finally:
            draft.unlink(missing_ok=True)

    def _publish(self, draft: Path, file: BinaryIO, artifact: Artifact) -> None:
        file.flush()
        os.fchmod(file.fileno(), 0o444)
        os.fsync(file.fileno())
        path = self._path(artifact.sha256)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(draft, path)
        except FileExistsError:
            # Present already. A size that differs means a blob cut short by a failing disk: the new one heals
            # it.
            if path.stat().st_size == artifact.size_bytes:
                return
            draft.replace(path)
        _sync_directory(path.parent)


class _Source:
    """Where the bytes of a new blob come from; remembers how it failed, which is no fault of the store."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks
        self.fault: Exception | None = None

    async def chunks(self) -> AsyncIterator[bytes]:
        """The same bytes."""
        try:
            async for chunk in self._chunks:
                yield chunk
        except Exception as error:
            self.fault = error
            raise


def _unavailable(error: OSError) -> Unavailable:
    # Without the path, which is nobody's business but the administrator's.
    return Unavailable(
        f"the artifact store cannot be used right now: {error.strerror or type(error).__name__}",
        reason="STORE_UNAVAILABLE",
        retry_after_seconds=1.0,
    )


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

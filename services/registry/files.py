"""The artifact store as the registry sees it."""

from __future__ import annotations

from collections.abc import AsyncIterator

from servicekit.artifacts.port import Artifact, ArtifactStore
from services.registry.domain_files import StoredFile


class ArtifactFiles:
    """FileStore over any artifact store."""

    def __init__(self, store: ArtifactStore) -> None:
        self._store = store

    async def put(self, chunks: AsyncIterator[bytes], *, max_bytes: int) -> StoredFile:
        return _stored(await self._store.put_stream(chunks, max_bytes=max_bytes))

    def open(self, sha256: str) -> AsyncIterator[bytes]:
        return self._store.open(sha256)

    async def find(self, sha256: str) -> StoredFile | None:
        artifact = await self._store.stat(sha256)
        return _stored(artifact) if artifact else None

    async def presign(self, sha256: str, *, expires_seconds: int, file_name: str) -> str | None:
        return await self._store.presign_get(sha256, expires_seconds=expires_seconds, filename=file_name)


def _stored(artifact: Artifact) -> StoredFile:
    return StoredFile(sha256=artifact.sha256, size_bytes=artifact.size_bytes)

"""The contract of the artifact store; every adapter passes it."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from servicekit.artifacts.port import CHUNK_BYTES, Artifact, ArtifactStore, ArtifactTooLarge
from servicekit.errors import InvalidArgument, NotFound

ABSENT = "0" * 64
SIZES = [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES]


def content(size_bytes: int, seed: int = 7) -> bytes:
    return random.Random(seed).randbytes(size_bytes)


def artifact_of(data: bytes) -> Artifact:
    return Artifact(hashlib.sha256(data).hexdigest(), len(data))


async def pieces(data: bytes, step: int = 100_003) -> AsyncIterator[bytes]:
    for start in range(0, len(data), step):
        yield data[start : start + step]


async def read(store: ArtifactStore, sha256: str) -> list[bytes]:
    return [chunk async for chunk in store.open(sha256)]


@pytest.mark.parametrize("size_bytes", SIZES)
async def test_what_was_put_is_read(store: ArtifactStore, size_bytes: int) -> None:
    data = content(size_bytes)
    artifact = await store.put_stream(pieces(data), max_bytes=size_bytes)
    assert artifact == artifact_of(data)
    assert artifact.uri == f"sha256/{artifact.sha256[:2]}/{artifact.sha256}"
    chunks = await read(store, artifact.sha256)
    assert b"".join(chunks) == data
    assert all(0 < len(chunk) <= CHUNK_BYTES for chunk in chunks)
    assert await store.stat(artifact.sha256) == artifact
    assert await store.get_bytes(artifact.sha256, max_bytes=size_bytes) == data


async def test_every_way_in_gives_the_same_artifact(store: ArtifactStore, tmp_path: Path) -> None:
    data = content(70_000)
    path = tmp_path / "file"
    path.write_bytes(data)
    put = [
        await store.put_bytes(data),
        await store.put_file(path),
        await store.put_stream(pieces(data), max_bytes=70_000),
    ]
    assert put == [artifact_of(data)] * 3
    assert path.read_bytes() == data


async def test_many_writers_of_one_content(store: ArtifactStore) -> None:
    data = content(200_000)
    put = await asyncio.gather(*(store.put_stream(pieces(data, 9_999), max_bytes=200_000) for _ in range(8)))
    assert put == [artifact_of(data)] * 8
    assert await store.get_bytes(put[0].sha256, max_bytes=200_000) == data


async def test_a_stream_that_is_too_long_leaves_nothing(store: ArtifactStore) -> None:
    data = content(300_000)
    with pytest.raises(ArtifactTooLarge) as caught:
        await store.put_stream(pieces(data), max_bytes=299_999)
    assert caught.value.metadata == {"max_bytes": "299999"}
    assert await store.stat(artifact_of(data).sha256) is None


async def test_a_stream_that_breaks_leaves_nothing(store: ArtifactStore) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"half"
        raise ConnectionResetError("gone")

    with pytest.raises(ConnectionResetError):
        await store.put_stream(broken(), max_bytes=100)
    assert await store.stat(artifact_of(b"half").sha256) is None


async def test_what_is_absent(store: ArtifactStore, tmp_path: Path) -> None:
    assert await store.stat(ABSENT) is None
    with pytest.raises(NotFound):
        await read(store, ABSENT)
    with pytest.raises(NotFound):
        await store.get_bytes(ABSENT, max_bytes=1)
    with pytest.raises(NotFound):
        await store.fetch(ABSENT, tmp_path / "file")
    assert not await asyncio.to_thread(lambda: list(tmp_path.glob("*file*")))


@pytest.mark.parametrize(
    "sha256", ["", "abc", "A" * 64, "../" * 21 + "x", "0" * 63 + "/", "0" * 65, "0" * 64 + "\n"]
)
async def test_only_digests_are_names(store: ArtifactStore, sha256: str) -> None:
    with pytest.raises(InvalidArgument, match="sha256"):
        await store.stat(sha256)
    with pytest.raises(InvalidArgument, match="sha256"):
        await read(store, sha256)


async def test_reading_into_memory_has_a_limit(store: ArtifactStore) -> None:
    artifact = await store.put_bytes(content(2000))
    with pytest.raises(ArtifactTooLarge):
        await store.get_bytes(artifact.sha256, max_bytes=1999)


async def test_fetch_writes_a_whole_file(store: ArtifactStore, tmp_path: Path) -> None:
    data = content(2 * CHUNK_BYTES + 5)
    artifact = await store.put_bytes(data)
    destination = tmp_path / "new" / "folder" / "file.bin"
    assert await store.fetch(artifact.sha256, destination) == destination
    assert destination.read_bytes() == data
    assert [path.name for path in destination.parent.iterdir()] == ["file.bin"]
    await store.fetch(artifact.sha256, destination)


async def test_a_reader_may_leave_early(store: ArtifactStore) -> None:
    artifact = await store.put_bytes(content(4 * CHUNK_BYTES))
    chunks = store.open(artifact.sha256)
    assert len(await anext(chunks)) == CHUNK_BYTES
    await chunks.aclose()  # type: ignore[attr-defined]
    assert len(await read(store, artifact.sha256)) == 4


async def test_what_is_deleted_is_gone_and_may_come_back(store: ArtifactStore) -> None:
    kept, artifact = await store.put_bytes(content(10)), await store.put_bytes(content(2000))
    for _ in range(2):  # the second time there is nothing to delete
        await store.delete(artifact.sha256)
        assert await store.stat(artifact.sha256) is None
    with pytest.raises(NotFound):
        await read(store, artifact.sha256)
    assert await store.stat(kept.sha256) == kept
    assert await store.put_bytes(content(2000)) == artifact
    assert await store.get_bytes(artifact.sha256, max_bytes=2000) == content(2000)
    with pytest.raises(InvalidArgument, match="sha256"):
        await store.delete("../drafts")


async def test_ready(store: ArtifactStore) -> None:
    assert await store.ready()

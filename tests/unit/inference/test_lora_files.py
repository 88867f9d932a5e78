"""The disk cache over a real local store."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from servicekit.artifacts.local import LocalStore
from servicekit.errors import DataLoss, FailedPrecondition, NotFound, Unavailable
from services.inference.lora_files import DiskCache


class CountingStore(LocalStore):
    """A local store that counts reads."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.reads: list[str] = []

    def open(self, sha256: str) -> AsyncIterator[bytes]:
        self.reads.append(sha256)
        return super().open(sha256)


@pytest.fixture
def store(tmp_path: Path) -> CountingStore:
    return CountingStore(tmp_path / "store")


def cache_of(tmp_path: Path, store: LocalStore, budget_bytes: int = 1000) -> DiskCache:
    return DiskCache(tmp_path / "cache", store, budget_bytes=budget_bytes, max_file_bytes=500)


async def put(store: LocalStore, letter: str, size: int = 400) -> tuple[str, int]:
    artifact = await store.put_bytes(letter.encode() * size)
    return artifact.sha256, artifact.size_bytes


async def test_a_file_is_fetched_once_for_all_who_want_it(tmp_path: Path, store: CountingStore) -> None:
    cache, file = cache_of(tmp_path, store), await put(store, "a")

    async def read() -> bytes:
        async with cache.lease([file]) as paths:
            return paths[file[0]].read_bytes()

    contents = await asyncio.gather(*(read() for _ in range(8)))
    assert set(contents) == {b"a" * 400}
    assert store.reads == [file[0]]
    usage = cache.usage()
    assert (usage.used_bytes, usage.misses, usage.hits) == (400, 8, 0)


async def test_a_file_is_here_once_it_is_whole(tmp_path: Path, store: CountingStore) -> None:
    cache, one, two = cache_of(tmp_path, store), await put(store, "a"), await put(store, "b")
    assert cache.here([])
    assert not cache.here([one[0]])
    async with cache.lease([one]):
        assert cache.here([one[0]])
        assert not cache.here([one[0], two[0]])
    assert cache_of(tmp_path, store).here([one[0]])  # found there by the next run


async def test_files_in_a_lease_have_their_model_hash(tmp_path: Path, store: CountingStore) -> None:
    content = b"\x02\0\0\0\0\0\0\0{}"
    artifact = await store.put_bytes(content + b"tensors")
    cache, odd = cache_of(tmp_path, store), await put(store, "a")
    async with cache.lease([(artifact.sha256, artifact.size_bytes), odd]):
        assert cache.model_hash(artifact.sha256) == hashlib.sha256(b"tensors").hexdigest()
        assert cache.model_hash(odd[0]) == ""


async def test_who_gives_up_leaves_the_file_to_the_others(tmp_path: Path, store: CountingStore) -> None:
    cache, file = cache_of(tmp_path, store), await put(store, "a")

    async def read() -> bytes:
        async with cache.lease([file]) as paths:
            return paths[file[0]].read_bytes()

    first, second = asyncio.create_task(read()), asyncio.create_task(read())
    await asyncio.sleep(0)
    first.cancel()
    assert await second == b"a" * 400


async def test_the_file_used_longest_ago_makes_room_but_never_one_in_use(
    tmp_path: Path, store: CountingStore
) -> None:
    cache = cache_of(tmp_path, store)
    a, b, c = [await put(store, letter) for letter in "abc"]
    async with cache.lease([a]):
        for file in (b, c):
            async with cache.lease([file]):
                pass
        kept = {path.name[:64] for path in (tmp_path / "cache").iterdir()}
        assert kept == {a[0], c[0]}
    async with cache.lease([b]):
        pass
    assert store.reads.count(b[0]) == 2
    assert cache.usage().used_bytes <= 1000


async def test_files_of_an_earlier_run_are_found(tmp_path: Path, store: CountingStore) -> None:
    file = await put(store, "a")
    async with cache_of(tmp_path, store).lease([file]):
        pass
    (tmp_path / "cache" / ".x.safetensors.12.part").write_bytes(b"left over")
    again = cache_of(tmp_path, store)
    async with again.lease([file]) as paths:
        assert paths[file[0]].is_file()
    assert store.reads == [file[0]]
    assert not list((tmp_path / "cache").glob("*.part"))


async def test_a_file_damaged_between_two_runs_is_fetched_again(tmp_path: Path, store: CountingStore) -> None:
    file = await put(store, "a")
    async with cache_of(tmp_path, store).lease([file]) as paths:
        kept = paths[file[0]]
    kept.write_bytes(b"b" * 400)
    again = cache_of(tmp_path, store)

    async def read() -> bytes:
        async with again.lease([file]) as paths:
            return paths[file[0]].read_bytes()

    assert set(await asyncio.gather(*(read() for _ in range(4)))) == {b"a" * 400}
    assert store.reads == [file[0], file[0]]
    assert again.usage().used_bytes == 400


async def test_a_file_damaged_while_the_service_runs_is_fetched_again(
    tmp_path: Path, store: CountingStore
) -> None:
    cache, file = cache_of(tmp_path, store), await put(store, "a")
    async with cache.lease([file]) as paths:
        kept = paths[file[0]]
    kept.chmod(0o600)
    kept.write_bytes(b"b" * 400)
    async with cache.lease([file]) as paths:
        assert paths[file[0]].read_bytes() == b"a" * 400
    assert store.reads == [file[0], file[0]]


async def test_a_file_that_could_not_be_used_is_looked_at_again(tmp_path: Path, store: CountingStore) -> None:
    cache, file = cache_of(tmp_path, store), await put(store, "a")
    async with cache.lease([file]) as paths:
        kept = paths[file[0]]
    before = kept.stat()
    kept.chmod(0o600)
    with kept.open("r+b") as damaged:
        damaged.write(b"b")
    os.utime(kept, ns=(before.st_atime_ns, before.st_mtime_ns))  # as a failing disk does it
    async with cache.lease([file]) as paths:
        assert paths[file[0]].read_bytes()[:1] == b"b"
    cache.doubt([file[0], "0" * 64])
    async with cache.lease([file]) as paths:
        assert paths[file[0]].read_bytes() == b"a" * 400
    cache.doubt([file[0]])
    async with cache.lease([file]) as paths:
        assert paths[file[0]].read_bytes() == b"a" * 400
    assert store.reads == [file[0], file[0]]  # sound files are kept


async def test_what_is_here_is_served_while_the_store_is_away(tmp_path: Path, store: CountingStore) -> None:
    cache, kept, other = cache_of(tmp_path, store), await put(store, "a"), await put(store, "b")
    async with cache.lease([kept]):
        pass
    (tmp_path / "store").rename(tmp_path / "away")
    async with cache.lease([kept]) as paths:
        assert paths[kept[0]].read_bytes() == b"a" * 400
    with pytest.raises(Unavailable):
        async with cache.lease([other]):
            pass
    (tmp_path / "away").rename(tmp_path / "store")
    async with cache.lease([other]) as paths:
        assert paths[other[0]].read_bytes() == b"b" * 400


async def test_a_file_that_somebody_removed_is_fetched_again(tmp_path: Path, store: CountingStore) -> None:
    cache, file = cache_of(tmp_path, store), await put(store, "a")
    async with cache.lease([file]) as paths:
        paths[file[0]].unlink()
    async with cache.lease([file]) as paths:
        assert paths[file[0]].read_bytes() == b"a" * 400
    assert cache.usage().used_bytes == 400


async def test_missing_and_damaged_blobs_are_errors(tmp_path: Path, store: CountingStore) -> None:
    cache = cache_of(tmp_path, store)
    with pytest.raises(NotFound):
        async with cache.lease([("0" * 64, 5)]):
            pass
    file = await put(store, "a")
    blob = tmp_path / "store" / "sha256" / file[0][:2] / file[0]
    blob.chmod(0o600)
    blob.write_bytes(b"b" * 400)
    with pytest.raises(DataLoss):
        async with cache.lease([file]):
            pass
    assert not list((tmp_path / "cache").iterdir())
    # Once the store is mended the same cache serves the file.
    blob.write_bytes(b"a" * 400)
    async with cache.lease([file]) as paths:
        assert hashlib.sha256(paths[file[0]].read_bytes()).hexdigest() == file[0]


async def test_a_file_too_large_to_serve_is_not_fetched(tmp_path: Path, store: CountingStore) -> None:
    file = await put(store, "a", 501)
    with pytest.raises(FailedPrecondition, match="too large"):
        async with cache_of(tmp_path, store).lease([file]):
            pass
    assert store.reads == []


class FullDiskStore(CountingStore):
    """A store whose reader has no room for more than one file."""

    async def fetch(self, sha256: str, destination: Path) -> Path:
        if list(destination.parent.glob("*.safetensors")):
            raise OSError(errno.ENOSPC, "No space left on device")
        return await super().fetch(sha256, destination)


async def test_a_full_disk_is_told_of_and_gets_room(tmp_path: Path) -> None:
    store = FullDiskStore(tmp_path / "store")
    cache = cache_of(tmp_path, store)
    kept, other = await put(store, "a"), await put(store, "b")
    async with cache.lease([kept]):
        for _ in range(2):
            with pytest.raises(Unavailable) as caught:
                async with cache.lease([other]):
                    pass
            assert caught.value.reason == "CACHE_DISK_FAULT"
            assert caught.value.retry_after_seconds
        async with cache.lease([kept]) as paths:
            assert paths[kept[0]].read_bytes() == b"a" * 400
    with pytest.raises(Unavailable):
        async with cache.lease([other]):
            pass
    async with cache.lease([other]) as paths:
        assert paths[other[0]].read_bytes() == b"b" * 400
    assert cache.usage().used_bytes == 400

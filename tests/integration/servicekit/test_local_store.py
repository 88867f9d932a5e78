from __future__ import annotations

import errno
import hashlib
import os
import shutil
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from servicekit.artifacts.local import LocalStore
from servicekit.errors import DataLoss, NotFound, Unavailable

DATA = b"the very bytes" * 1000


def path_of(tmp_path: Path, uri: str) -> Path:
    return tmp_path / "store" / uri


async def test_blobs_are_read_only_files_under_their_digest(local_store: LocalStore, tmp_path: Path) -> None:
    path = path_of(tmp_path, (await local_store.put_bytes(DATA)).uri)
    assert path.read_bytes() == DATA
    assert path.stat().st_mode & 0o777 == 0o444


async def test_the_same_content_is_written_once(local_store: LocalStore, tmp_path: Path) -> None:
    path = path_of(tmp_path, (await local_store.put_bytes(DATA)).uri)
    before = path.stat()
    await local_store.put_bytes(DATA)
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


async def test_no_drafts_stay_behind(local_store: LocalStore, tmp_path: Path) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield DATA
        raise ConnectionResetError

    await local_store.put_bytes(DATA)
    await local_store.put_bytes(DATA)
    with pytest.raises(ConnectionResetError):
        await local_store.put_stream(broken(), max_bytes=10**6)
    assert list((tmp_path / "store" / "drafts").iterdir()) == []


def test_drafts_of_killed_processes_are_removed_after_a_day(tmp_path: Path) -> None:
    drafts = tmp_path / "drafts"
    LocalStore(tmp_path)
    for name, age_seconds in (("old", 25 * 3600), ("new", 23 * 3600)):
        (drafts / name).touch()
        moment = time.time() - age_seconds
        os.utime(drafts / name, (moment, moment))
    LocalStore(tmp_path)
    assert [draft.name for draft in drafts.iterdir()] == ["new"]


@pytest.mark.parametrize("lie", [DATA[:-1], DATA + b"!", b"X" + DATA[1:], b""])
async def test_altered_bytes_are_never_handed_out_whole(
    local_store: LocalStore, tmp_path: Path, lie: bytes
) -> None:
    artifact = await local_store.put_bytes(DATA)
    path = path_of(tmp_path, artifact.uri)
    path.chmod(0o644)
    path.write_bytes(lie)
    with pytest.raises(DataLoss) as caught:
        await local_store.get_bytes(artifact.sha256, max_bytes=10**6)
    assert caught.value.metadata["sha256"] == artifact.sha256
    received = bytearray()
    with pytest.raises(DataLoss):
        async for chunk in local_store.open(artifact.sha256):
            received += chunk
    assert len(received) < max(len(lie), 1)
    with pytest.raises(DataLoss):
        await local_store.fetch(artifact.sha256, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


async def test_a_blob_cut_short_is_healed_by_the_next_put(local_store: LocalStore, tmp_path: Path) -> None:
    artifact = await local_store.put_bytes(DATA)
    path = path_of(tmp_path, artifact.uri)
    path.chmod(0o644)
    path.write_bytes(DATA[:100])
    await local_store.put_bytes(DATA)
    assert await local_store.get_bytes(artifact.sha256, max_bytes=10**6) == DATA


async def test_there_are_no_urls(local_store: LocalStore) -> None:
    artifact = await local_store.put_bytes(DATA)
    assert await local_store.presign_get(artifact.sha256, expires_seconds=60, filename="x") is None


async def test_a_directory_that_went_away_is_not_ready(local_store: LocalStore, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "store")
    assert not await local_store.ready()


async def test_a_directory_that_went_away_is_no_missing_blob(local_store: LocalStore, tmp_path: Path) -> None:
    artifact = await local_store.put_bytes(DATA)
    with pytest.raises(NotFound):
        await local_store.get_bytes("0" * 64, max_bytes=1)
    shutil.rmtree(tmp_path / "store")
    await refuses_everything(local_store, artifact.sha256)
    (tmp_path / "store").touch()
    await refuses_everything(local_store, artifact.sha256)


async def refuses_everything(store: LocalStore, sha256: str) -> None:
    with pytest.raises(Unavailable) as caught:
        await store.put_bytes(DATA)
    assert caught.value.reason == "STORE_UNAVAILABLE"
    assert "/" not in caught.value.message
    with pytest.raises(Unavailable):
        await store.get_bytes(sha256, max_bytes=10**6)
    with pytest.raises(Unavailable):
        await store.stat(sha256)


async def test_a_full_disk_is_told_and_leaves_no_draft(
    local_store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Unavailable, match="No space left on device"):
        await local_store.put_bytes(DATA)
    assert list((tmp_path / "store" / "drafts").iterdir()) == []
    assert await local_store.stat(hashlib.sha256(DATA).hexdigest()) is None

"""The LoraFiles port: a directory of files by digest, filled from the artifact store, within a budget of
bytes.

<root>/<sha256>.safetensors     whole and verified, or not there
"""

from __future__ import annotations

import asyncio
import os
import re
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from lorakit.errors import LoraFormatError
from lorakit.hashes import file_sha256, model_hash
from servicekit.artifacts.port import ArtifactStore
from servicekit.errors import FailedPrecondition, Unavailable
from services.inference.domain_capacity import CacheUsage

DISK_RETRY_SECONDS = 1.0
_NAME = re.compile(r"(?P<sha256>[0-9a-f]{64})\.safetensors\Z")


@dataclass(frozen=True, slots=True)
class _Stamp:
    """By which a file is known that nobody has touched."""

    size_bytes: int
    changed_at_nanoseconds: int
    inode: int


class DiskCache:
    """One process uses one directory. Files in a lease are never evicted, others go by longest disuse."""

    def __init__(self, root: Path, store: ArtifactStore, *, budget_bytes: int, max_file_bytes: int) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self._root = root
        self._store = store
        self._budget_bytes = budget_bytes
        self._max_file_bytes = max_file_bytes
        self._sizes = _found(root)
        self._verified: dict[str, _Stamp] = {}
        """Files that held what they should when they were last looked at, as they were then. Those of an
        earlier run are not among them, nor those that could not be used.
        """
        self._model_hashes: dict[str, str] = {}
        self._leases: Counter[str] = Counter()
        self._fetching: dict[str, asyncio.Task[None]] = {}
        self._hits = 0
        self._misses = 0

    @asynccontextmanager
    async def lease(self, sizes: Sequence[tuple[str, int]]) -> AsyncIterator[dict[str, Path]]:
        """See the port. Files that are not here are fetched at the same time, each once for all who want
        it.
        """
        digests = dict(sizes)
        self._check_sizes(digests)
        self._leases.update(digests.keys())
        try:
            await asyncio.gather(*(self._provide(sha256) for sha256 in digests))
            yield {sha256: self._path(sha256) for sha256 in digests}
        finally:
            self._leases.subtract(digests.keys())
            self._leases = +self._leases
            self._evict()

    def here(self, digests: Sequence[str]) -> bool:
        """See the port."""
        return self._sizes.keys() >= set(digests)

    def model_hash(self, sha256: str) -> str:
        """See the port."""
        return self._model_hashes[sha256]

    def doubt(self, digests: Sequence[str]) -> None:
        """See the port."""
        for sha256 in digests:
            self._verified.pop(sha256, None)

    def usage(self) -> CacheUsage:
        """How full the disk cache is."""
        return CacheUsage(
            level="disk",
            used_bytes=sum(self._sizes.values()),
            budget_bytes=self._budget_bytes,
            hits=self._hits,
            misses=self._misses,
        )

    async def _provide(self, sha256: str) -> None:
        verified = self._verified.get(sha256)
        if verified is not None and verified == _stamp(self._path(sha256)):
            self._hits += 1
            self._sizes.move_to_end(sha256)
            return
        self._misses += 1
        task = self._fetching.get(sha256)
        if task is None:
            task = self._fetching[sha256] = asyncio.create_task(self._obtain(sha256))
            task.add_done_callback(lambda _: self._fetching.pop(sha256, None))
        # Shielded: whoever asked first may be cancelled while others wait for the same file.
        await asyncio.shield(task)

    async def _obtain(self, sha256: str) -> None:
        """Keeps a file that is here when its bytes are what its name says; else fetches it."""
        path = self._path(sha256)
        self._verified.pop(sha256, None)
        stamp = _stamp(path)
        if stamp is None or await asyncio.to_thread(_digest, path) != sha256:
            self._sizes.pop(sha256, None)
            await self._fetch(sha256, path)
        if sha256 not in self._model_hashes:
            self._model_hashes[sha256] = await asyncio.to_thread(_model_hash, path)
        # Nothing is waited for from here on: what is noted is what is there.
        stamp = _stamp(path)
        if stamp is None:
            raise Unavailable("a LoRA file has gone from the cache", reason="CACHE_CHANGED")
        self._verified[sha256] = stamp
        self._sizes[sha256] = stamp.size_bytes
        self._sizes.move_to_end(sha256)
        self._evict()

    async def _fetch(self, sha256: str, path: Path) -> None:
        try:
            await self._store.fetch(sha256, path)
        except OSError as error:
            # Full, most likely, with less room than the budget says: the next try finds what is not in use.
            self._evict(budget_bytes=0)
            raise Unavailable(
                f"a LoRA file cannot be written to the cache: {error.strerror}",
                reason="CACHE_DISK_FAULT",
                retry_after_seconds=DISK_RETRY_SECONDS,
            ) from error

    def _evict(self, *, budget_bytes: int | None = None) -> None:
        excess = sum(self._sizes.values()) - (self._budget_bytes if budget_bytes is None else budget_bytes)
        for sha256 in [digest for digest in self._sizes if self._leases[digest] == 0]:
            if excess <= 0:
                return
            excess -= self._sizes.pop(sha256)
            self._verified.pop(sha256, None)
            self._model_hashes.pop(sha256, None)
            self._path(sha256).unlink(missing_ok=True)

    def _check_sizes(self, digests: dict[str, int]) -> None:
        for sha256, size_bytes in digests.items():
            if size_bytes > self._max_file_bytes:
                raise FailedPrecondition(
                    f"a LoRA file of {size_bytes} bytes is too large; {self._max_file_bytes} are served",
                    reason="LORA_FILE_TOO_LARGE",
                    metadata={"sha256": sha256},
                )

    def _path(self, sha256: str) -> Path:
        return self._root / f"{sha256}.safetensors"


def _stamp(path: Path) -> _Stamp | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return _Stamp(stat.st_size, stat.st_mtime_ns, stat.st_ino)


def _digest(path: Path) -> str:
    try:
        return file_sha256(path)
    except OSError:  # gone, or a disk that cannot read it: fetched anew
        return ""


def _model_hash(path: Path) -> str:
    """Computed, not taken from the metadata: whoever made the file could have written anything there."""
    try:
        return model_hash(path)
    except (LoraFormatError, OSError):  # whoever reads it for use says what is wrong with it
        return ""


def _found(root: Path) -> OrderedDict[str, int]:
    """Files from an earlier run, the one used longest ago first; leavings of broken downloads are removed."""
    entries: list[tuple[float, str, int]] = []
    with os.scandir(root) as scan:
        for entry in scan:
            match = _NAME.match(entry.name)
            if match is not None and entry.is_file(follow_symlinks=False):
                stat = entry.stat()
                entries.append((stat.st_atime, match["sha256"], stat.st_size))
            elif entry.name.endswith(".part"):
                Path(entry.path).unlink(missing_ok=True)
    return OrderedDict((sha256, size) for _, sha256, size in sorted(entries))

"""A cache with a budget in bytes that lets go of what was used longest ago."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterable
from threading import Lock
from typing import Generic, TypeVar

from services.inference.domain_capacity import CacheUsage

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class ByteCache(Generic[K, V]):
    """A value that is let go lives on for as long as a row in flight refers to it. Safe between threads."""

    def __init__(self, level: str, budget_bytes: int) -> None:
        self._level = level
        self._budget_bytes = budget_bytes
        self._used_bytes = 0
        self._hits = 0
        self._misses = 0
        self._entries: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self._pins: dict[str, set[K]] = {}
        self._lock = Lock()

    def get(self, key: K) -> V | None:
        """The value, now the most recently used; None if it is not there."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                self._misses += 1
                return None
            self._hits += 1
            self._entries.move_to_end(key)
            return entry[0]

    def put(self, key: K, value: V, size_bytes: int) -> None:
        """Keep a value if the budget allows it at all."""
        with self._lock:
            if key in self._entries:
                self._used_bytes -= self._entries.pop(key)[1]
            if size_bytes > self._budget_bytes:
                return
            self._entries[key] = (value, size_bytes)
            self._used_bytes += size_bytes
            self._make_room()

    def pin(self, owner: str, keys: Iterable[K]) -> None:
        """Whatever is kept under these keys, now or later, makes no room for others."""
        with self._lock:
            self._pins.setdefault(owner, set()).update(keys)

    def unpin(self, owner: str) -> None:
        """What nobody else has pinned may make room again."""
        with self._lock:
            self._pins.pop(owner, None)
            self._make_room()

    def holds(self, keys: Iterable[K]) -> bool:
        """Whether all of these are here; no use of them."""
        with self._lock:
            return all(key in self._entries for key in keys)

    @property
    def pinned_part(self) -> float:
        """How much of the budget pinned values take."""
        with self._lock:
            pinned = {key for keys in self._pins.values() for key in keys}
            sizes = (self._entries[key][1] for key in pinned if key in self._entries)
            return sum(sizes) / self._budget_bytes

    def _make_room(self) -> None:
        if self._used_bytes <= self._budget_bytes:
            return
        pinned = {key for keys in self._pins.values() for key in keys}
        for key in [key for key in self._entries if key not in pinned]:
            self._used_bytes -= self._entries.pop(key)[1]
            if self._used_bytes <= self._budget_bytes:
                return

    def usage(self) -> CacheUsage:
        """Budget and figures."""
        with self._lock:
            return CacheUsage(
                level=self._level,
                used_bytes=self._used_bytes,
                budget_bytes=self._budget_bytes,
                hits=self._hits,
                misses=self._misses,
            )

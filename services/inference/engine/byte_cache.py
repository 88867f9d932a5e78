"""A cache with a budget in bytes that lets go of what was used longest ago."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from services.inference.domain_capacity import CacheUsage

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@dataclass(slots=True)
class ByteCache(Generic[K, V]):
    """Not thread-safe. A value that is let go lives on for as long as a row in flight refers to it."""

    level: str
    budget_bytes: int
    used_bytes: int = 0
    hits: int = 0
    misses: int = 0
    _entries: OrderedDict[K, tuple[V, int]] = field(default_factory=OrderedDict)

    def get(self, key: K) -> V | None:
        """The value, now the most recently used; None if it is not there."""
        entry = self._entries.get(key)
        if entry is None:
            self.misses += 1
            return None
        self.hits += 1
        self._entries.move_to_end(key)
        return entry[0]

    def put(self, key: K, value: V, size_bytes: int) -> None:
        """Keep a value if the budget allows it at all."""
        if key in self._entries:
            self.used_bytes -= self._entries.pop(key)[1]
        if size_bytes > self.budget_bytes:
            return
        self._entries[key] = (value, size_bytes)
        self.used_bytes += size_bytes
        while self.used_bytes > self.budget_bytes:
            _, (_, freed) = self._entries.popitem(last=False)
            self.used_bytes -= freed

    def drop(self, predicate_key: K) -> None:
        """Forget one value, if it is there."""
        entry = self._entries.pop(predicate_key, None)
        if entry is not None:
            self.used_bytes -= entry[1]

    def usage(self) -> CacheUsage:
        """Budget and figures."""
        return CacheUsage(
            level=self.level,
            used_bytes=self.used_bytes,
            budget_bytes=self.budget_bytes,
            hits=self.hits,
            misses=self.misses,
        )

"""Wakes the watchers of jobs in this process."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from datetime import timedelta


class LocalBell:
    """Bell of one event loop; what happens in other processes is found by the watchers' own polling."""

    def __init__(self) -> None:
        self._waiting: defaultdict[str, set[asyncio.Event]] = defaultdict(set)

    def ring(self, name: str) -> None:
        """Wakes all who wait for the job at this moment."""
        for event in self._waiting.get(name, ()):
            event.set()

    async def wait(self, name: str, at_most: timedelta) -> None:
        """Returns when it rings for the job, or after that time."""
        event = asyncio.Event()
        self._waiting[name].add(event)
        try:
            async with asyncio.timeout(at_most.total_seconds()):
                await event.wait()
        except TimeoutError:
            pass
        finally:
            self._waiting[name].discard(event)
            if not self._waiting[name]:
                del self._waiting[name]

"""What a service does by itself, again and again, beside its calls.

chores = Chores(Chore(1.0, workers.reap, workers.measure), Chore(3600.0, forget_old_requests))
async with chores.running():
    ...
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import structlog

Duty = Callable[[], Awaitable[Any]]
_log = structlog.get_logger(__name__)


class Chore:
    """Duties that are done one after the other, at once and then after each pause of `pause_seconds`."""

    def __init__(self, pause_seconds: float, *duties: Duty) -> None:
        self._pause_seconds = pause_seconds
        self._duties = duties

    async def do_forever(self) -> None:
        """Does them; one that fails is logged, and tried again with the others."""
        while True:
            for duty in self._duties:
                try:
                    await duty()
                except Exception:  # a database or store may be away for a while
                    _log.exception("a chore failed", duty=getattr(duty, "__qualname__", str(duty)))
            await asyncio.sleep(self._pause_seconds)


class Chores:
    """Several chores, each in a task of its own."""

    def __init__(self, *chores: Chore) -> None:
        self._chores = chores

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Does them until the end of the context, which waits for what is under way to break off."""
        tasks = [asyncio.create_task(chore.do_forever()) for chore in self._chores]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

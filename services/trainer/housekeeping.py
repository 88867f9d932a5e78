"""What the service does by itself, again and again: take jobs from silent workers, measure the queue."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from services.trainer.executor import LocalExecutor
from services.trainer.service_workers import WorkerService

_log = structlog.get_logger(__name__)


class Housekeeping:
    """A task from `start` to `stop`."""

    def __init__(
        self, workers: WorkerService, executor: LocalExecutor, *, period_seconds: float = 1.0
    ) -> None:
        self._duties: tuple[Callable[[], Awaitable[object]], ...] = (
            workers.reap,
            executor.free_orphaned_leases,
            workers.measure,
        )
        self._period_seconds = period_seconds
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Ends, and waits for what is under way."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _run(self) -> None:
        while True:
            for duty in self._duties:
                try:
                    await duty()
                except Exception:  # the database may be away for a while
                    _log.exception("housekeeping failed", duty=getattr(duty, "__name__", str(duty)))
            await asyncio.sleep(self._period_seconds)

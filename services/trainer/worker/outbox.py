"""What a worker has to say about one job, gathered and sent in order."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from servicekit.errors import Aborted
from services.trainer.events import MetricPoint, Payload, Progress
from services.trainer.service_workers import Instruction
from services.trainer.worker.leases import LeasedJob
from services.trainer.worker.trainer_client import TrainerClient

_EVENTS_AT_ONCE: Final = 256
_POINTS_AT_ONCE: Final = 4096
_log = structlog.get_logger(__name__)


class Outbox:
    """Reports of one job. `lost` tells that the lease is gone: nothing that is said counts any more;
    `instruction` is the last word of the trainer."""

    def __init__(self, trainer: TrainerClient, lease: LeasedJob) -> None:
        self._trainer = trainer
        self._lease = lease
        self._payloads: list[Payload] = []
        self._points: list[MetricPoint] = []
        self._progress: Progress | None = None
        self._sending = asyncio.Lock()
        self.lost = False
        self.instruction = Instruction.CONTINUE

    def tell(self, payload: Payload) -> None:
        """Adds an event; progress that has not been sent goes before it."""
        self._settle_progress()
        self._payloads.append(payload)

    def progress(self, progress: Progress, point: MetricPoint) -> None:
        """Adds a step: its figures are kept, of the progress only the newest until the next `flush`."""
        self._progress = progress
        self._points.append(point)

    async def flush(self) -> None:
        """Sends everything, for as long as the trainer's client is patient; then the lease counts as lost."""
        async with self._sending:
            while not self.lost and (self._progress or self._payloads or self._points):
                self._settle_progress()
                payloads, points = self._payloads[:_EVENTS_AT_ONCE], self._points[:_POINTS_AT_ONCE]
                del self._payloads[:_EVENTS_AT_ONCE], self._points[:_POINTS_AT_ONCE]
                try:
                    told = await self._trainer.report(self._lease, payloads, points)
                except Aborted as error:
                    _log.warning("the lease is lost", job=self._lease.name, reason=error.reason)
                    self.lost = True
                    return
                if told is not Instruction.CONTINUE:
                    self.instruction = told

    def _settle_progress(self) -> None:
        if self._progress is not None:
            self._payloads.append(self._progress)
            self._progress = None

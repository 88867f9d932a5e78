"""One job as a worker trains it: its lease, its words to the trainer, its files, what is still to be done."""

from __future__ import annotations

import asyncio
import math
import shutil
from collections.abc import Coroutine
from datetime import UTC, datetime
from enum import Enum, auto
from pathlib import Path
from typing import Any

import structlog

from servicekit.errors import Aborted, DeadlineExceeded, ServiceError, Unavailable
from services.trainer.engine import Outcome, StepReport
from services.trainer.engine.progress import PackReport, ProgressMeter
from services.trainer.engine.tensorboard_log import TensorBoardLog
from services.trainer.events import Failure, JobArtifact, JobState, MetricPoint, Progress
from services.trainer.service_workers import Instruction
from services.trainer.worker.environment import Tally
from services.trainer.worker.leases import LeasedJob
from services.trainer.worker.materials import Materials
from services.trainer.worker.outbox import Outbox
from services.trainer.worker.preview_sheet import PreviewSheet
from services.trainer.worker.trainer_client import TrainerClient

_log = structlog.get_logger(__name__)


class Phase(Enum):
    """Where the worker is with a job."""

    PREPARING = auto()
    TRAINING = auto()
    FINISHING = auto()
    ENDED = auto()


class JobRun:
    """One job from its lease to its end."""

    def __init__(self, trainer: TrainerClient, lease: LeasedJob, directory: Path) -> None:
        self.lease = lease
        self.directory = directory
        self.outbox = Outbox(trainer, lease)
        self.phase = Phase.PREPARING
        self.materials: Materials | None = None
        self.started_at = datetime.now(UTC)
        self.step = self.saved_step = lease.checkpoint_step
        self.last: Progress | None = None
        self.outcome: Outcome | None = None
        """What the result is, once the job is trained."""
        self.trained_at: datetime | None = None
        """When its last step was done."""
        self.tally = Tally()
        self.sheet = PreviewSheet()
        self.log = TensorBoardLog(directory / "tensorboard")
        self._meter = ProgressMeter()
        self._trainer = trainer
        self._work: asyncio.Task[None] | None = None

    @property
    def instruction(self) -> Instruction:
        """What the trainer, or whoever stops this worker, wants done with the job."""
        return self.outbox.instruction

    def instruct(self, instruction: Instruction) -> None:
        """Takes an instruction."""
        self.outbox.instruction = instruction

    @property
    def lost(self) -> bool:
        """Whether somebody else has the job, or it has ended elsewhere."""
        return self.outbox.lost or self.instruction is Instruction.ABANDON

    def take(self, report: StepReport, pack: PackReport) -> None:
        """Tells a step's figures."""
        figures = self._meter.update(report)
        self.step = report.step
        self.tally.add(report, pack)
        self.log.add(figures)
        self.log.add_pack(report.step, pack)
        evaluated = report.validation.loss if report.validation else None
        if evaluated is not None:
            self.log.add_validation(report.step, evaluated)
        before = self.last.validation_loss if self.last else None
        self.last = Progress(
            step=figures.step,
            total_steps=figures.total_steps,
            epoch=figures.epoch,
            loss=figures.loss,
            smoothed_loss=figures.smoothed_loss,
            learning_rate=figures.learning_rate,
            images_per_second=figures.images_per_second,
            seconds_left=figures.seconds_left,
            pack_size=len(pack.job_ids),
            validation_loss=before if evaluated is None else evaluated,
            pack_images_per_second=pack.images_per_second,
            device_memory_bytes=pack.device_memory_bytes,
        )
        point = MetricPoint(
            step=figures.step,
            time=datetime.now(UTC),
            loss=figures.loss,
            smoothed_loss=figures.smoothed_loss,
            learning_rate=figures.learning_rate,
            images_per_second=figures.images_per_second,
            validation_loss=evaluated,
            pack_images_per_second=pack.images_per_second,
            device_memory_bytes=pack.device_memory_bytes,
        )
        if math.isfinite(figures.loss):
            self.outbox.progress(self.last, point)

    def pause(self) -> None:
        """What follows is no training: it does not count for the speed."""
        self._meter.pause()

    def then(self, work: Coroutine[Any, Any, None]) -> None:
        """Does the work in the background, after what was to be done before; a fault ends the job as
        failed.
        """
        self._work = asyncio.create_task(self._after(self._work, work))

    def abort(self) -> None:
        """Breaks off the work in the background; what comes next need not wait for it."""
        if self._work is not None:
            self._work.cancel()

    async def done(self) -> None:
        """Waits for all work in the background."""
        while self._work is not None and not self._work.done():
            await asyncio.wait({self._work})

    async def points(self) -> list[MetricPoint]:
        """The figures of all attempts, as the trainer keeps them."""
        return await self._trainer.points(self.lease)

    async def samples(self) -> list[JobArtifact]:
        """Samples of all attempts, the newest of them if they are many."""
        return await self._trainer.samples(self.lease)

    @property
    def worker(self) -> str:
        """Who trains it."""
        return self._trainer.worker

    async def complete(self, state: JobState, *, lora_version: str = "") -> None:
        """Tells the job's end after everything else that was to be told."""
        await self.outbox.flush()
        if not self.lost:
            await self._trainer.complete(self.lease, state, lora_version=lora_version)
        self.close()

    async def fail(self, failure: Failure, *, retryable: bool) -> None:
        """Tells that this attempt failed."""
        _log.warning("job failed", job=self.lease.name, reason=failure.reason, message=failure.message)
        await self.outbox.flush()
        if not self.lost:
            await self._trainer.complete(self.lease, JobState.FAILED, failure=failure, retryable=retryable)
        self.close()

    def close(self) -> None:
        """Drops the job's files; nothing more is said about it."""
        if self.phase is not Phase.ENDED:
            self.phase = Phase.ENDED
            self.log.close()
            shutil.rmtree(self.directory, ignore_errors=True)

    async def _after(self, before: asyncio.Task[None] | None, work: Coroutine[Any, Any, None]) -> None:
        if before is not None:
            await asyncio.wait({before})
        if self.phase is Phase.ENDED:
            work.close()
            return
        try:
            await work
        except Exception as error:
            await self._give_up(error)

    async def _give_up(self, error: Exception) -> None:
        """Ends the job on an error of its background work."""
        try:
            if isinstance(error, Aborted):
                self.close()  # the lease is lost: it is another worker's job now
            elif isinstance(error, ServiceError):
                passing = isinstance(error, Unavailable | DeadlineExceeded)
                await self.fail(Failure(error.reason, error.message), retryable=passing)
            else:
                _log.exception("a job's work failed", job=self.lease.name, exc_info=error)
                text = f"the worker failed: {type(error).__name__}: {error}"
                await self.fail(Failure("WORKER_FAULT", text), retryable=True)
        except ServiceError as refusal:
            _log.warning("the end of a job was refused", job=self.lease.name, reason=refusal.reason)
            self.close()

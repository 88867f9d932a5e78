"""Does label jobs, one after another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from servicekit.artifacts.port import ArtifactStore
from servicekit.clock import Clock
from servicekit.errors import ServiceError, Unavailable
from services.labeler import job_rules
from services.labeler.bell import Bell
from services.labeler.domain import Failure, JobState, LabelJob
from services.labeler.ports import Captioner, CaptionerError, Meter, Records
from services.labeler.service_batches import LabelWork
from services.labeler.service_lease import CancelAskedError, Hold, LeaseLostError, RunnerSettings

Report = Callable[[BaseException], None]


class LabelJobRunner:
    """Takes up jobs until its task is cancelled; the job in hand then goes back to the queue."""

    def __init__(
        self,
        *,
        records: Records,
        store: ArtifactStore,
        captioner: Captioner,
        clock: Clock,
        bell: Bell,
        meter: Meter,
        settings: RunnerSettings,
        report: Report,
    ) -> None:
        self._records = records
        self._store = store
        self._captioner = captioner
        self._clock = clock
        self._bell = bell
        self._meter = meter
        self._settings = settings
        self._report = report

    async def run_forever(self) -> None:
        """Does whatever comes. What goes wrong outside of a job is reported, and tried again a little
        later.
        """
        while True:
            ticket = self._bell.ticket()
            try:
                job = await self._claim()
            except Exception as error:  # the database may be away for a while
                self._report(error)
                job = None
            if job is None:
                await self._bell.wait(ticket, self._settings.poll_seconds)
            elif not job.state.is_final:
                await self._do(job)

    async def measure(self) -> None:
        """Counts the jobs in the queue, those of other replicas too."""
        async with self._records.snapshot() as unit:
            self._meter.jobs_waiting(await unit.jobs.waiting())

    async def _claim(self) -> LabelJob | None:
        async with self._records.transaction() as unit:
            now = self._clock.now()
            job = await unit.jobs.claimable(now)
            if job is not None:
                job, events = job_rules.claimed(job, now, self._settings.lease_seconds)
                await unit.jobs.replace(job)
                await unit.jobs.add_events(job.key, events)
        if job is not None:
            self._bell.ring()
        return job

    async def _do(self, job: LabelJob) -> None:
        """Works on the job and keeps its lease meanwhile."""
        hold = Hold(self._records, self._clock, self._bell, job, self._settings)
        labeling = LabelWork(self._records, self._store, self._captioner, self._meter, hold)
        work = asyncio.create_task(labeling.run())
        beat = asyncio.create_task(hold.keep())
        try:
            await asyncio.wait({work, beat}, return_when=asyncio.FIRST_COMPLETED)
            await _stopped(work)
            await self._conclude(hold, work, beat)
        except asyncio.CancelledError:
            await _stopped(work)
            await hold.let_go(lambda job, now: job_rules.put_back(job, now, wait_seconds=0, counts=False))
            raise
        except Exception as error:  # not even the job's end could be written; its lease will run out
            self._report(error)
        finally:
            hold.release()
            await asyncio.wait({beat})

    async def _conclude(self, hold: Hold, work: asyncio.Task[LabelJob], beat: asyncio.Task[None]) -> None:
        """Writes down how the work ended, unless it did so itself."""
        if not work.cancelled() and work.exception() is None:
            self._meter.job_ended(work.result().state.value)
            return
        error = _error_of(beat) if work.cancelled() else work.exception()
        if error is None or isinstance(error, LeaseLostError):
            return
        if isinstance(error, Unavailable):
            self._report(error)
            seconds = self._settings.retry_seconds
            await hold.let_go(
                lambda job, now: job_rules.put_back(job, now, wait_seconds=seconds, counts=True)
            )
            return
        state, failure = self._verdict(error)
        if await hold.let_go(lambda job, now: job_rules.ended(job, now, state, failure)):
            self._meter.job_ended(state.value)

    def _verdict(self, error: BaseException) -> tuple[JobState, Failure | None]:
        if isinstance(error, CancelAskedError):
            return JobState.CANCELLED, None
        if isinstance(error, CaptionerError):
            return JobState.FAILED, error.failure
        self._report(error)
        if isinstance(error, ServiceError):
            return JobState.FAILED, Failure(error.reason, error.message)
        message = "the labeler failed over this job; the service's log says more"
        return JobState.FAILED, Failure("INTERNAL", message)


def _error_of(task: asyncio.Task[Any]) -> BaseException | None:
    return task.exception() if task.done() and not task.cancelled() else None


async def _stopped(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.wait({task})

"""A runner's hold on a label job: every word about the job is checked against the fence that it was taken
up with.
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from servicekit.clock import Clock
from servicekit.errors import Aborted, NotFound, Unavailable
from services.labeler.bell import Bell
from services.labeler.domain import JobState, LabelJob
from services.labeler.job_rules import Step
from services.labeler.ports import Records, Unit


class LeaseLostError(Exception):
    """Another runner has the job, or it is gone; this one must stop."""


class CancelAskedError(Exception):
    """The job's owner asked for its end."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunnerSettings:
    """How a runner keeps time."""

    lease_seconds: float = 15.0
    """How long a job stays with a runner that is not heard of; it is renewed three times as often"""
    poll_seconds: float = 2.0
    """How often to look for jobs that nobody told of: those of other replicas, and those whose runner died"""
    cancel_grace_seconds: float = 10.0
    """How long the batch under way may go on after a cancel"""
    retry_seconds: float = 5.0
    """How long a job waits when the store or the database was away"""


class Hold:
    """One runner's hold on one job."""

    def __init__(
        self, records: Records, clock: Clock, bell: Bell, job: LabelJob, settings: RunnerSettings
    ) -> None:
        self._records = records
        self._clock = clock
        self._bell = bell
        self._key = job.key
        self._fence = job.fence
        self._settings = settings
        self._released = asyncio.Event()

    def release(self) -> None:
        """Lets `keep` return."""
        self._released.set()

    async def change(self, step: Callable[[Unit, LabelJob, datetime], Awaitable[Step]]) -> LabelJob:
        """Takes one step in a transaction; LeaseLostError when the job is not this runner's any more.

        A step that has begun is taken to its end, even when the work that it belongs to is cancelled.
        """
        return await asyncio.shield(asyncio.ensure_future(self._change(step)))

    async def _change(self, step: Callable[[Unit, LabelJob, datetime], Awaitable[Step]]) -> LabelJob:
        async with self._records.transaction() as unit:
            job = await self._mine(unit)
            job, events = await step(unit, job, self._clock.now())
            await unit.jobs.replace(job)
            await unit.jobs.add_events(job.key, events)
        self._bell.ring()
        return job

    async def let_go(self, step: Callable[[LabelJob, datetime], Step]) -> LabelJob | None:
        """Takes the last step; None when the job is not this runner's any more."""

        async def last(_: Unit, job: LabelJob, now: datetime) -> Step:
            return step(job, now)

        try:
            return await self.change(last)
        except LeaseLostError:
            return None

    async def keep(self) -> None:
        """Renews the lease until released; LeaseLostError when that fails, CancelAskedError when the grace
        is over.
        """
        asked: float | None = None
        renewed = time.monotonic()
        while not await self._is_released(self._settings.lease_seconds / 3):
            try:
                job = await self._renew()
                renewed = time.monotonic()
            except (Unavailable, Aborted):
                if time.monotonic() - renewed > self._settings.lease_seconds:
                    raise LeaseLostError from None
                continue
            if job.state is JobState.CANCELLING:
                asked = asked or time.monotonic()
                if time.monotonic() - asked >= self._settings.cancel_grace_seconds:
                    raise CancelAskedError

    async def _is_released(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                return await self._released.wait()
        except TimeoutError:
            return False

    async def _renew(self) -> LabelJob:
        async with self._records.transaction() as unit:
            job = await self._mine(unit)
            until = self._clock.now() + timedelta(seconds=self._settings.lease_seconds)
            await unit.jobs.replace(dataclasses.replace(job, lease_until=until))
        return job

    async def _mine(self, unit: Unit) -> LabelJob:
        try:
            job = await unit.jobs.get(self._key, lock=True)
        except NotFound:
            raise LeaseLostError from None
        if job.fence != self._fence or job.state.is_final or job.state is JobState.QUEUED:
            raise LeaseLostError
        return job

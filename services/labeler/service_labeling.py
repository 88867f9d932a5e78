"""Label jobs as their owners see them: create, read, cancel, watch."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from servicekit.clock import Clock
from servicekit.ids import new_id
from services.labeler import contents, job_rules, texts
from services.labeler.bell import Bell
from services.labeler.domain import (
    DEFAULT_BATCH_SIZE,
    DEFAULT_MAX_TOKENS,
    JobState,
    LabelEvent,
    LabelJob,
    ListQuery,
    Page,
    RequestId,
)
from services.labeler.keys import DatasetKey, JobKey
from services.labeler.ports import Records

_EVENTS_AT_ONCE: Final = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelSettings:
    """What a label job is to do; 0 stands for the defaults."""

    overwrite: bool = False
    trigger_word: str = ""
    batch_size: int = 0
    max_tokens: int = 0


class LabelJobService:
    """Keeps label jobs; a runner does them."""

    def __init__(
        self, records: Records, clock: Clock, bell: Bell, *, captioner: str, poll_seconds: float = 1.0
    ) -> None:
        self._records = records
        self._clock = clock
        self._bell = bell
        self._captioner = captioner
        self._poll_seconds = poll_seconds

    async def create(self, parent: DatasetKey, settings: LabelSettings, request: RequestId) -> LabelJob:
        """The new job, queued; or the one that this request id made before."""
        texts.require(**{"label_job.trigger_word": settings.trigger_word})
        now = self._clock.now()
        key = JobKey(parent, new_id())
        job = LabelJob(
            key=key,
            overwrite=settings.overwrite,
            trigger_word=settings.trigger_word.strip(),
            batch_size=settings.batch_size or DEFAULT_BATCH_SIZE,
            max_tokens=settings.max_tokens or DEFAULT_MAX_TOKENS,
            captioner=self._captioner,
            state=JobState.QUEUED,
            create_time=now,
            etag=new_id(),
        )
        async with self._records.transaction() as unit:
            contents.require_no_texts(await unit.datasets.get(parent, lock=True))
            first_name = await unit.remember(parent.brand, request, key.name, now)
            if first_name is not None:
                return await unit.jobs.get(JobKey(parent, first_name.rsplit("/", 1)[1]))
            job, events = job_rules.told(job, now, JobState.QUEUED)
            await unit.jobs.add(job)
            await unit.jobs.add_events(key, events)
        self._bell.ring()
        return job

    async def get(self, key: JobKey) -> LabelJob:
        """NotFound when there is none."""
        async with self._records.snapshot() as unit:
            return await unit.jobs.get(key)

    async def page(self, parent: DatasetKey, query: ListQuery) -> Page[LabelJob]:
        """Jobs of a dataset, the newest first unless asked otherwise."""
        async with self._records.snapshot() as unit:
            await unit.datasets.get(parent)
            return await unit.jobs.page(parent, query)

    async def cancel(self, key: JobKey) -> LabelJob:
        """Asks for the job's end: at once while it is queued, else after the batch under way."""
        async with self._records.transaction() as unit:
            job, events = job_rules.cancelled(await unit.jobs.get(key, lock=True), self._clock.now())
            if events:
                await unit.jobs.replace(job)
                await unit.jobs.add_events(key, events)
        self._bell.ring()
        return job

    async def watch(self, key: JobKey, after_sequence: int) -> AsyncIterator[LabelEvent]:
        """Events with a larger number, then those to come, until the job has ended. NotFound when it is
        deleted.
        """
        while True:
            ticket = self._bell.ticket()
            async with self._records.snapshot() as unit:
                job = await unit.jobs.get(key)
                events = await unit.jobs.events_after(key, after_sequence, _EVENTS_AT_ONCE)
            for event in events:
                yield event
                after_sequence = event.sequence
            if after_sequence >= job.last_sequence:
                if job.state.is_final:
                    return
                await self._bell.wait(ticket, self._poll_seconds)

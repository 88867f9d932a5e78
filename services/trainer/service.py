"""Use cases of those who want a LoRA: create, follow, cancel and resume training jobs."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from servicekit import names
from servicekit.clock import Clock
from servicekit.errors import NotFound
from servicekit.identity import current_principal
from servicekit.ids import new_id
from services.trainer.defaults import refuse
from services.trainer.domain import Job, has_ended
from services.trainer.events import Event, JobArtifact, MetricPoint
from services.trainer.planning import Plan, Planner
from services.trainer.ports import Artifacts, Bell, JobPage, JobQuery, JobReader, JobRecord, Jobs
from services.trainer.service_packing import PackingService
from services.trainer.spec import SpecDraft

BRAND: Final = "brands/{brand}"
JOB: Final = "brands/{brand}/trainingJobs/{training_job}"
_DEFAULT_POINTS: Final = 1000
_EVENTS_AT_ONCE: Final = 500


@dataclass(frozen=True, kw_only=True, slots=True)
class NewJob:
    """What a caller asks for. `body_digest` tells whether two requests with one id ask for the same."""

    brand: str
    draft: SpecDraft
    display_name: str
    priority: int
    request_id: str
    body_digest: str


@dataclass(frozen=True, slots=True)
class Download:
    """A file of a job and its bytes."""

    artifact: JobArtifact
    chunks: AsyncIterator[bytes]


class TrainerService:
    """Training jobs, for those who want a LoRA."""

    def __init__(
        self,
        jobs: Jobs,
        planner: Planner,
        artifacts: Artifacts,
        bell: Bell,
        clock: Clock,
        packer: PackingService,
        *,
        watch_poll: timedelta = timedelta(seconds=0.5),
    ) -> None:
        self._jobs = jobs
        self._planner = planner
        self._artifacts = artifacts
        self._bell = bell
        self._clock = clock
        self._packer = packer
        self._watch_poll = watch_poll

    async def create(self, new: NewJob) -> JobRecord:
        """Queues a job; a repeated request gets the job that the first one made."""
        creator = current_principal().subject
        if new.request_id:
            async with self._jobs.snapshot() as reader:
                earlier = await reader.answered(new.brand, new.request_id, new.body_digest)
                if earlier is not None:
                    return await self._found(reader, earlier)
        plan = await self._plan(new.brand, new.draft, prefix="training_job.spec")
        job = self._new_job(new, plan, creator)
        async with self._jobs.transaction() as transaction:
            if new.request_id:
                first = await transaction.remember(new.brand, new.request_id, new.body_digest, job.name)
                if first is not None:
                    return await self._found(transaction, first)
            await transaction.insert(job)
            record = await self._found(transaction, job.name)
        self._bell.ring(job.name)
        return record

    async def validate(self, brand: str, draft: SpecDraft) -> Plan:
        """The plan that a job of this draft would have; nothing is kept of it."""
        return await self._plan(brand, draft, prefix="spec")

    async def get(self, name: str) -> JobRecord:
        """The job; NotFound."""
        async with self._jobs.snapshot() as reader:
            return await self._found(reader, name)

    async def page(self, parent: str, query: JobQuery) -> JobPage:
        """A page of the brand's jobs, or, for `brands/-`, of all brands that the caller may use."""
        brand = names.parse(BRAND, parent, field="parent", wildcard=True)["brand"]
        brands = current_principal().brands if brand == names.WILDCARD else frozenset({brand})
        async with self._jobs.snapshot() as reader:
            page = await reader.page(query, brands)
            return replace(page, records=tuple(await self._packer.placed(reader, page.records)))

    async def cancel(self, name: str) -> JobRecord:
        """Ends the job, at once when it waits; FailedPrecondition when it has ended."""
        return await self._change(name, cancel=True)

    async def resume(self, name: str) -> JobRecord:
        """Queues the failed or cancelled job again, to go on from its last checkpoint."""
        return await self._change(name, cancel=False)

    async def watch(self, name: str, after: int) -> AsyncIterator[Event]:
        """Events with a larger number, then those to come, until the job has ended."""
        while True:
            async with self._jobs.snapshot() as reader:
                head = await reader.head(name)
                if head is None:
                    raise NotFound.of("TrainingJob", name)
                events = await reader.events(name, after=after, limit=_EVENTS_AT_ONCE)
            for event in events:
                after = event.sequence
                yield event
            if after < head.last_sequence:
                continue
            if has_ended(head.state):
                return
            await self._bell.wait(name, self._watch_poll)

    async def metrics(self, name: str, max_points: int) -> list[MetricPoint]:
        """Figures of the job's steps, evenly thinned."""
        async with self._jobs.snapshot() as reader:
            if await reader.head(name) is None:
                raise NotFound.of("TrainingJob", name)
            return await reader.points(name, at_most=max_points or _DEFAULT_POINTS)

    async def download(self, name: str, file_name: str) -> Download:
        """A file that the job made."""
        async with self._jobs.snapshot() as reader:
            artifact = await reader.artifact(name, file_name)
        if artifact is None:
            raise NotFound.of("JobArtifact", f"{name}/{file_name}")
        return Download(artifact, self._artifacts.open(artifact.blob.sha256))

    async def _plan(self, brand: str, draft: SpecDraft, *, prefix: str) -> Plan:
        plan = await self._planner.plan(brand, draft, prefix=prefix)
        refuse(await self._packer.too_large(plan.spec, plan.sources.base.sha256, prefix))
        return plan

    async def _change(self, name: str, *, cancel: bool) -> JobRecord:
        async with self._jobs.transaction() as transaction:
            job = await transaction.lock(name)
            if job is None:
                raise NotFound.of("TrainingJob", name)
            if cancel:
                job.cancel(self._clock.now())
            else:
                job.resume(self._clock.now())
            await transaction.save(job)
            record = await self._found(transaction, name)
        self._bell.ring(name)
        return record

    async def _found(self, reader: JobReader, name: str) -> JobRecord:
        record = await reader.find(name)
        if record is None:
            raise NotFound.of("TrainingJob", name)
        return (await self._packer.placed(reader, [record]))[0]

    def _new_job(self, new: NewJob, plan: Plan, creator: str) -> Job:
        now = self._clock.now()
        job = Job(
            name=names.format_name(JOB, brand=new.brand, training_job=new_id()),
            brand=new.brand,
            display_name=new.display_name,
            creator=creator,
            spec=plan.spec,
            sources=plan.sources,
            total_steps=plan.total_steps,
            advice=plan.advice,
            priority=new.priority,
            registration_id=str(uuid.uuid4()),
            create_time=now,
            line_time=now,
            not_before=now,
        )
        job.begin(now)
        return job

"""Training jobs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

from brandloom import _names
from brandloom._calls import new_request_id
from brandloom._convert.events import training_event
from brandloom._convert.fields import from_proto, to_proto
from brandloom._download import save_stream
from brandloom._files import OnProgress
from brandloom._jobs import job_events, succeeded
from brandloom._replica import replica, spec_of_version
from brandloom._transport import Link
from brandloom.api.registry.v1 import registry_pb2
from brandloom.api.trainer.v1 import resources_pb2, trainer_pb2
from brandloom.types.events import TrainingEvent
from brandloom.types.registry import Brand, Lora, LoraVersion
from brandloom.types.training import JobArtifact, MetricPoint, SpecCheck, TrainingJob
from brandloom.types.training_spec import TrainingSpec


class AsyncTraining:
    """Jobs that learn LoRAs."""

    def __init__(self, trainer: Link, registry: Link) -> None:
        self._trainer = trainer
        self._registry = registry

    async def create(
        self,
        spec: TrainingSpec,
        *,
        display_name: str = "",
        priority: int = 0,
        request_id: str | None = None,
    ) -> TrainingJob:
        """Queues a job in the brand of the spec's LoRA. The answer shows all defaults and carries advice."""
        job = resources_pb2.TrainingJob(
            display_name=display_name, priority=priority, spec=to_proto(spec, resources_pb2.TrainingSpec)
        )
        request = trainer_pb2.CreateTrainingJobRequest(
            parent=_brand_of(spec), training_job=job, request_id=request_id or new_request_id()
        )
        return from_proto(TrainingJob, await self._trainer.call("CreateTrainingJob", request))

    async def validate(self, spec: TrainingSpec) -> SpecCheck:
        """The spec with its defaults filled in, and advice on it, without starting anything."""
        request = trainer_pb2.ValidateTrainingSpecRequest(
            parent=_brand_of(spec), spec=to_proto(spec, resources_pb2.TrainingSpec)
        )
        return from_proto(SpecCheck, await self._trainer.call("ValidateTrainingSpec", request))

    async def spec_of(
        self, source: str | TrainingJob | LoraVersion, *, lora: str | Lora = "", seed: int | None = None
    ) -> TrainingSpec:
        """The complete spec of a job (`acme/0190...`) or of what made a version (`acme/hero@3`).

        Revision, parent and seed are those that were used, so that training it gives the same again. `lora`
        and `seed` take the place of the original's; InvalidArgument for a LoRA of another brand.
        """
        name = _names.full(source)
        if "@" in name or "/loras/" in name:
            request = registry_pb2.GetLoraVersionRequest(name=_names.version(name))
            found = from_proto(LoraVersion, await self._registry.call("GetLoraVersion", request))
            spec = spec_of_version(found)
        else:
            spec = (await self.get(name)).spec
        return replica(spec, lora=_names.lora(lora) if lora else "", seed=seed)

    async def replicate(
        self,
        source: str | TrainingJob | LoraVersion,
        *,
        lora: str | Lora = "",
        seed: int | None = None,
        display_name: str = "",
        priority: int = 0,
        request_id: str | None = None,
    ) -> TrainingJob:
        """Queues a job with the spec of another one, or of a version: see `spec_of`."""
        spec = await self.spec_of(source, lora=lora, seed=seed)
        return await self.create(spec, display_name=display_name, priority=priority, request_id=request_id)

    async def get(self, job: str | TrainingJob) -> TrainingJob:
        """The job as it is now."""
        request = trainer_pb2.GetTrainingJobRequest(name=_names.training_job(job))
        return from_proto(TrainingJob, await self._trainer.call("GetTrainingJob", request))

    async def list(
        self,
        brand: str | Brand = "-",
        *,
        filter: str = "",  # noqa: A002
        order_by: str = "",
    ) -> AsyncIterator[TrainingJob]:
        """Jobs of a brand; without one, of all brands of the caller."""
        request = trainer_pb2.ListTrainingJobsRequest(
            parent=_names.brand(brand), filter=filter, order_by=order_by
        )
        async for message in self._trainer.items("ListTrainingJobs", request, "training_jobs"):
            yield from_proto(TrainingJob, message)

    async def cancel(self, job: str | TrainingJob) -> TrainingJob:
        """Asks the job to stop; it is CANCELLED when its worker has done so."""
        request = trainer_pb2.CancelTrainingJobRequest(name=_names.training_job(job))
        return from_proto(TrainingJob, await self._trainer.call("CancelTrainingJob", request))

    async def resume(self, job: str | TrainingJob) -> TrainingJob:
        """Puts a failed or cancelled job back into the queue; it goes on from its last checkpoint."""
        request = trainer_pb2.ResumeTrainingJobRequest(name=_names.training_job(job))
        return from_proto(TrainingJob, await self._trainer.call("ResumeTrainingJob", request))

    async def watch(self, job: str | TrainingJob, *, after_sequence: int = 0) -> AsyncIterator[TrainingEvent]:
        """The job's events after a number, then live until it ends; over broken connections without a gap."""
        name = _names.training_job(job)

        def connect(after: int) -> AsyncIterator[Any]:
            return self._trainer.stream(
                "WatchTrainingJob", trainer_pb2.WatchTrainingJobRequest(name=name, after_sequence=after)
            )

        events: AsyncIterator[TrainingEvent] = job_events(
            connect, training_event, partial(self.get, name), after_sequence=after_sequence
        )
        async for event in events:
            yield event

    async def wait(self, job: str | TrainingJob) -> TrainingJob:
        """The job, once it has succeeded; JobFailed when it fails or is cancelled."""
        return await succeeded(self.watch(job), partial(self.get, job))

    async def metrics(self, job: str | TrainingJob, *, max_points: int = 0) -> tuple[MetricPoint, ...]:
        """The job's curves, at most `max_points` (0: 1000) evenly spread."""
        request = trainer_pb2.GetMetricsRequest(name=_names.training_job(job), max_points=max_points)
        answer = await self._trainer.call("GetMetrics", request)
        return tuple(from_proto(MetricPoint, point) for point in answer.points)

    async def download(
        self,
        job: str | TrainingJob,
        file: str | JobArtifact,
        destination: str | Path,
        *,
        on_progress: OnProgress | None = None,
    ) -> Path:
        """Writes one of the job's files to a path or into a folder; digest checked, all or nothing."""
        file_name = file if isinstance(file, str) else file.file_name
        request = trainer_pb2.DownloadJobArtifactRequest(name=_names.training_job(job), file_name=file_name)
        return await save_stream(
            self._trainer.stream("DownloadJobArtifact", request), destination, on_progress
        )


def _brand_of(spec: TrainingSpec) -> str:
    return spec.lora.partition("/loras/")[0]

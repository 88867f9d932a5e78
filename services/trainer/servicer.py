"""RPC methods of the TrainerService: convert, call, convert."""

# ruff: noqa: N802 - RPC methods have the names of the API

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from brandloom.api.common.v1 import artifact_pb2
from brandloom.api.trainer.v1 import resources_pb2, trainer_pb2, trainer_pb2_grpc
from servicekit import names
from servicekit.drain import Drain
from servicekit.identity import current_principal
from servicekit.message_digest import message_digest
from servicekit.text_rules import refuse_nul
from services.trainer.convert import (
    advice_to_proto,
    blob_to_proto,
    event_to_proto,
    job_to_proto,
    point_to_proto,
)
from services.trainer.convert_spec import draft_from_proto, spec_to_proto
from services.trainer.discretion import event_for_guests, job_for_guests
from services.trainer.events import Event
from services.trainer.ports import JobQuery, JobRecord
from services.trainer.service import BRAND, NewJob, TrainerService


class TrainerServicer(trainer_pb2_grpc.TrainerServiceServicer):
    """Training jobs, for those who want a LoRA."""

    def __init__(self, service: TrainerService, drain: Drain) -> None:
        self._service = service
        self._drain = drain

    async def CreateTrainingJob(
        self, request: trainer_pb2.CreateTrainingJobRequest, context: Any
    ) -> resources_pb2.TrainingJob:
        """Queues a job."""
        refuse_nul(request)
        new = NewJob(
            brand=names.parse(BRAND, request.parent, field="parent")["brand"],
            draft=draft_from_proto(request.training_job.spec),
            display_name=request.training_job.display_name,
            priority=request.training_job.priority,
            request_id=request.request_id,
            body_digest=message_digest(request),
        )
        return _job(await self._service.create(new))

    async def GetTrainingJob(
        self, request: trainer_pb2.GetTrainingJobRequest, context: Any
    ) -> resources_pb2.TrainingJob:
        """One job."""
        return _job(await self._service.get(request.name))

    async def ListTrainingJobs(
        self, request: trainer_pb2.ListTrainingJobsRequest, context: Any
    ) -> trainer_pb2.ListTrainingJobsResponse:
        """A page of jobs."""
        refuse_nul(request)
        query = JobQuery(
            filter=request.filter,
            order_by=request.order_by,
            page_size=request.page_size,
            page_token=request.page_token,
        )
        page = await self._service.page(request.parent, query)
        return trainer_pb2.ListTrainingJobsResponse(
            training_jobs=[_job(record) for record in page.records],
            next_page_token=page.next_page_token,
        )

    async def CancelTrainingJob(
        self, request: trainer_pb2.CancelTrainingJobRequest, context: Any
    ) -> resources_pb2.TrainingJob:
        """Asks a job to stop."""
        return _job(await self._service.cancel(request.name))

    async def ResumeTrainingJob(
        self, request: trainer_pb2.ResumeTrainingJobRequest, context: Any
    ) -> resources_pb2.TrainingJob:
        """Queues a failed or cancelled job again."""
        return _job(await self._service.resume(request.name))

    async def WatchTrainingJob(
        self, request: trainer_pb2.WatchTrainingJobRequest, context: Any
    ) -> AsyncIterator[resources_pb2.TrainingEvent]:
        """Events until the job has ended."""
        events = self._service.watch(request.name, request.after_sequence)
        async for event in self._drain.until_begun(events):
            yield _event(event)

    async def GetMetrics(
        self, request: trainer_pb2.GetMetricsRequest, context: Any
    ) -> trainer_pb2.GetMetricsResponse:
        """Figures by step."""
        points = await self._service.metrics(request.name, request.max_points)
        return trainer_pb2.GetMetricsResponse(points=[point_to_proto(point) for point in points])

    async def ValidateTrainingSpec(
        self, request: trainer_pb2.ValidateTrainingSpecRequest, context: Any
    ) -> trainer_pb2.ValidateTrainingSpecResponse:
        """The plan of a spec."""
        refuse_nul(request)
        brand = names.parse(BRAND, request.parent, field="parent")["brand"]
        plan = await self._service.validate(brand, draft_from_proto(request.spec))
        return trainer_pb2.ValidateTrainingSpecResponse(
            spec=spec_to_proto(plan.spec),
            advice=[advice_to_proto(advice) for advice in plan.advice],
            total_steps=plan.total_steps,
        )

    async def DownloadJobArtifact(
        self, request: trainer_pb2.DownloadJobArtifactRequest, context: Any
    ) -> AsyncIterator[artifact_pb2.FileChunk]:
        """A file of a job: what it is, then its bytes."""
        download = await self._service.download(request.name, request.file_name)
        artifact = download.artifact
        yield artifact_pb2.FileChunk(
            artifact=blob_to_proto(artifact.blob, artifact.media_type), file_name=artifact.file_name
        )
        async for chunk in download.chunks:
            yield artifact_pb2.FileChunk(data=chunk)


def _job(record: JobRecord) -> resources_pb2.TrainingJob:
    """The job as this caller may see it."""
    return job_to_proto(record if current_principal().administrator else job_for_guests(record))


def _event(event: Event) -> resources_pb2.TrainingEvent:
    """The event as this caller may see it."""
    return event_to_proto(event if current_principal().administrator else event_for_guests(event))

"""RPC methods of the TrainingWorkerService: convert, call, convert."""

# ruff: noqa: N802 - RPC methods have the names of the API

from __future__ import annotations

from typing import Any, Final

from brandloom.api.trainer.v1 import worker_pb2 as pb
from brandloom.api.trainer.v1 import worker_pb2_grpc
from services.trainer.convert import (
    FAMILIES,
    STATE_OF,
    advice_to_proto,
    blob_to_proto,
    duration,
    failure_from_proto,
    payload_from_proto,
    point_from_proto,
)
from services.trainer.convert_memory import memory_from_proto
from services.trainer.convert_spec import PRECISION_OF, spec_to_proto
from services.trainer.domain import Job
from services.trainer.leasing import PackKey, Wish
from services.trainer.preemption import Seat
from services.trainer.service_packing import PackingService
from services.trainer.service_workers import Completion, Held, Instruction, Report, WorkerService

SAFETENSORS: Final = "application/octet-stream"
_JSON_LINES: Final = "application/jsonl"
_ACTIONS: Final = {
    Instruction.CONTINUE: pb.LeaseInstruction.ACTION_CONTINUE,
    Instruction.CANCEL: pb.LeaseInstruction.ACTION_CANCEL,
    Instruction.ABANDON: pb.LeaseInstruction.ACTION_ABANDON,
    Instruction.PREEMPT: pb.LeaseInstruction.ACTION_PREEMPT,
}


# Workers act on the jobs of every brand.
_SERVICE: Final = pb.DESCRIPTOR.services_by_name["TrainingWorkerService"]
ADMINISTRATORS_ONLY: Final = frozenset(_SERVICE.methods_by_name)


class TrainingWorkerServicer(worker_pb2_grpc.TrainingWorkerServiceServicer):
    """Leases of jobs, for workers."""

    def __init__(self, service: WorkerService, packer: PackingService) -> None:
        self._service = service
        self._packer = packer

    async def LeaseTrainingJobs(
        self, request: pb.LeaseTrainingJobsRequest, context: Any
    ) -> pb.LeaseTrainingJobsResponse:
        """Jobs for one pack."""
        jobs = await self._service.lease(seat_of(request), wish_of(request))
        timeout = duration(self._service.lease_timeout)
        return pb.LeaseTrainingJobsResponse(leases=[_lease(job, timeout) for job in jobs])

    async def Heartbeat(self, request: pb.HeartbeatRequest, context: Any) -> pb.HeartbeatResponse:
        """Renews leases."""
        answers = await self._service.heartbeat(request.worker, [_held(lease) for lease in request.leases])
        instructions = [
            pb.LeaseInstruction(job=held.job, action=_ACTIONS[answer]) for held, answer in answers
        ]
        return pb.HeartbeatResponse(instructions=instructions)

    async def ReportTrainingEvents(
        self, request: pb.ReportTrainingEventsRequest, context: Any
    ) -> pb.ReportTrainingEventsResponse:
        """What happened to a job."""
        report = Report(
            held=_held(request.lease),
            payloads=[payload_from_proto(event) for event in request.events],
            points=[point_from_proto(point) for point in request.points],
        )
        return pb.ReportTrainingEventsResponse(action=_ACTIONS[await self._service.report(report)])

    async def ReportMemory(self, request: pb.ReportMemoryRequest, context: Any) -> pb.ReportMemoryResponse:
        """What was measured."""
        await self._packer.put_memory(memory_from_proto(request))
        return pb.ReportMemoryResponse()

    async def CompleteTrainingJob(
        self, request: pb.CompleteTrainingJobRequest, context: Any
    ) -> pb.CompleteTrainingJobResponse:
        """The end of the worker's work on a job."""
        completion = Completion(
            held=_held(request.lease),
            state=STATE_OF[request.state],
            lora_version=request.lora_version,
            failure=failure_from_proto(request.error) if request.HasField("error") else None,
            retryable=request.retryable,
        )
        await self._service.complete(completion)
        return pb.CompleteTrainingJobResponse()


def seat_of(request: pb.LeaseTrainingJobsRequest) -> Seat:
    """Who asks."""
    return Seat(request.worker, request.places or request.max_jobs, request.device)


def wish_of(request: pb.LeaseTrainingJobsRequest) -> Wish:
    """What a worker asks for."""
    joining = None
    if request.base_model_sha256 and (request.joining or request.resolution):
        joining = PackKey(request.base_model_sha256, request.resolution, PRECISION_OF[request.precision])
    return Wish(max_jobs=request.max_jobs, joining=joining, base_sha256=request.base_model_sha256)


def _held(lease: pb.HeldLease) -> Held:
    return Held(lease.job, lease.fencing_token)


def _lease(job: Job, timeout: Any) -> pb.TrainingLease:
    sources, parent, checkpoint = job.sources, job.sources.parent, job.checkpoint
    return pb.TrainingLease(
        job=job.name,
        fencing_token=job.fencing_token,
        lease_timeout=timeout,
        spec=spec_to_proto(job.spec),
        attempt=job.attempt,
        base_model_source=sources.base.source,
        base_model_sha256=sources.base.sha256,
        dataset_revision=sources.revision.name,
        dataset_manifest=blob_to_proto(sources.revision.manifest, _JSON_LINES),
        parent_artifact=blob_to_proto(parent.file, SAFETENSORS) if parent else None,
        checkpoint=blob_to_proto(checkpoint.blob, SAFETENSORS) if checkpoint else None,
        checkpoint_step=checkpoint.step if checkpoint else 0,
        registration_id=job.registration_id,
        family=FAMILIES[sources.base.family],
        total_steps=job.total_steps,
        prior_manifest=blob_to_proto(sources.prior.manifest, _JSON_LINES) if sources.prior else None,
        advice=[advice_to_proto(advice) for advice in job.advice],
    )

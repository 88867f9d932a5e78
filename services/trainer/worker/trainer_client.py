"""The trainer, over gRPC, as its workers see it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, TypeVar

import grpc.aio

from brandloom.api.trainer.v1 import trainer_pb2, trainer_pb2_grpc, worker_pb2, worker_pb2_grpc
from servicekit.errors import Aborted, DeadlineExceeded, Unavailable
from services.trainer.convert import (
    STATES,
    artifact_from_proto,
    failure_to_proto,
    payload_to_proto,
    point_from_proto,
    point_to_proto,
)
from services.trainer.convert_memory import memory_to_proto
from services.trainer.convert_spec import PRECISIONS
from services.trainer.events import ArtifactKind, Failure, JobArtifact, JobState, MetricPoint, Payload
from services.trainer.leasing import PackKey
from services.trainer.memory_figures import BaseMemory
from services.trainer.service_workers import Instruction
from services.trainer.worker.leases import LeasedJob, lease_from_proto
from services.trainer.worker.patience import CALL_SECONDS, Patience, once

T = TypeVar("T")

_INSTRUCTIONS: Final[Mapping[int, Instruction]] = {
    worker_pb2.LeaseInstruction.ACTION_CONTINUE: Instruction.CONTINUE,
    worker_pb2.LeaseInstruction.ACTION_CANCEL: Instruction.CANCEL,
    worker_pb2.LeaseInstruction.ACTION_ABANDON: Instruction.ABANDON,
    worker_pb2.LeaseInstruction.ACTION_PREEMPT: Instruction.PREEMPT,
}
_MAX_POINTS: Final = 10_000


class TrainerClient:
    """TrainingWorkerService over a channel, for the worker of one name."""

    def __init__(
        self, channel: grpc.aio.Channel, worker: str, patience: Patience, *, places: int = 0, device: str = ""
    ) -> None:
        """`places` is the most jobs that the worker trains together, `device` what it trains on."""
        self.worker = worker
        self._places = places
        self._device = device
        self._patience = patience
        self._stub = worker_pb2_grpc.TrainingWorkerServiceStub(channel)
        self._jobs = trainer_pb2_grpc.TrainerServiceStub(channel)

    async def lease(self, max_jobs: int, joining: PackKey | None) -> list[LeasedJob]:
        """New jobs, of the pack when one is being trained; Unavailable when the trainer is away."""
        request = worker_pb2.LeaseTrainingJobsRequest(
            worker=self.worker, max_jobs=max_jobs, places=self._places, device=self._device
        )
        if joining is not None:
            request.joining = True
            request.base_model_sha256 = joining.base_sha256
            request.resolution = joining.resolution
            request.precision = PRECISIONS[joining.precision]
        answer = await once(lambda: self._stub.LeaseTrainingJobs(request, timeout=CALL_SECONDS))
        return [lease_from_proto(lease) for lease in answer.leases]

    async def heartbeat(self, leases: Sequence[LeasedJob]) -> dict[str, Instruction]:
        """Keeps the leases; what to do with each job. Unavailable when the trainer is away."""
        held = [_held(lease) for lease in leases]
        request = worker_pb2.HeartbeatRequest(worker=self.worker, leases=held)
        answer = await once(lambda: self._stub.Heartbeat(request, timeout=CALL_SECONDS))
        return {
            told.job: _INSTRUCTIONS.get(told.action, Instruction.CONTINUE) for told in answer.instructions
        }

    async def report_memory(self, memory: BaseMemory) -> None:
        """Tells what was measured; Unavailable when the trainer is away."""
        request = memory_to_proto(memory)
        await once(lambda: self._stub.ReportMemory(request, timeout=CALL_SECONDS))

    async def report(
        self, lease: LeasedJob, payloads: Sequence[Payload], points: Sequence[MetricPoint]
    ) -> Instruction:
        """Tells what happened and hears how to go on; Aborted when the lease is lost or counts as lost."""
        request = worker_pb2.ReportTrainingEventsRequest(
            lease=_held(lease),
            events=[payload_to_proto(payload) for payload in payloads],
            points=[point_to_proto(point) for point in points],
        )
        answer = await self._patiently(
            lambda: self._stub.ReportTrainingEvents(request, timeout=CALL_SECONDS), "ReportTrainingEvents"
        )
        return _INSTRUCTIONS.get(answer.action, Instruction.CONTINUE)

    async def complete(
        self,
        lease: LeasedJob,
        state: JobState,
        *,
        lora_version: str = "",
        failure: Failure | None = None,
        retryable: bool = False,
    ) -> None:
        """Ends the work on a job; Aborted when the lease is lost or counts as lost."""
        request = worker_pb2.CompleteTrainingJobRequest(
            lease=_held(lease),
            state=STATES[state],
            lora_version=lora_version,
            error=failure_to_proto(failure) if failure else None,
            retryable=retryable,
        )
        await self._patiently(
            lambda: self._stub.CompleteTrainingJob(request, timeout=CALL_SECONDS), "CompleteTrainingJob"
        )

    async def points(self, lease: LeasedJob) -> list[MetricPoint]:
        """The job's figures of all attempts; Aborted when the lease counts as lost."""
        request = trainer_pb2.GetMetricsRequest(name=lease.name, max_points=_MAX_POINTS)
        answer = await self._patiently(
            lambda: self._jobs.GetMetrics(request, timeout=CALL_SECONDS), "GetMetrics"
        )
        return [point_from_proto(point) for point in answer.points]

    async def samples(self, lease: LeasedJob) -> list[JobArtifact]:
        """The job's samples of all attempts, the newest of them if they are many.

        Aborted when the lease counts as lost.
        """
        request = trainer_pb2.GetTrainingJobRequest(name=lease.name)
        job = await self._patiently(
            lambda: self._jobs.GetTrainingJob(request, timeout=CALL_SECONDS), "GetTrainingJob"
        )
        files = [artifact_from_proto(artifact) for artifact in job.artifacts]
        return [file for file in files if file.kind is ArtifactKind.SAMPLE]

    async def _patiently(self, call: Callable[[], Awaitable[T]], what: str) -> T:
        """The answer. A trainer that was silent for so long has given, or will give, the job to another."""
        try:
            return await self._patience.until_answered(call, what)
        except (Unavailable, DeadlineExceeded) as error:
            raise Aborted(
                f"the trainer did not answer for {self._patience.seconds:g} s", reason="TRAINER_SILENT"
            ) from error


def _held(lease: LeasedJob) -> worker_pb2.HeldLease:
    return worker_pb2.HeldLease(job=lease.name, fencing_token=lease.token)

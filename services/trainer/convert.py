"""Jobs, events, figures and what workers say: proto <-> domain."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Final

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from brandloom.api.common.v1 import artifact_pb2, family_pb2, job_pb2
from brandloom.api.trainer.v1 import resources_pb2 as pb
from servicekit.artifacts.port import artifact_key
from servicekit.errors import InvalidArgument
from services.trainer.advice import Advice
from services.trainer.convert_spec import spec_to_proto
from services.trainer.events import (
    ArtifactKind,
    Event,
    Failure,
    JobArtifact,
    JobState,
    MetricPoint,
    Notice,
    Payload,
    Progress,
    VersionRegistered,
)
from services.trainer.placement import Standing
from services.trainer.ports import JobRecord
from services.trainer.sources import Blob

STATES: Final[Mapping[JobState, job_pb2.JobState]] = MappingProxyType(
    {
        JobState.QUEUED: job_pb2.JOB_STATE_QUEUED,
        JobState.PREPARING: job_pb2.JOB_STATE_PREPARING,
        JobState.RUNNING: job_pb2.JOB_STATE_RUNNING,
        JobState.SUCCEEDED: job_pb2.JOB_STATE_SUCCEEDED,
        JobState.FAILED: job_pb2.JOB_STATE_FAILED,
        JobState.CANCELLED: job_pb2.JOB_STATE_CANCELLED,
        JobState.CANCELLING: job_pb2.JOB_STATE_CANCELLING,
        JobState.PREEMPTED: job_pb2.JOB_STATE_PREEMPTED,
    }
)
STATE_OF: Final = {number: state for state, number in STATES.items()}
FAMILIES: Final[Mapping[str, family_pb2.ModelFamily]] = MappingProxyType(
    {
        "sd15": family_pb2.MODEL_FAMILY_SD15,
        "sdxl": family_pb2.MODEL_FAMILY_SDXL,
        "causal_lm": family_pb2.MODEL_FAMILY_CAUSAL_LM,
    }
)
FAMILY_OF: Final = {number: family for family, number in FAMILIES.items()}
_KINDS: Final = {
    ArtifactKind.LORA: pb.JobArtifact.KIND_LORA,
    ArtifactKind.LOSS_PLOT: pb.JobArtifact.KIND_LOSS_PLOT,
    ArtifactKind.SAMPLE: pb.JobArtifact.KIND_SAMPLE,
    ArtifactKind.TENSORBOARD: pb.JobArtifact.KIND_TENSORBOARD,
    ArtifactKind.CHECKPOINT: pb.JobArtifact.KIND_CHECKPOINT,
    ArtifactKind.PREVIEW_SHEET: pb.JobArtifact.KIND_PREVIEW_SHEET,
}
_STANDINGS: Final = {
    Standing.TRAINING: pb.Placement.STANDING_TRAINING,
    Standing.LEAVING: pb.Placement.STANDING_LEAVING,
    Standing.NEXT: pb.Placement.STANDING_NEXT,
    Standing.BACKING_OFF: pb.Placement.STANDING_BACKING_OFF,
    Standing.NO_WORKER: pb.Placement.STANDING_NO_WORKER,
    Standing.PACK_FULL: pb.Placement.STANDING_PACK_FULL,
    Standing.OTHER_PACKS: pb.Placement.STANDING_OTHER_PACKS,
}
_KIND_OF: Final = {number: kind for kind, number in _KINDS.items()}


def job_to_proto(record: JobRecord) -> pb.TrainingJob:
    """The job as callers see it."""
    job = record.job
    return pb.TrainingJob(
        name=job.name,
        display_name=job.display_name,
        spec=spec_to_proto(job.spec),
        state=STATES[job.state],
        progress=progress_to_proto(job.progress) if job.progress else None,
        error=failure_to_proto(job.error) if job.error else None,
        advice=[advice_to_proto(advice) for advice in job.advice],
        attempt=job.attempt,
        lora_version=job.lora_version,
        artifacts=[artifact_to_proto(artifact) for artifact in record.artifacts],
        create_time=timestamp(job.create_time),
        start_time=timestamp(job.start_time) if job.start_time else None,
        end_time=timestamp(job.end_time) if job.end_time else None,
        etag=job.etag,
        creator=job.creator,
        priority=job.priority,
        queue_position=record.placement.position if record.placement else 0,
        worker=job.lease.worker if job.lease else "",
        placement=_placement_to_proto(record) if record.placement else None,
    )


def _placement_to_proto(record: JobRecord) -> pb.Placement:
    placement, spec = record.placement, record.job.spec
    assert placement is not None
    size = f"{spec.resolution} px" if spec.resolution else "texts"
    return pb.Placement(
        standing=_STANDINGS[placement.standing],
        reason=placement.why,
        pack=f"{spec.base_model.rpartition('/')[2]}, {size}, {spec.precision}",
        companions=placement.companions,
        estimated_start_time=timestamp(placement.start) if placement.start else None,
    )


def advice_to_proto(advice: Advice) -> pb.Advice:
    """One piece of advice."""
    return pb.Advice(code=advice.code, field=advice.field, message=advice.message)


def advice_from_proto(message: pb.Advice) -> Advice:
    """One piece of advice."""
    return Advice(code=message.code, field=message.field, message=message.message)


def progress_to_proto(progress: Progress) -> pb.TrainingProgress:
    """Progress."""
    left = progress.seconds_left
    return pb.TrainingProgress(
        step=progress.step,
        total_steps=progress.total_steps,
        epoch=progress.epoch,
        loss=progress.loss,
        smoothed_loss=progress.smoothed_loss,
        learning_rate=progress.learning_rate,
        images_per_second=progress.images_per_second,
        time_left=None if left is None else duration(timedelta(seconds=left)),
        pack_size=progress.pack_size,
        validation_loss=progress.validation_loss,
        pack_images_per_second=progress.pack_images_per_second,
        device_memory_bytes=progress.device_memory_bytes,
    )


def progress_from_proto(message: pb.TrainingProgress) -> Progress:
    """Progress."""
    return Progress(
        step=message.step,
        total_steps=message.total_steps,
        epoch=message.epoch,
        loss=message.loss,
        smoothed_loss=message.smoothed_loss,
        learning_rate=message.learning_rate,
        images_per_second=message.images_per_second,
        seconds_left=message.time_left.ToTimedelta().total_seconds()
        if message.HasField("time_left")
        else None,
        pack_size=message.pack_size,
        validation_loss=_validation_loss(message),
        pack_images_per_second=message.pack_images_per_second,
        device_memory_bytes=message.device_memory_bytes,
    )


def blob_to_proto(blob: Blob, media_type: str) -> artifact_pb2.Artifact:
    """A file in the store."""
    return artifact_pb2.Artifact(
        uri=artifact_key(blob.sha256), sha256=blob.sha256, size_bytes=blob.size_bytes, media_type=media_type
    )


def artifact_to_proto(artifact: JobArtifact) -> pb.JobArtifact:
    """A file of a job."""
    return pb.JobArtifact(
        kind=_KINDS[artifact.kind],
        file_name=artifact.file_name,
        artifact=blob_to_proto(artifact.blob, artifact.media_type),
        step=artifact.step,
        prompt=artifact.prompt,
    )


def artifact_from_proto(message: pb.JobArtifact) -> JobArtifact:
    """A file of a job; InvalidArgument for a kind that is none."""
    if message.kind not in _KIND_OF:
        raise InvalidArgument.of("events.artifact.kind", "is required")
    return JobArtifact(
        kind=_KIND_OF[message.kind],
        file_name=message.file_name,
        blob=Blob(message.artifact.sha256, message.artifact.size_bytes),
        media_type=message.artifact.media_type,
        step=message.step,
        prompt=message.prompt,
    )


def failure_to_proto(failure: Failure) -> job_pb2.Failure:
    """Why something failed."""
    return job_pb2.Failure(reason=failure.reason, message=failure.message)


def failure_from_proto(message: job_pb2.Failure) -> Failure:
    """Why something failed."""
    return Failure(message.reason, message.message)


def event_to_proto(event: Event) -> pb.TrainingEvent:
    """An event with its number and time."""
    message = payload_to_proto(event.payload)
    message.sequence = event.sequence
    message.time.CopyFrom(timestamp(event.time))
    return message


def payload_to_proto(payload: Payload) -> pb.TrainingEvent:
    """An event as workers report it, without number and time."""
    match payload:
        case JobState():
            return pb.TrainingEvent(state=STATES[payload])
        case Progress():
            return pb.TrainingEvent(progress=progress_to_proto(payload))
        case JobArtifact():
            return pb.TrainingEvent(artifact=artifact_to_proto(payload))
        case Failure():
            return pb.TrainingEvent(error=failure_to_proto(payload))
        case Notice():
            return pb.TrainingEvent(notice=payload.text)
        case VersionRegistered():
            return pb.TrainingEvent(lora_version=payload.lora_version)


def payload_from_proto(message: pb.TrainingEvent) -> Payload:
    """What an event says; InvalidArgument when it says nothing."""
    match message.WhichOneof("event"):
        case "state" if message.state in STATE_OF:
            return STATE_OF[message.state]
        case "progress":
            return progress_from_proto(message.progress)
        case "artifact":
            return artifact_from_proto(message.artifact)
        case "error":
            return failure_from_proto(message.error)
        case "notice":
            return Notice(message.notice)
        case "lora_version":
            return VersionRegistered(message.lora_version)
        case _:
            raise InvalidArgument.of("events", "an event must say something")


def point_to_proto(point: MetricPoint) -> pb.MetricPoint:
    """Figures of a step."""
    return pb.MetricPoint(
        step=point.step,
        time=timestamp(point.time),
        loss=point.loss,
        smoothed_loss=point.smoothed_loss,
        learning_rate=point.learning_rate,
        images_per_second=point.images_per_second,
        validation_loss=point.validation_loss,
        pack_images_per_second=point.pack_images_per_second,
        device_memory_bytes=point.device_memory_bytes,
    )


def point_from_proto(message: pb.MetricPoint) -> MetricPoint:
    """Figures of a step."""
    return MetricPoint(
        step=message.step,
        time=moment(message.time),
        loss=message.loss,
        smoothed_loss=message.smoothed_loss,
        learning_rate=message.learning_rate,
        images_per_second=message.images_per_second,
        validation_loss=_validation_loss(message),
        pack_images_per_second=message.pack_images_per_second,
        device_memory_bytes=message.device_memory_bytes,
    )


def _validation_loss(message: pb.TrainingProgress | pb.MetricPoint) -> float | None:
    return message.validation_loss if message.HasField("validation_loss") else None


def timestamp(time: datetime) -> Timestamp:
    """An aware datetime as a Timestamp."""
    message = Timestamp()
    message.FromDatetime(time)
    return message


def moment(message: Timestamp) -> datetime:
    """A Timestamp as an aware datetime in UTC."""
    return message.ToDatetime(tzinfo=UTC)


def duration(delta: timedelta) -> Duration:
    """A timedelta as a Duration."""
    message = Duration()
    message.FromTimedelta(delta)
    return message

"""Jobs and events as rows and JSON, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from enum import StrEnum
from typing import Any

from services.trainer.advice import Advice
from services.trainer.domain import Checkpoint, Job, Lease
from services.trainer.events import (
    ArtifactKind,
    Event,
    Failure,
    JobArtifact,
    JobState,
    Notice,
    Payload,
    Progress,
    VersionRegistered,
)
from services.trainer.sources import BaseModel, Blob, DatasetRevision, LoraVersion, Sources
from services.trainer.spec import (
    AdapterSpec,
    BucketSpec,
    CaptionSpec,
    LossSpec,
    OptimizationSpec,
    Optimizer,
    Precision,
    PriorSpec,
    SampleSpec,
    Schedule,
    Target,
    TrainingSpec,
    ValidationSpec,
)
from services.trainer.tables import EventRow, JobRow


def write_job(job: Job, row: JobRow) -> None:
    """Puts everything of the job but its events into the row."""
    for column in (
        "name",
        "brand",
        "display_name",
        "creator",
        "priority",
        "attempt",
        "failures",
        "line_time",
        "not_before",
        "makes_way",
    ):
        setattr(row, column, getattr(job, column))
    for column in ("fencing_token", "completed_token", "registration_id", "lora_version", "total_steps"):
        setattr(row, column, getattr(job, column))
    for column in ("last_sequence", "create_time", "start_time", "end_time"):
        setattr(row, column, getattr(job, column))
    row.state = job.state.value
    row.lora = job.spec.lora
    row.base_model = job.spec.base_model
    row.dataset_revision = job.spec.dataset_revision
    key = job.pack_key
    row.base_sha256, row.resolution, row.precision = key.base_sha256, key.resolution, key.precision.value
    row.worker = job.lease.worker if job.lease else ""
    row.leased_at = job.lease.since if job.lease else None
    row.lease_expires_at = job.lease.expires_at if job.lease else None
    row.images_per_second = job.progress.images_per_second if job.progress else 0.0
    row.loss = job.progress.loss if job.progress else 0.0
    row.pack_images_per_second = job.progress.pack_images_per_second if job.progress else 0.0
    row.device_memory_bytes = job.progress.device_memory_bytes if job.progress else 0
    row.spec = plain(job.spec)
    row.sources = plain(job.sources)
    row.advice = [plain(advice) for advice in job.advice]
    row.progress = plain(job.progress) if job.progress else None
    row.error = plain(job.error) if job.error else None
    row.checkpoint = plain(job.checkpoint) if job.checkpoint else None


def read_job(row: JobRow) -> Job:
    """The job of a row, with no new events."""
    lease = None
    if row.leased_at is not None and row.lease_expires_at is not None:
        lease = Lease(row.worker, row.leased_at, row.lease_expires_at)
    return Job(
        name=row.name,
        brand=row.brand,
        display_name=row.display_name,
        creator=row.creator,
        spec=read_spec(row.spec),
        sources=_read_sources(row.sources),
        total_steps=row.total_steps,
        advice=tuple(Advice(**advice) for advice in row.advice),
        priority=row.priority,
        registration_id=row.registration_id,
        create_time=row.create_time,
        state=JobState(row.state),
        attempt=row.attempt,
        failures=row.failures,
        line_time=row.line_time,
        not_before=row.not_before,
        makes_way=row.makes_way,
        progress=Progress(**row.progress) if row.progress else None,
        error=Failure(**row.error) if row.error else None,
        lora_version=row.lora_version,
        lease=lease,
        fencing_token=row.fencing_token,
        completed_token=row.completed_token,
        checkpoint=_read_checkpoint(row.checkpoint),
        start_time=row.start_time,
        end_time=row.end_time,
        last_sequence=row.last_sequence,
    )


def write_event(job: str, event: Event) -> EventRow:
    """The event as a row."""
    kind, payload = _write_payload(event.payload)
    return EventRow(job=job, sequence=event.sequence, time=event.time, kind=kind, payload=payload)


def read_event(row: EventRow) -> Event:
    """The event of a row."""
    return Event(row.sequence, row.time, _read_payload(row.kind, row.payload))


def read_spec(data: Mapping[str, Any]) -> TrainingSpec:
    """A spec from its plain form; what jobs of an earlier version do not have is as it was for them."""
    adapter = {**data["adapter"], "targets": frozenset(map(Target, data["adapter"]["targets"]))}
    optimization = {
        **data["optimization"],
        "schedule": Schedule(data["optimization"]["schedule"]),
        "optimizer": Optimizer(data["optimization"].get("optimizer", Optimizer.ADAMW)),
    }
    samples = {**data["samples"], "prompts": tuple(data["samples"]["prompts"])}
    nested = {
        "adapter": AdapterSpec(**adapter),
        "optimization": OptimizationSpec(**optimization),
        "loss": LossSpec(**data["loss"]),
        "samples": SampleSpec(**samples),
        "trigger_words": tuple(data["trigger_words"]),
        "precision": Precision(data["precision"]),
        "validation": ValidationSpec(**data.get("validation", {})),
        "aspect_ratio_buckets": BucketSpec(**data.get("aspect_ratio_buckets", {})),
        "caption": CaptionSpec(**data.get("caption", {})),
        "prior_preservation": PriorSpec(**data.get("prior_preservation", {})),
    }
    return TrainingSpec(**{**data, **nested})


def plain(value: Any) -> dict[str, Any]:
    """A dataclass as JSON can hold it; sets become sorted lists."""
    found: dict[str, Any] = _plain(asdict(value))
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, frozenset):
        return sorted(_plain(item) for item in value)
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value.value if isinstance(value, StrEnum) else value


def _read_sources(data: Mapping[str, Any]) -> Sources:
    parent, prior = data["parent"], data.get("prior")
    return Sources(
        base=BaseModel(**data["base"]),
        revision=_read_revision(data["revision"]),
        parent=_read_version(parent) if parent else None,
        train_images=data["train_images"],
        prior=_read_revision(prior) if prior else None,
    )


def _read_revision(data: Mapping[str, Any]) -> DatasetRevision:
    nested = {"manifest": Blob(**data["manifest"]), "trigger_words": tuple(data["trigger_words"])}
    return DatasetRevision(**{**data, **nested})


def _read_version(data: Mapping[str, Any]) -> LoraVersion:
    nested = {"file": Blob(**data["file"]), "targets": frozenset(map(Target, data["targets"]))}
    return LoraVersion(**{**data, **nested})


def _read_checkpoint(data: Mapping[str, Any] | None) -> Checkpoint | None:
    return Checkpoint(Blob(**data["blob"]), data["step"]) if data else None


def _write_payload(payload: Payload) -> tuple[str, dict[str, Any]]:
    match payload:
        case JobState():
            return "state", {"state": payload.value}
        case Progress():
            return "progress", plain(payload)
        case JobArtifact():
            return "artifact", plain(payload)
        case Failure():
            return "failure", plain(payload)
        case Notice():
            return "notice", plain(payload)
        case VersionRegistered():
            return "version", plain(payload)


def _read_payload(kind: str, data: Mapping[str, Any]) -> Payload:
    match kind:
        case "state":
            return JobState(data["state"])
        case "progress":
            return Progress(**data)
        case "artifact":
            return JobArtifact(**{**data, "kind": ArtifactKind(data["kind"]), "blob": Blob(**data["blob"])})
        case "failure":
            return Failure(**data)
        case "notice":
            return Notice(**data)
        case "version":
            return VersionRegistered(**data)
        case _:
            raise ValueError(f"unknown kind of event {kind!r}")

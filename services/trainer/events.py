"""What happens to a job, in numbered events; and the small values that events carry."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from services.trainer.sources import Blob


class JobState(StrEnum):
    """Where a job is on its way; the allowed steps are in services.trainer.states."""

    QUEUED = "queued"
    PREPARING = "preparing"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    CANCELLING = "cancelling"
    PREEMPTED = "preempted"


class ArtifactKind(StrEnum):
    """What a file of a job is."""

    LORA = "lora"
    LOSS_PLOT = "loss_plot"
    SAMPLE = "sample"
    TENSORBOARD = "tensorboard"
    CHECKPOINT = "checkpoint"
    PREVIEW_SHEET = "preview_sheet"


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """How far a job is. `loss` is the mean of the last step, `smoothed_loss` its exponential moving average;
    `seconds_left` is None until two steps have shown how long one takes."""

    step: int
    total_steps: int
    epoch: int
    loss: float
    smoothed_loss: float
    learning_rate: float
    images_per_second: float
    seconds_left: float | None
    pack_size: int
    validation_loss: float | None = None
    """The newest; None before the first evaluation."""
    pack_images_per_second: float = 0.0
    """Of all jobs of the pack together."""
    device_memory_bytes: int = 0
    """What the worker has taken of its device's memory."""


@dataclass(frozen=True, kw_only=True, slots=True)
class JobArtifact:
    """A file that a job made; the file name is unique in the job, a later file replaces an earlier one."""

    kind: ArtifactKind
    file_name: str
    blob: Blob
    media_type: str
    step: int
    prompt: str = ""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a job failed: a stable word for programs, a sentence for its owner."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Notice:
    """Something worth knowing: a retry, what is being prepared. `reason` is that of the failure behind a
    retry."""

    text: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class VersionRegistered:
    """The registry has the job's result."""

    lora_version: str


Payload = JobState | Progress | JobArtifact | Failure | Notice | VersionRegistered


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a job; `sequence` counts from 1."""

    sequence: int
    time: datetime
    payload: Payload


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricPoint:
    """Figures of one optimizer step; `validation_loss` if the job was evaluated after it. The last two are
    those of its pack, as in Progress."""

    step: int
    time: datetime
    loss: float
    smoothed_loss: float
    learning_rate: float
    images_per_second: float
    validation_loss: float | None = None
    pack_images_per_second: float = 0.0
    device_memory_bytes: int = 0

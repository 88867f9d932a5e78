"""What a training job is, does and says."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from brandloom.types.common import Advice, Artifact, Failure, JobState
from brandloom.types.training_spec import TrainingSpec


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingProgress:
    """Where a job stands: losses are means over the step's rows, `time_left` is None until it can be told.

    `validation_loss` is the newest; None before the first evaluation. `pack_images_per_second` is that of all
    jobs that share its steps, `device_memory_bytes` what their worker has taken of its device.
    """

    step: int
    total_steps: int
    epoch: int
    loss: float
    smoothed_loss: float
    learning_rate: float
    images_per_second: float
    time_left: timedelta | None
    pack_size: int
    validation_loss: float | None = None
    pack_images_per_second: float = 0.0
    device_memory_bytes: int = 0


class JobArtifactKind(StrEnum):
    """What a file of a job is."""

    UNSPECIFIED = "UNSPECIFIED"
    LORA = "LORA"
    LOSS_PLOT = "LOSS_PLOT"
    SAMPLE = "SAMPLE"
    TENSORBOARD = "TENSORBOARD"
    CHECKPOINT = "CHECKPOINT"
    PREVIEW_SHEET = "PREVIEW_SHEET"


@dataclass(frozen=True, kw_only=True, slots=True)
class JobArtifact:
    """A file that a job made; `prompt` is a sample picture's."""

    kind: JobArtifactKind
    file_name: str
    artifact: Artifact
    step: int
    prompt: str


class Standing(StrEnum):
    """Why a job is where it is: in a pack, or waiting."""

    UNSPECIFIED = "UNSPECIFIED"
    TRAINING = "TRAINING"
    LEAVING = "LEAVING"
    NEXT = "NEXT"
    BACKING_OFF = "BACKING_OFF"
    NO_WORKER = "NO_WORKER"
    PACK_FULL = "PACK_FULL"
    OTHER_PACKS = "OTHER_PACKS"


@dataclass(frozen=True, kw_only=True, slots=True)
class Placement:
    """What the packer has decided about a job, and why in words.

    Jobs of one `pack` can train together; `companions` do so now. `estimated_start_time` of a queued job is
    None where nothing tells.
    """

    standing: Standing
    reason: str
    pack: str
    companions: int
    estimated_start_time: datetime | None


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingJob:
    """Learns one LoRA: `brands/{brand}/trainingJobs/{training_job}`."""

    name: str
    display_name: str
    spec: TrainingSpec
    state: JobState
    progress: TrainingProgress | None
    error: Failure | None
    advice: tuple[Advice, ...]
    attempt: int
    lora_version: str
    artifacts: tuple[JobArtifact, ...]
    create_time: datetime
    start_time: datetime | None
    end_time: datetime | None
    etag: str
    creator: str
    priority: int
    queue_position: int
    worker: str
    placement: Placement | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class SpecCheck:
    """A spec with every default filled in, advice on it, and how many steps it will take."""

    spec: TrainingSpec
    advice: tuple[Advice, ...]
    total_steps: int


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricPoint:
    """One point of a job's curves; `validation_loss` if the job was evaluated after the step."""

    step: int
    time: datetime
    loss: float
    smoothed_loss: float
    learning_rate: float
    images_per_second: float
    validation_loss: float | None = None
    pack_images_per_second: float = 0.0
    device_memory_bytes: int = 0

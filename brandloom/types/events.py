"""What jobs say while they run. `sequence` counts from 1 in each job; a watch goes on after any of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from brandloom.types.common import Failure, JobState
from brandloom.types.labeler import LabeledImage, LabelProgress
from brandloom.types.training import JobArtifact, TrainingProgress


@dataclass(frozen=True, kw_only=True, slots=True)
class StateEvent:
    """The job has changed state."""

    sequence: int
    time: datetime
    state: JobState


@dataclass(frozen=True, kw_only=True, slots=True)
class ErrorEvent:
    """Something failed; whether the job goes on is told by its state."""

    sequence: int
    time: datetime
    error: Failure


@dataclass(frozen=True, kw_only=True, slots=True)
class NoticeEvent:
    """Something worth knowing: a retry, what is being prepared."""

    sequence: int
    time: datetime
    notice: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ProgressEvent:
    """A training step was done."""

    sequence: int
    time: datetime
    progress: TrainingProgress


@dataclass(frozen=True, kw_only=True, slots=True)
class ArtifactEvent:
    """A file of the job is in the store."""

    sequence: int
    time: datetime
    artifact: JobArtifact


@dataclass(frozen=True, kw_only=True, slots=True)
class VersionEvent:
    """The job has registered its LoRA version."""

    sequence: int
    time: datetime
    lora_version: str


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelProgressEvent:
    """Pictures were captioned."""

    sequence: int
    time: datetime
    progress: LabelProgress


@dataclass(frozen=True, kw_only=True, slots=True)
class LabeledEvent:
    """One picture was captioned, or could not be."""

    sequence: int
    time: datetime
    labeled: LabeledImage


TrainingEvent = StateEvent | ProgressEvent | ArtifactEvent | ErrorEvent | NoticeEvent | VersionEvent
LabelEvent = StateEvent | LabelProgressEvent | LabeledEvent | ErrorEvent


def is_last_event(event: TrainingEvent | LabelEvent) -> bool:
    """Whether the job will say no more, unless it is resumed."""
    return isinstance(event, StateEvent) and event.state.ended

"""Types that several services share."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ModelFamily(StrEnum):
    """Architecture family of a base model. LoRAs fit bases of their own family only."""

    UNSPECIFIED = "UNSPECIFIED"
    SD15 = "SD15"
    SDXL = "SDXL"
    CAUSAL_LM = "CAUSAL_LM"


class JobState(StrEnum):
    """Where long work stands."""

    UNSPECIFIED = "UNSPECIFIED"
    QUEUED = "QUEUED"
    PREPARING = "PREPARING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    CANCELLING = "CANCELLING"
    PREEMPTED = "PREEMPTED"

    @property
    def ended(self) -> bool:
        """Whether the job will not go on by itself."""
        return self in (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)


@dataclass(frozen=True, kw_only=True, slots=True)
class Artifact:
    """A file in the artifact store; its SHA-256 (64 lower-case hex digits) names the bytes."""

    uri: str
    sha256: str
    size_bytes: int
    media_type: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """Why a job or a file failed: an UPPER_SNAKE reason for programs, a message for people."""

    reason: str
    message: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Advice:
    """Something about a spec that its owner may want to change. Never blocks a job."""

    code: str
    field: str
    message: str


@dataclass(frozen=True, kw_only=True, slots=True)
class TransferProgress:
    """Bytes and files moved so far, of how many; a total of 0 bytes is not known yet."""

    done_bytes: int
    total_bytes: int
    done_files: int
    total_files: int


class HealthStatus(StrEnum):
    """What a service says of itself, or that it says nothing."""

    SERVING = "SERVING"
    NOT_SERVING = "NOT_SERVING"
    UNREACHABLE = "UNREACHABLE"


@dataclass(frozen=True, kw_only=True, slots=True)
class ServiceHealth:
    """State of one service, asked at its address."""

    service: str
    address: str
    status: HealthStatus
    detail: str

"""What the client raises.

BrandloomError
├── ConfigurationError      addresses, token or files on this side are wrong
├── CorruptDownload         downloaded bytes are not the ones that were announced
├── JobFailed               a job that was waited for has failed or was cancelled
└── ApiError                a service's answer, with its reason, metadata and request id
    ├── InvalidArgument     fields of the request are wrong: `violations`
    ├── NotFound
    ├── AlreadyExists
    ├── FailedPrecondition  the resource is in a state that forbids the call
    ├── Aborted             lost a race (stale etag): read again and retry
    ├── PermissionDenied
    ├── Unauthenticated
    ├── ResourceExhausted   a quota or a limit is used up
    ├── Unavailable         a passing fault, after the client's own retries
    ├── DeadlineExceeded
    ├── DataLoss
    ├── Unimplemented
    └── ServerError         a fault of the service; quote the request id when you report it
"""

# ruff: noqa: N818 - each is named for what it means
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from brandloom.types.labeler import LabelJob
    from brandloom.types.training import TrainingJob


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One faulty field of a request (`spec.adapter.rank`), or the subject of a quota, and what is wrong."""

    field: str
    description: str


class BrandloomError(Exception):
    """Root of everything that the client raises."""


class ConfigurationError(BrandloomError):
    """Something on the caller's side is wrong: an address, the token, a local file."""


class CorruptDownload(BrandloomError):
    """The downloaded bytes have another digest or size than was announced; nothing was kept."""


class JobFailed(BrandloomError):
    """A job ended without success; `job` is its last state."""

    def __init__(self, job: TrainingJob | LabelJob) -> None:
        self.job = job
        why = f": {job.error.message} ({job.error.reason})" if job.error else ""
        super().__init__(f"{job.name} is {job.state}{why}")


class ApiError(BrandloomError):
    """A service refused or failed a call.

    `reason` is an UPPER_SNAKE word that programs can act on, `metadata` the facts that belong to it,
    `violations` every faulty field, `retry_after_seconds` when to try again, if told, `method` the RPC.
    """

    def __init__(
        self,
        message: str,
        *,
        reason: str = "",
        metadata: Mapping[str, str] | None = None,
        violations: Sequence[FieldViolation] = (),
        retry_after_seconds: float | None = None,
        request_id: str = "",
        method: str = "",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason
        self.metadata = dict(metadata or {})
        self.violations = tuple(violations)
        self.retry_after_seconds = retry_after_seconds
        self.request_id = request_id
        self.method = method


class InvalidArgument(ApiError):
    """The request is wrong whatever the state of the system."""


class NotFound(ApiError):
    """There is no such resource, or the caller may not know of it."""


class AlreadyExists(ApiError):
    """The name, or the request id, is taken."""


class FailedPrecondition(ApiError):
    """The resource is in a state that forbids the call."""


class Aborted(ApiError):
    """Another writer was first: read again, then retry."""


class PermissionDenied(ApiError):
    """The caller is known and may not."""


class Unauthenticated(ApiError):
    """The token is missing or wrong."""


class ResourceExhausted(ApiError):
    """A quota or a limit is used up."""


class Unavailable(ApiError):
    """The service cannot be reached or is not ready, after the client's own retries."""


class DeadlineExceeded(ApiError):
    """The call took longer than it was given; its effects may or may not have happened."""


class DataLoss(ApiError):
    """Stored bytes are not the ones that were written."""


class Unimplemented(ApiError):
    """The service, or its configuration, does not offer this."""


class ServerError(ApiError):
    """A fault of the service."""

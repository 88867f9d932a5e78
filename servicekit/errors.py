"""Transport-neutral errors. Domain code raises them; servicekit.status maps them to gRPC status codes.

ServiceError
├── InvalidArgument         fields of the request that are wrong, all at once
├── NotFound                the named resource is not there
├── AlreadyExists           the name, or the request id, is taken
├── FailedPrecondition      the resource is in a state that forbids the call
├── Aborted                 lost a race: stale etag, stale fencing token; read again and retry
├── PermissionDenied        the caller is known and may not
├── Unauthenticated         the caller is not known
├── ResourceExhausted       a quota or a limit is used up
├── Unavailable             a passing fault: retry with backoff
├── DeadlineExceeded        the call took longer than it was given
├── DataLoss                stored bytes are not what was written
├── Unimplemented           no such operation here
└── Internal                a fault of ours; its message may be shown, so it must hold no secrets

This module imports the standard library alone, so that every layer may use it.
"""

# The names follow the status codes that every gRPC user knows, and so have no Error at their end.
# ruff: noqa: N818

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One faulty field: its path (`spec.rank`, `images[3].name`) and what is wrong, in words."""

    field: str
    description: str


@dataclass(frozen=True, slots=True)
class QuotaViolation:
    """One used-up quota: whose it is (`brands/acme`) and what the limit was."""

    subject: str
    description: str


class ServiceError(Exception):
    """Root of all errors that a caller may see.

    `reason` is an UPPER_SNAKE word that programs can act on; `metadata` holds the facts that belong to it;
    `message` is for people.
    """

    default_reason: ClassVar[str] = "UNKNOWN"

    def __init__(
        self, message: str, *, reason: str | None = None, metadata: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or self.default_reason
        self.metadata: dict[str, str] = dict(metadata or {})


class InvalidArgument(ServiceError):
    """The request is wrong whatever the state of the system; carries every faulty field."""

    default_reason = "INVALID_ARGUMENT"

    def __init__(
        self,
        violations: Sequence[FieldViolation],
        *,
        reason: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        self.violations = tuple(violations)
        text = "; ".join(f"{violation.field}: {violation.description}" for violation in self.violations)
        super().__init__(text or "invalid argument", reason=reason, metadata=metadata)

    @classmethod
    def of(cls, field: str, description: str, *, reason: str | None = None) -> Self:
        """The error for a single faulty field."""
        return cls([FieldViolation(field, description)], reason=reason)


class NotFound(ServiceError):
    """The named resource does not exist, or the caller may not know that it does."""

    default_reason = "NOT_FOUND"

    @classmethod
    def of(cls, kind: str, name: str) -> Self:
        """`NotFound.of("Lora", "brands/acme/loras/hero")`."""
        return cls(f"{kind} {name!r} was not found", metadata={"resource_type": kind, "resource_name": name})


class AlreadyExists(ServiceError):
    """Something of that name, or with that request id, is there already."""

    default_reason = "ALREADY_EXISTS"

    @classmethod
    def of(cls, kind: str, name: str) -> Self:
        """`AlreadyExists.of("Brand", "brands/acme")`."""
        return cls(f"{kind} {name!r} already exists", metadata={"resource_type": kind, "resource_name": name})


class FailedPrecondition(ServiceError):
    """The system is not in the state that the call needs; retrying alone does not help."""

    default_reason = "FAILED_PRECONDITION"


class Aborted(ServiceError):
    """Another writer was first (etag, fencing token, serialisation): read again, then retry."""

    default_reason = "ABORTED"

    @classmethod
    def stale_etag(cls, name: str) -> Self:
        """The etag in the request is not the resource's current one."""
        return cls(
            f"{name!r} has changed since it was read",
            reason="ETAG_MISMATCH",
            metadata={"resource_name": name},
        )


class PermissionDenied(ServiceError):
    """The caller is known, and may not do this."""

    default_reason = "PERMISSION_DENIED"


class Unauthenticated(ServiceError):
    """The call carries no valid credentials."""

    default_reason = "UNAUTHENTICATED"


class ResourceExhausted(ServiceError):
    """A quota, queue or limit is used up; `retry_after_seconds` says when to try again, where that is
    known."""

    default_reason = "RESOURCE_EXHAUSTED"

    def __init__(
        self,
        message: str,
        *,
        violations: Sequence[QuotaViolation] = (),
        retry_after_seconds: float | None = None,
        reason: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message, reason=reason, metadata=metadata)
        self.violations = tuple(violations)
        self.retry_after_seconds = retry_after_seconds


class Unavailable(ServiceError):
    """A passing fault; the same call may succeed after `retry_after_seconds`."""

    default_reason = "UNAVAILABLE"

    def __init__(
        self,
        message: str,
        *,
        retry_after_seconds: float | None = None,
        reason: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message, reason=reason, metadata=metadata)
        self.retry_after_seconds = retry_after_seconds


class DeadlineExceeded(ServiceError):
    """The time given to the call is over; its effects may or may not have happened."""

    default_reason = "DEADLINE_EXCEEDED"


class DataLoss(ServiceError):
    """Stored bytes are gone or are not the ones that were written."""

    default_reason = "DATA_LOSS"


class Unimplemented(ServiceError):
    """The operation does not exist in this service or this configuration."""

    default_reason = "UNIMPLEMENTED"


class Internal(ServiceError):
    """A fault of ours. The message reaches the caller: keep paths, queries and secrets out of it."""

    default_reason = "INTERNAL"

"""The one table between errors and gRPC status codes, and the rich google.rpc.Status of an error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import grpc
import grpc.aio
from google.protobuf import duration_pb2, message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from servicekit import errors

ERROR_DOMAIN: Final = "brandloom"
# Everything travels in the trailers, twice the message and the details in base64, and clients may throw away
# answers with more than 8 KiB of them: the whole error with them.
_MESSAGE_BYTES: Final = 600
_VIOLATIONS_BYTES: Final = 2400

PUSHBACK_KEY: Final = "grpc-retry-pushback-ms"
"""Trailer by which a server says when gRPC clients with a retry policy try again (gRFC A6)."""
NO_RETRY: Final = "-1"

STATUS_CODES: Final[Mapping[type[errors.ServiceError], grpc.StatusCode]] = {
    errors.ServiceError: grpc.StatusCode.UNKNOWN,
    errors.InvalidArgument: grpc.StatusCode.INVALID_ARGUMENT,
    errors.NotFound: grpc.StatusCode.NOT_FOUND,
    errors.AlreadyExists: grpc.StatusCode.ALREADY_EXISTS,
    errors.FailedPrecondition: grpc.StatusCode.FAILED_PRECONDITION,
    errors.Aborted: grpc.StatusCode.ABORTED,
    errors.PermissionDenied: grpc.StatusCode.PERMISSION_DENIED,
    errors.Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    errors.ResourceExhausted: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.Unavailable: grpc.StatusCode.UNAVAILABLE,
    errors.DeadlineExceeded: grpc.StatusCode.DEADLINE_EXCEEDED,
    errors.DataLoss: grpc.StatusCode.DATA_LOSS,
    errors.Unimplemented: grpc.StatusCode.UNIMPLEMENTED,
    errors.Internal: grpc.StatusCode.INTERNAL,
}


def status_code(error_type: type[errors.ServiceError]) -> grpc.StatusCode:
    """The code of the nearest class in the error's MRO that the table names."""
    for ancestor in error_type.__mro__:
        if issubclass(ancestor, errors.ServiceError) and ancestor in STATUS_CODES:
            return STATUS_CODES[ancestor]
    raise LookupError(f"{error_type.__name__} is no ServiceError")


def to_rich_status(error: errors.ServiceError, *, request_id: str = "") -> status_pb2.Status:
    """The error as google.rpc.Status: ErrorInfo always; BadRequest, QuotaFailure, RetryInfo, RequestInfo
    where they apply. Long texts and lists are cut: see _VIOLATIONS_BYTES."""
    message = _clipped(error.message, _MESSAGE_BYTES)
    status = status_pb2.Status(code=status_code(type(error)).value[0], message=message)
    metadata = {key: _clipped(value) for key, value in error.metadata.items()}
    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=ERROR_DOMAIN, metadata=metadata)
    _add_detail(status, info)
    if isinstance(error, errors.InvalidArgument) and error.violations:
        _add_detail(status, _bad_request(error.violations))
    if isinstance(error, errors.ResourceExhausted) and error.violations:
        quota_failure = error_details_pb2.QuotaFailure()
        for quota in error.violations:
            quota_failure.violations.add(subject=quota.subject, description=quota.description)
        _add_detail(status, quota_failure)
    if (
        isinstance(error, errors.ResourceExhausted | errors.Unavailable)
        and error.retry_after_seconds is not None
    ):
        delay = duration_pb2.Duration()
        delay.FromNanoseconds(int(error.retry_after_seconds * 1e9))
        _add_detail(status, error_details_pb2.RetryInfo(retry_delay=delay))
    if request_id:
        _add_detail(status, error_details_pb2.RequestInfo(request_id=request_id))
    return status


def pushback(error: errors.ServiceError, remaining_seconds: float | None) -> str:
    """What PUSHBACK_KEY says of an error: milliseconds, or NO_RETRY when the caller's deadline comes before
    that, so that it learns the error and not only that time is over. Empty: nothing."""
    if not isinstance(error, errors.Unavailable) or error.retry_after_seconds is None:
        return ""
    if remaining_seconds is not None and error.retry_after_seconds >= remaining_seconds:
        return NO_RETRY
    return str(max(1, round(error.retry_after_seconds * 1000)))


def _bad_request(violations: Sequence[errors.FieldViolation]) -> error_details_pb2.BadRequest:
    """The violations, as many as an answer has room for; the last one then tells how many more there are."""
    bad_request = error_details_pb2.BadRequest()
    for index, violation in enumerate(violations):
        if bad_request.ByteSize() > _VIOLATIONS_BYTES:
            more = f"and {len(violations) - index} more faults"
            bad_request.field_violations.add(field=_clipped(violation.field), description=more)
            break
        bad_request.field_violations.add(
            field=_clipped(violation.field), description=_clipped(violation.description)
        )
    return bad_request


def _clipped(text: str, most_bytes: int = 300) -> str:
    data = text.encode()
    if len(data) <= most_bytes:
        return text
    return data[: most_bytes - 3].decode(errors="ignore") + "..."


def from_rpc_error(rpc_error: grpc.aio.AioRpcError) -> errors.ServiceError:
    """The error that a remote service raised, as this process's own; for adapters that call other services.

    Codes that no error class stands for (CANCELLED, OUT_OF_RANGE, UNKNOWN) become Internal.
    """
    text = rpc_error.details() or rpc_error.code().name
    try:
        rich = rpc_status.from_call(rpc_error)
    except ValueError:
        rich = None  # a trailer that contradicts the status line tells nothing reliable
    details = _Details(rich or status_pb2.Status())
    reason, metadata = details.reason, details.metadata
    match rpc_error.code():
        case grpc.StatusCode.INVALID_ARGUMENT:
            violations = details.field_violations or [errors.FieldViolation("", text)]
            return errors.InvalidArgument(violations, reason=reason, metadata=metadata)
        case grpc.StatusCode.RESOURCE_EXHAUSTED:
            return errors.ResourceExhausted(
                text,
                violations=details.quota_violations,
                retry_after_seconds=details.retry_after_seconds,
                reason=reason,
                metadata=metadata,
            )
        case grpc.StatusCode.UNAVAILABLE:
            retry_after = details.retry_after_seconds
            return errors.Unavailable(text, retry_after_seconds=retry_after, reason=reason, metadata=metadata)
        case code:
            return _PLAIN_ERRORS.get(code, errors.Internal)(text, reason=reason, metadata=metadata)


_PLAIN_ERRORS: Final[Mapping[grpc.StatusCode, type[errors.ServiceError]]] = {
    code: error_type
    for error_type, code in STATUS_CODES.items()
    if error_type not in (errors.ServiceError, errors.InvalidArgument)
}


class _Details:
    """The known details of a google.rpc.Status; whatever is missing or foreign reads as absent."""

    def __init__(self, status: status_pb2.Status) -> None:
        self.reason: str | None = None
        self.metadata: dict[str, str] = {}
        self.field_violations: list[errors.FieldViolation] = []
        self.quota_violations: list[errors.QuotaViolation] = []
        self.retry_after_seconds: float | None = None
        for detail in status.details:
            for kind, read in _DETAIL_READERS.items():
                parsed = kind()
                if detail.Is(kind.DESCRIPTOR) and detail.Unpack(parsed):
                    read(self, parsed)

    def _read_info(self, info: error_details_pb2.ErrorInfo) -> None:
        self.reason = info.reason or None
        self.metadata = dict(info.metadata)

    def _read_bad_request(self, bad_request: error_details_pb2.BadRequest) -> None:
        self.field_violations = [
            errors.FieldViolation(violation.field, violation.description)
            for violation in bad_request.field_violations
        ]

    def _read_quota_failure(self, failure: error_details_pb2.QuotaFailure) -> None:
        self.quota_violations = [
            errors.QuotaViolation(violation.subject, violation.description)
            for violation in failure.violations
        ]

    def _read_retry_info(self, info: error_details_pb2.RetryInfo) -> None:
        self.retry_after_seconds = info.retry_delay.ToNanoseconds() / 1e9


_DETAIL_READERS = {
    error_details_pb2.ErrorInfo: _Details._read_info,
    error_details_pb2.BadRequest: _Details._read_bad_request,
    error_details_pb2.QuotaFailure: _Details._read_quota_failure,
    error_details_pb2.RetryInfo: _Details._read_retry_info,
}


def _add_detail(status: status_pb2.Status, detail: message.Message) -> None:
    status.details.add().Pack(detail)

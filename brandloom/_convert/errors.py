"""A gRPC error and its google.rpc.Status details as one of the client's exceptions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import grpc
import grpc.aio
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from brandloom import errors

_DETAILS_KEY: Final = "grpc-status-details-bin"

_KINDS: Final[Mapping[grpc.StatusCode, type[errors.ApiError]]] = {
    grpc.StatusCode.INVALID_ARGUMENT: errors.InvalidArgument,
    grpc.StatusCode.OUT_OF_RANGE: errors.InvalidArgument,
    grpc.StatusCode.NOT_FOUND: errors.NotFound,
    grpc.StatusCode.ALREADY_EXISTS: errors.AlreadyExists,
    grpc.StatusCode.FAILED_PRECONDITION: errors.FailedPrecondition,
    grpc.StatusCode.ABORTED: errors.Aborted,
    grpc.StatusCode.PERMISSION_DENIED: errors.PermissionDenied,
    grpc.StatusCode.UNAUTHENTICATED: errors.Unauthenticated,
    grpc.StatusCode.RESOURCE_EXHAUSTED: errors.ResourceExhausted,
    grpc.StatusCode.UNAVAILABLE: errors.Unavailable,
    grpc.StatusCode.DEADLINE_EXCEEDED: errors.DeadlineExceeded,
    grpc.StatusCode.DATA_LOSS: errors.DataLoss,
    grpc.StatusCode.UNIMPLEMENTED: errors.Unimplemented,
}


def from_rpc_error(error: grpc.aio.AioRpcError, *, method: str = "", target: str = "") -> errors.ApiError:
    """The exception for a failed call; codes without a class of their own become ServerError.

    `target` (`the registry at 127.0.0.1:50051`) is named where the service could not be reached.
    """
    code = error.code()
    facts = _facts(_status(error))
    message = error.details() or code.name
    if code is grpc.StatusCode.UNAVAILABLE and not facts.get("reason"):
        message = f"{target or 'the service'} cannot be reached: {last_cause(error)}"
    facts.setdefault("reason", code.name)
    return _KINDS.get(code, errors.ServerError)(message, method=method, **facts)


def last_cause(error: grpc.aio.AioRpcError) -> str:
    """`Connection refused` of gRPC's `failed to connect to all addresses; last error: ...`."""
    message = error.details() or error.code().name
    return message.rsplit(": ", 1)[-1] if "last error" in message else message


def _status(error: grpc.aio.AioRpcError) -> status_pb2.Status:
    for key, value in error.trailing_metadata() or ():
        if key == _DETAILS_KEY:
            try:
                return status_pb2.Status.FromString(value)
            except DecodeError:
                break  # a proxy's or a foreign server's: the plain status is what is left
    return status_pb2.Status()


def _facts(status: status_pb2.Status) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    for detail in status.details:
        if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
            info = error_details_pb2.ErrorInfo.FromString(detail.value)
            facts["reason"], facts["metadata"] = info.reason, dict(info.metadata)
        elif detail.Is(error_details_pb2.BadRequest.DESCRIPTOR):
            request = error_details_pb2.BadRequest.FromString(detail.value)
            facts["violations"] = [
                errors.FieldViolation(item.field, item.description) for item in request.field_violations
            ]
        elif detail.Is(error_details_pb2.QuotaFailure.DESCRIPTOR):
            quota = error_details_pb2.QuotaFailure.FromString(detail.value)
            facts["violations"] = [
                errors.FieldViolation(item.subject, item.description) for item in quota.violations
            ]
        elif detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
            retry = error_details_pb2.RetryInfo.FromString(detail.value)
            facts["retry_after_seconds"] = retry.retry_delay.ToNanoseconds() / 1e9
        elif detail.Is(error_details_pb2.RequestInfo.DESCRIPTOR):
            facts["request_id"] = error_details_pb2.RequestInfo.FromString(detail.value).request_id
    return facts

from __future__ import annotations

import grpc
import grpc.aio
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from servicekit import errors, status


def every_subclass(root: type) -> set[type]:
    return {root}.union(*(every_subclass(child) for child in root.__subclasses__()))


def make(error_type: type[errors.ServiceError]) -> errors.ServiceError:
    if issubclass(error_type, errors.InvalidArgument):
        return error_type([errors.FieldViolation("name", "is bad")])
    return error_type("went wrong")


def over_the_wire(error: errors.ServiceError) -> errors.ServiceError:
    sent = rpc_status.to_status(status.to_rich_status(error))
    metadata = grpc.aio.Metadata(*sent.trailing_metadata)
    return status.from_rpc_error(grpc.aio.AioRpcError(sent.code, grpc.aio.Metadata(), metadata, sent.details))


def test_the_table_names_every_class_of_the_tree() -> None:
    declared = {kind for kind in every_subclass(errors.ServiceError) if kind.__module__ == errors.__name__}
    assert declared == set(status.STATUS_CODES)


def test_every_class_but_the_root_has_a_code_of_its_own() -> None:
    codes = list(status.STATUS_CODES.values())
    assert len(codes) == len(set(codes))
    assert grpc.StatusCode.OK not in codes


def test_every_class_has_a_reason_of_its_own() -> None:
    reasons = [kind.default_reason for kind in status.STATUS_CODES]
    assert len(set(reasons)) == len(reasons)
    assert all(reason == reason.upper() for reason in reasons)


def test_a_subclass_gets_the_code_of_its_nearest_ancestor() -> None:
    class LeaseLost(errors.Aborted):
        default_reason = "LEASE_LOST"

    assert status.status_code(LeaseLost) is grpc.StatusCode.ABORTED
    assert over_the_wire(LeaseLost("late")).reason == "LEASE_LOST"


@pytest.mark.parametrize("error_type", sorted(status.STATUS_CODES, key=lambda kind: kind.__name__))
def test_every_error_survives_the_wire(error_type: type[errors.ServiceError]) -> None:
    error = make(error_type)
    received = over_the_wire(error)
    expected = errors.Internal if error_type is errors.ServiceError else error_type
    assert type(received) is expected
    assert (received.message, received.reason) == (error.message, error.reason)


def test_field_violations_come_all_at_once() -> None:
    violations = [
        errors.FieldViolation("spec.rank", "is 0"),
        errors.FieldViolation("images[3].name", "is empty"),
    ]
    received = over_the_wire(errors.InvalidArgument(violations, metadata={"a": "b"}))
    assert isinstance(received, errors.InvalidArgument)
    assert received.violations == tuple(violations)
    assert received.metadata == {"a": "b"}


def test_quota_and_retry_details() -> None:
    quota = errors.QuotaViolation("brands/acme", "10 jobs at once")
    received = over_the_wire(errors.ResourceExhausted("full", violations=[quota], retry_after_seconds=1.5))
    assert isinstance(received, errors.ResourceExhausted)
    assert received.violations == (quota,)
    assert received.retry_after_seconds == 1.5
    unavailable = over_the_wire(errors.Unavailable("down", retry_after_seconds=0.25))
    assert isinstance(unavailable, errors.Unavailable)
    assert unavailable.retry_after_seconds == 0.25


def test_error_info_names_the_domain_and_the_request() -> None:
    rich = status.to_rich_status(errors.NotFound.of("Lora", "brands/a/loras/b"), request_id="r1")
    info, request = error_details_pb2.ErrorInfo(), error_details_pb2.RequestInfo()
    assert rich.details[0].Unpack(info)
    assert rich.details[1].Unpack(request)
    assert (info.domain, info.reason) == ("brandloom", "NOT_FOUND")
    assert info.metadata["resource_name"] == "brands/a/loras/b"
    assert request.request_id == "r1"


def test_an_error_without_details_is_still_read() -> None:
    plain = grpc.aio.AioRpcError(
        grpc.StatusCode.INVALID_ARGUMENT, grpc.aio.Metadata(), grpc.aio.Metadata(), "no good"
    )
    received = status.from_rpc_error(plain)
    assert isinstance(received, errors.InvalidArgument)
    assert "no good" in received.message
    cancelled = grpc.aio.AioRpcError(grpc.StatusCode.CANCELLED, grpc.aio.Metadata(), grpc.aio.Metadata())
    assert isinstance(status.from_rpc_error(cancelled), errors.Internal)


def test_details_that_contradict_the_status_are_ignored() -> None:
    sent = rpc_status.to_status(status.to_rich_status(errors.NotFound.of("Lora", "x")))
    metadata = grpc.aio.Metadata(*sent.trailing_metadata)
    lie = grpc.aio.AioRpcError(grpc.StatusCode.ABORTED, grpc.aio.Metadata(), metadata, "stale")
    received = status.from_rpc_error(lie)
    assert isinstance(received, errors.Aborted)
    assert received.reason == "ABORTED"

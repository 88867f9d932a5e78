from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import grpc.aio
import pytest
import structlog.testing
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from servicekit import errors
from servicekit.deadline import remaining_seconds
from servicekit.identity import current_principal
from servicekit.logs import request_id
from servicekit.status import from_rpc_error
from tests.fakes.servicekit_echo import EchoServicer
from tests.fakes.servicekit_messages import Order

GOOD = Order(name="a")
KINDS = ("unary", "server_stream", "client_stream", "both_stream")


async def several(*orders: Any) -> AsyncIterator[Any]:
    for order in orders:
        yield order


async def invoke(stub: Any, kind: str, *orders: Any, **options: Any) -> list[str]:
    """Calls the method of that kind and returns the names in its answers."""
    method = getattr(stub, kind)
    request = several(*orders) if kind in ("client_stream", "both_stream") else orders[0]
    call = method(request, **options)
    if kind in ("unary", "client_stream"):
        return [(await call).name]
    return [answer.name async for answer in call]


async def failure(stub: Any, kind: str, *orders: Any, **options: Any) -> errors.ServiceError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await invoke(stub, kind, *(orders or (GOOD,)), **options)
    return from_rpc_error(caught.value)


async def eventually(holds: Callable[[], object]) -> None:
    """Waits for what happens only after the caller has its answer."""
    for _ in range(300):
        if holds():
            return
        await asyncio.sleep(0.01)
    pytest.fail("it never happened")


def raising(error: Exception) -> EchoServicer:
    """A servicer whose methods all raise, the streaming ones after their first answer."""

    async def unary(_request: Any, _context: Any) -> Any:
        raise error

    async def stream(_request: Any, _context: Any) -> AsyncIterator[Any]:
        yield GOOD
        raise error

    return EchoServicer(unary=unary, server_stream=stream, client_stream=unary, both_stream=stream)


@pytest.mark.parametrize(
    ("kind", "answers"),
    [
        ("unary", ["a"]),
        ("server_stream", ["a", "a"]),
        ("client_stream", ["a+b"]),
        ("both_stream", ["a", "b"]),
    ],
)
async def test_every_kind_of_call_passes_through(start: Any, kind: str, answers: list[str]) -> None:
    running = await start()
    assert await invoke(running.stub, kind, GOOD, Order(name="b")) == answers


@pytest.mark.parametrize("kind", KINDS)
async def test_service_errors_become_rich_statuses(start: Any, kind: str) -> None:
    error = errors.FailedPrecondition("the job is done", reason="JOB_DONE", metadata={"job": "7"})
    received = await failure((await start(raising(error))).stub, kind)
    assert isinstance(received, errors.FailedPrecondition)
    assert (received.message, received.reason, received.metadata) == (
        "the job is done",
        "JOB_DONE",
        {"job": "7"},
    )


@pytest.mark.parametrize("kind", KINDS)
async def test_unknown_exceptions_tell_nothing_but_a_correlation_id(start: Any, kind: str) -> None:
    running = await start(raising(RuntimeError("secret path /etc")))
    with structlog.testing.capture_logs() as lines:
        received = await failure(running.stub, kind)
    assert isinstance(received, errors.Internal)
    assert "secret" not in received.message
    logged = next(line for line in lines if line["event"] == "unexpected error")
    assert logged["correlation_id"] == received.metadata["correlation_id"]
    assert logged["correlation_id"] in received.message
    assert "secret path /etc" in str(logged["exc_info"])


async def test_a_handler_may_abort_by_itself(start: Any) -> None:
    async def unary(_request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        await context.abort(grpc.StatusCode.OUT_OF_RANGE, "past the end")

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await (await start(EchoServicer(unary=unary))).stub.unary(GOOD)
    assert caught.value.code() is grpc.StatusCode.OUT_OF_RANGE
    assert caught.value.details() == "past the end"


async def test_a_handler_may_write_its_responses(start: Any) -> None:
    async def stream(_request: Any, context: Any) -> None:
        await context.write(Order(name="written"))

    running = await start(EchoServicer(server_stream=stream))
    assert await invoke(running.stub, "server_stream", GOOD) == ["written"]


async def test_unknown_methods_are_unimplemented(start: Any) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await (await start()).stub.missing(GOOD)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("kind", KINDS)
async def test_every_faulty_field_is_named(start: Any, kind: str) -> None:
    order = Order(items=[{"count": 1}, {"count": -1}], labels={"env": "production"})
    received = await failure((await start()).stub, kind, order)
    assert isinstance(received, errors.InvalidArgument)
    assert {violation.field for violation in received.violations} == {
        "name",
        "items[1].count",
        'labels["env"]',
    }
    assert all(violation.description for violation in received.violations)


async def test_rules_about_the_whole_message_have_an_empty_field(start: Any) -> None:
    received = await failure((await start()).stub, "unary", Order(name="a", items=[{"count": 1}] * 4))
    assert isinstance(received, errors.InvalidArgument)
    assert received.violations == (errors.FieldViolation("", "an order has three items at most"),)


@pytest.mark.parametrize("kind", ["client_stream", "both_stream"])
async def test_of_a_client_stream_every_message_is_checked(start: Any, kind: str) -> None:
    received = await failure((await start()).stub, kind, GOOD, GOOD, Order())
    assert isinstance(received, errors.InvalidArgument)
    assert received.violations[0].field == "name"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("token", [None, "wrong"])
async def test_callers_must_be_known(start: Any, kind: str, token: str | None) -> None:
    # The request is faulty too: nobody learns that before they are known.
    received = await failure((await start(token=token)).stub, kind, Order())
    assert isinstance(received, errors.Unauthenticated)


async def test_handlers_know_the_caller(start: Any) -> None:
    async def unary(_request: Any, _context: Any) -> Any:
        return Order(name=current_principal().subject)

    running = await start(EchoServicer(unary=unary))
    assert (await running.stub.unary(GOOD)).name == "local-administrator"


@pytest.mark.parametrize("kind", ["unary", "server_stream"])
async def test_handlers_are_cancelled_at_the_deadline(start: Any, kind: str) -> None:
    ended = asyncio.Event()

    async def wait(_request: Any, _context: Any) -> Any:
        try:
            await asyncio.sleep(20)
        finally:
            ended.set()

    async def wait_in_stream(request: Any, context: Any) -> AsyncIterator[Any]:
        yield GOOD
        await wait(request, context)

    running = await start(EchoServicer(unary=wait, server_stream=wait_in_stream))
    received = await failure(running.stub, kind, timeout=0.3)
    assert isinstance(received, errors.DeadlineExceeded)
    await asyncio.wait_for(ended.wait(), 5)


async def test_calls_without_a_deadline_get_one(start: Any) -> None:
    async def wait(_request: Any, _context: Any) -> Any:
        await asyncio.sleep(20)

    running = await start(EchoServicer(unary=wait), unary_limit_seconds=0.1)
    received = await failure(running.stub, "unary")
    assert isinstance(received, errors.DeadlineExceeded)
    assert "Unary" in received.message


async def test_a_timeout_of_the_handlers_own_is_not_the_deadline(start: Any) -> None:
    async def wait(_request: Any, _context: Any) -> Any:
        async with asyncio.timeout(0.01):
            await asyncio.sleep(20)

    assert isinstance(await failure((await start(EchoServicer(unary=wait))).stub, "unary"), errors.Internal)


async def test_deadline_and_request_id_are_passed_on(start: Any) -> None:
    async def tell(_request: Any, _context: Any) -> Any:
        return Order(name=f"{request_id()} {remaining_seconds() or 0:.0f}")

    inner = await start(EchoServicer(unary=tell))

    async def ask(request: Any, _context: Any) -> Any:
        return await inner.stub.unary(request)

    outer = await start(EchoServicer(unary=ask))
    answer = await outer.stub.unary(GOOD, timeout=9.4, metadata=(("x-request-id", "trace-7"),))
    assert answer.name == "trace-7 9"


@pytest.mark.parametrize("offered", ["mine-1", "not ok!", "x" * 65, None])
async def test_the_request_id_comes_back(start: Any, offered: str | None) -> None:
    running = await start()
    call = running.stub.unary(GOOD, metadata=(("x-request-id", offered),) if offered else None)
    await call
    returned = (await call.trailing_metadata()).get("x-request-id")
    assert returned == offered if offered == "mine-1" else len(returned) == 32


async def test_errors_carry_the_request_id(start: Any) -> None:
    running = await start(raising(errors.NotFound.of("Lora", "x")))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await running.stub.unary(GOOD, metadata=(("x-request-id", "mine-1"),))
    rich = rpc_status.from_call(caught.value)
    info = error_details_pb2.RequestInfo()
    assert any(detail.Unpack(info) for detail in rich.details)
    assert info.request_id == "mine-1"
    assert caught.value.trailing_metadata().get("x-request-id") == "mine-1"


async def test_every_call_is_one_log_line(start: Any) -> None:
    running = await start(raising(errors.NotFound.of("Lora", "x")))
    with structlog.testing.capture_logs() as lines:
        await failure(running.stub, "server_stream")
        await eventually(lambda: [line for line in lines if line["event"] == "rpc"])
    line = next(line for line in lines if line["event"] == "rpc")
    assert line["method"] == "/servicekit.test.Echo/ServerStream"
    assert (line["code"], line["log_level"], line["caller"]) == ("NOT_FOUND", "info", "local-administrator")
    assert line["milliseconds"] >= 0


@pytest.mark.parametrize("kind", KINDS)
async def test_rate_errors_and_duration_are_measured(start: Any, kind: str) -> None:
    running = await start(raising(errors.NotFound.of("Lora", "x")))
    await failure(running.stub, kind)
    method = "".join(word.capitalize() for word in kind.split("_"))
    labels = {"rpc_service": "servicekit.test.Echo", "rpc_method": method}
    value = running.metrics.registry.get_sample_value
    await eventually(lambda: value("brandloom_test_rpc_duration_seconds_count", labels))
    assert value("brandloom_test_rpc_started_total", labels) == 1
    assert value("brandloom_test_rpc_handled_total", {**labels, "code": "NOT_FOUND"}) == 1
    assert value("brandloom_test_rpc_in_flight", labels) == 0


async def test_a_caller_that_leaves_ends_the_handler(start: Any) -> None:
    ended = asyncio.Event()

    async def forever(_request: Any, _context: Any) -> AsyncIterator[Any]:
        try:
            while True:
                yield GOOD
                await asyncio.sleep(0.01)
        finally:
            ended.set()

    running = await start(EchoServicer(server_stream=forever))
    call = running.stub.server_stream(GOOD)
    await call.read()
    call.cancel()
    await asyncio.wait_for(ended.wait(), 5)
    labels = {"rpc_service": "servicekit.test.Echo", "rpc_method": "ServerStream", "code": "CANCELLED"}
    value = running.metrics.registry.get_sample_value
    await eventually(lambda: value("brandloom_test_rpc_handled_total", labels))


@pytest.mark.parametrize("kind", KINDS)
async def test_a_long_list_of_faults_reaches_the_caller(start: Any, kind: str) -> None:
    faults = [errors.FieldViolation(f"metadata.csv:{line}:{'s' * 99}", "is bad " * 99) for line in range(100)]
    metadata = {"references": "x" * 9000}
    running = await start(raising(errors.InvalidArgument(faults, reason="FILE_INVALID", metadata=metadata)))
    error = await failure(running.stub, kind)
    assert isinstance(error, errors.InvalidArgument)
    assert error.reason == "FILE_INVALID"
    assert error.violations[0].field.startswith("metadata.csv:0:")
    assert error.violations[-1].description == f"and {101 - len(error.violations)} more faults"

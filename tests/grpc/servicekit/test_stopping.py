"""How servers end: calls under way, endless streams, last work, signals."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from servicekit import errors
from servicekit.channels import open_channel
from servicekit.status import from_rpc_error
from tests.fakes.servicekit_echo import SERVICE, EchoServicer
from tests.fakes.servicekit_messages import Order
from tests.grpc.servicekit.harness import GOOD, Status, ask, check


async def test_stopping_lets_calls_under_way_finish_and_takes_no_new_ones(start: Any) -> None:
    begun, release = asyncio.Event(), asyncio.Event()

    async def wait(request: Any, _context: Any) -> Any:
        begun.set()
        await release.wait()
        return request

    running = await start(EchoServicer(unary=wait))
    watch = health_pb2_grpc.HealthStub(running.channel).Watch(health_pb2.HealthCheckRequest())
    assert (await watch.read()).status == Status.SERVING
    under_way = asyncio.ensure_future(running.stub.unary(GOOD))
    await begun.wait()
    stopping = asyncio.create_task(running.server.stop())
    assert (await watch.read()).status == Status.NOT_SERVING
    assert await watch.read() is grpc.aio.EOF
    async with open_channel(f"127.0.0.1:{running.port}", token="let-me-in") as late:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await late.unary_unary(f"/{SERVICE}/Unary")(GOOD.SerializeToString())
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    release.set()
    assert (await under_way).name == "a"
    await asyncio.wait_for(stopping, 3)


async def test_endless_streams_end_when_the_drain_begins(start: Any) -> None:
    closed = asyncio.Event()

    async def changes() -> AsyncIterator[Any]:
        try:
            yield GOOD
            await asyncio.Event().wait()
        finally:
            closed.set()

    async def watch(_request: Any, _context: Any) -> AsyncIterator[Any]:
        async for change in running.server.drain.until_begun(changes()):
            yield change

    running = await start(EchoServicer(server_stream=watch))
    call = running.stub.server_stream(GOOD)
    assert (await call.read()).name == "a"
    await asyncio.wait_for(running.server.stop(), 3)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call.read()
    received = from_rpc_error(caught.value)
    assert isinstance(received, errors.Unavailable)
    assert (received.reason, received.retry_after_seconds) == ("SERVER_STOPPING", 1.0)
    assert closed.is_set()


async def test_the_drain_has_an_end(start: Any) -> None:
    begun = asyncio.Event()

    async def stuck(_request: Any, _context: Any) -> Any:
        begun.set()
        await asyncio.sleep(60)

    running = await start(EchoServicer(unary=stuck))
    call = asyncio.ensure_future(running.stub.unary(GOOD))
    await begun.wait()
    await asyncio.wait_for(running.server.stop(drain_seconds=0.1), 5)
    with pytest.raises(grpc.aio.AioRpcError):
        await call


async def test_the_last_work_is_done_while_calls_are_still_taken(start: Any) -> None:
    answers: list[str] = []

    async def report() -> None:
        assert await check(running.channel) == Status.NOT_SERVING
        assert running.server.drain.begun
        answers.append((await running.stub.unary(GOOD)).name)

    running = await start(before_stop=report)
    await running.server.stop()
    assert answers == ["a"]


@pytest.mark.parametrize("seconds", [0.0, 60.0])
async def test_last_work_that_fails_or_hangs_holds_up_no_stop(start: Any, seconds: float) -> None:
    async def hang() -> None:
        await asyncio.sleep(seconds)
        raise RuntimeError("worker is gone")

    running = await start(before_stop=hang)
    await asyncio.wait_for(running.server.stop(drain_seconds=0.2), 5)


async def test_a_server_has_stopped_only_when_the_last_handler_has_cleaned_up(start: Any) -> None:
    begun, cleaned_up = asyncio.Event(), asyncio.Event()

    async def slow_to_leave(request: Any, _context: Any) -> Any:
        begun.set()
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.3)
            cleaned_up.set()
        return request

    running = await start(EchoServicer(unary=slow_to_leave))
    call = running.stub.unary(GOOD)
    await begun.wait()
    call.cancel()
    await running.server.stop(0)
    assert cleaned_up.is_set()


async def test_a_stream_whose_caller_left_in_the_middle_of_an_answer_is_waited_for_too(start: Any) -> None:
    cleaned_up = asyncio.Event()

    async def endless(request: Any, _context: Any) -> AsyncIterator[Any]:
        try:
            while True:
                yield Order(name="x" * 1_000_000)  # more than a caller that does not read has room for
        finally:
            await asyncio.sleep(0.3)
            cleaned_up.set()

    running = await start(EchoServicer(server_stream=endless))
    call = running.stub.server_stream(GOOD)
    await call.read()
    await asyncio.sleep(0.2)
    call.cancel()
    await asyncio.sleep(0.05)
    await running.server.stop(0)
    assert cleaned_up.is_set()


PROGRAM = """
import asyncio
from servicekit.logs import configure_logs
from servicekit.server import ServiceServer
from tests.fakes.servicekit_echo import EchoServicer

async def slow(request, context):
    print("begun", flush=True)
    await asyncio.sleep({seconds})
    return request

async def main():
    configure_logs(service="test")
    registrations = [EchoServicer(unary=slow).registration()]
    async def tell(port):
        print(port, flush=True)
        await asyncio.sleep({starting_seconds})
        print("started", flush=True)

    server = ServiceServer(
        "test", "127.0.0.1:0", [], registrations, {{}}, after_start=tell, drain_seconds=30
    )
    await server.run_until_stopped()
    print("stopped", flush=True)

asyncio.run(main())
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains_and_the_process_ends_well(number: signal.Signals) -> None:
    process, channel = await _spawn(0.3)
    assert await _line(process) == "started"
    call = asyncio.ensure_future(ask(channel))
    assert await _line(process) == "begun"
    process.send_signal(number)
    assert (await call).name == "a"
    assert await _line(process) == "stopped"
    assert await process.wait() == 0
    await channel.close()


async def test_a_second_signal_cuts_the_drain_short() -> None:
    process, channel = await _spawn(50)
    assert await _line(process) == "started"
    call = asyncio.ensure_future(ask(channel))
    assert await _line(process) == "begun"
    process.send_signal(signal.SIGTERM)
    await asyncio.sleep(0.3)
    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), 10) == 0
    with pytest.raises(grpc.aio.AioRpcError):
        await call
    await channel.close()


async def test_a_signal_while_the_service_still_starts_drains_it_too() -> None:
    process, channel = await _spawn(0.0, starting_seconds=0.5)
    process.send_signal(signal.SIGTERM)
    assert [await _line(process) for _ in range(2)] == ["started", "stopped"]
    assert await process.wait() == 0
    await channel.close()


async def _spawn(
    seconds: float, *, starting_seconds: float = 0.0
) -> tuple[asyncio.subprocess.Process, grpc.aio.Channel]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        PROGRAM.format(seconds=seconds, starting_seconds=starting_seconds),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        cwd=Path(__file__).parents[3],
        env={**os.environ, "PYTHONPATH": "."},
    )
    port = await _line(process)
    return process, open_channel(f"127.0.0.1:{port}")


async def _line(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    return (await asyncio.wait_for(process.stdout.readline(), 20)).decode().strip()

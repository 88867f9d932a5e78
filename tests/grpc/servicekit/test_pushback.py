"""A server that cannot serve now says when to come back, and gRPC clients with a retry policy do so."""

from __future__ import annotations

import time
from typing import Any

import grpc
import grpc.aio
import pytest

from brandloom._transport import _OPTIONS as SDK_OPTIONS
from servicekit.errors import Unavailable
from servicekit.status import from_rpc_error
from tests.fakes.servicekit_echo import EchoServicer, EchoStub
from tests.fakes.servicekit_messages import Order
from tests.grpc.servicekit.conftest import TOKEN, Start

GOOD = Order(name="a")
AUTHORIZED = (("authorization", f"Bearer {TOKEN}"),)


class Busy:
    """Refuses the first calls."""

    def __init__(self, refusals: int, retry_after_seconds: float) -> None:
        self.calls: list[float] = []
        self._refusals = refusals
        self._retry_after_seconds = retry_after_seconds

    async def unary(self, request: Any, _context: Any) -> Any:
        self.calls.append(time.monotonic())
        if len(self.calls) <= self._refusals:
            raise Unavailable("later", reason="QUEUE_FULL", retry_after_seconds=self._retry_after_seconds)
        return request

    async def stream(self, request: Any, context: Any) -> Any:
        yield await self.unary(request, context)


@pytest.mark.parametrize("client", ["servicekit", "sdk"])
@pytest.mark.parametrize("kind", ["unary", "server_stream"])
async def test_clients_come_back_when_they_are_told_to(start: Start, client: str, kind: str) -> None:
    busy = Busy(refusals=2, retry_after_seconds=0.7)
    running = await start(EchoServicer(unary=busy.unary, server_stream=busy.stream))
    sdk = grpc.aio.insecure_channel(f"127.0.0.1:{running.port}", SDK_OPTIONS)
    stub = running.stub if client == "servicekit" else EchoStub(sdk)
    call = getattr(stub, kind)(GOOD, metadata=AUTHORIZED)
    answer = await call if kind == "unary" else await call.read()
    assert answer.name == "a"
    waits = [after - before for before, after in zip(busy.calls, busy.calls[1:], strict=False)]
    # The policies alone would have come back after 0.1 and 0.25, or 0.2 and 0.4 seconds at most.
    assert [0.65 < wait < 2.0 for wait in waits] == [True, True]
    await sdk.close()


@pytest.mark.parametrize("client", ["servicekit", "sdk"])
async def test_who_has_no_time_to_come_back_learns_why_at_once(start: Start, client: str) -> None:
    busy = Busy(refusals=9, retry_after_seconds=60.0)
    running = await start(EchoServicer(unary=busy.unary))
    sdk = grpc.aio.insecure_channel(f"127.0.0.1:{running.port}", SDK_OPTIONS)
    stub = running.stub if client == "servicekit" else EchoStub(sdk)
    begun = time.monotonic()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.unary(GOOD, metadata=AUTHORIZED, timeout=20.0)
    assert time.monotonic() - begun < 5.0
    error = from_rpc_error(caught.value)
    assert isinstance(error, Unavailable)
    assert (error.reason, error.retry_after_seconds) == ("QUEUE_FULL", 60.0)
    assert len(busy.calls) == 1
    await sdk.close()


async def test_clients_without_a_policy_can_read_the_milliseconds(start: Start) -> None:
    busy = Busy(refusals=9, retry_after_seconds=1.25)
    running = await start(EchoServicer(unary=busy.unary))
    options = [("grpc.enable_retries", 0)]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{running.port}", options) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await EchoStub(channel).unary(GOOD, metadata=AUTHORIZED)
    assert dict(caught.value.trailing_metadata())["grpc-retry-pushback-ms"] == "1250"

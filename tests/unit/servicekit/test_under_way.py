"""The calls of a server that ends: each is cancelled, once, and waited for."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import grpc

from servicekit.interceptors.under_way import CallsUnderWay


async def serve(calls: CallsUnderWay, behaviour: Any) -> asyncio.Task[Any]:
    """A task that serves one call with that behaviour, as grpc makes it."""

    async def continuation(_details: Any) -> Any:
        return grpc.unary_unary_rpc_method_handler(behaviour)

    details = SimpleNamespace(method="/test.Service/Method", invocation_metadata=())
    intercepted: Any = calls.interceptor().intercept_service(continuation, details)  # type: ignore[arg-type]
    handler = await intercepted
    task = asyncio.create_task(handler.unary_unary(None, None))
    await asyncio.sleep(0)
    return task


async def test_a_time_limit_within_a_handler_that_runs_out_at_the_end_hides_it_not() -> None:
    async def polls(_request: Any, _context: Any) -> None:
        while True:
            try:
                async with asyncio.timeout(0.01):
                    await asyncio.sleep(60)
            except TimeoutError:
                pass

    calls = CallsUnderWay()
    handler = await serve(calls, polls)
    # Until the moment in which the time limit has cancelled it. An event would be a moment too late.
    while not handler.cancelling():  # noqa: ASYNC110
        await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await calls.end()
    assert handler.cancelled()


async def test_a_handler_that_cleans_up_is_not_cancelled_again() -> None:
    cleaned_up = False

    async def slow_to_leave(_request: Any, _context: Any) -> None:
        nonlocal cleaned_up
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.7)  # longer than from one look to the next
            cleaned_up = True

    calls = CallsUnderWay()
    handler = await serve(calls, slow_to_leave)
    handler.cancel()
    await asyncio.sleep(0)
    await calls.end()
    assert cleaned_up

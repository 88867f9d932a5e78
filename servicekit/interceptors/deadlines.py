"""Keeps every call within the time that its caller gave it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import grpc
import grpc.aio

from servicekit.deadline import set_remaining_seconds
from servicekit.errors import DeadlineExceeded
from servicekit.interceptors.calls import Behaviour, Call, CallInterceptor, responses


def deadline_interceptor(*, unary_limit_seconds: float) -> grpc.aio.ServerInterceptor:
    """Cancels handlers at the caller's deadline. A call with one request and one response is limited even
    when the caller set no deadline; streams (uploads, watches) may then go on for as long as they like."""
    return CallInterceptor(_Deadlines(unary_limit_seconds))


class _Deadlines:
    def __init__(self, unary_limit_seconds: float) -> None:
        self._unary_limit_seconds = unary_limit_seconds

    async def unary(self, call: Call, behaviour: Behaviour, request: Any, context: Any) -> Any:
        limit = None if call.request_streaming else self._unary_limit_seconds
        remaining = _shorter(context.time_remaining(), limit)
        set_remaining_seconds(remaining)
        timeout = asyncio.timeout(remaining)
        try:
            async with timeout:
                return await behaviour(request, context)
        except TimeoutError:
            if timeout.expired():
                raise _exceeded(call) from None
            raise

    async def stream(
        self, call: Call, behaviour: Behaviour, request: Any, context: Any
    ) -> AsyncGenerator[Any, None]:
        remaining = context.time_remaining()
        set_remaining_seconds(remaining)
        ends = None if remaining is None else asyncio.get_running_loop().time() + remaining
        async with aclosing(responses(behaviour, request, context)) as items:
            while True:
                # Around each step, not around the loop: while a response is on its way out, the deadline is
                # grpc's.
                timeout = asyncio.timeout_at(ends)
                try:
                    async with timeout:
                        response = await anext(items)
                except StopAsyncIteration:
                    return
                except TimeoutError:
                    if timeout.expired():
                        raise _exceeded(call) from None
                    raise
                yield response


def _shorter(first: float | None, second: float | None) -> float | None:
    limits = [limit for limit in (first, second) if limit is not None]
    return min(limits, default=None)


def _exceeded(call: Call) -> DeadlineExceeded:
    return DeadlineExceeded(f"{call.method_name} did not end before its deadline")

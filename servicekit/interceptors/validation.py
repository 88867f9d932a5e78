"""Checks every request message against the rules in its .proto (protovalidate)."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

import grpc
import grpc.aio

from servicekit.interceptors.calls import Behaviour, Call, CallInterceptor, responses
from servicekit.validation import validate_message


def validation_interceptor() -> grpc.aio.ServerInterceptor:
    """Refuses faulty requests with every faulty field named. Of a client stream, each message is checked when
    the handler takes it."""
    return CallInterceptor(_Validation())


class _Validation:
    async def unary(self, call: Call, behaviour: Behaviour, request: Any, context: Any) -> Any:
        return await behaviour(_checked(call, request), context)

    async def stream(
        self, call: Call, behaviour: Behaviour, request: Any, context: Any
    ) -> AsyncGenerator[Any, None]:
        async with aclosing(responses(behaviour, _checked(call, request), context)) as items:
            async for response in items:
                yield response


def _checked(call: Call, request: Any) -> Any:
    if call.request_streaming:
        return _checked_stream(request)
    validate_message(request)
    return request


async def _checked_stream(requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
    async for request in requests:
        validate_message(request)
        yield request

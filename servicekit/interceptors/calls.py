"""Wraps RPC handlers: unary and streaming separately, with the iteration of a stream inside the wrap.

Handlers must be coroutine functions or async generator functions; plain functions, which grpc would run in a
thread pool, are not supported.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass
from typing import Any, Protocol

import grpc
import grpc.aio

Behaviour = Callable[[Any, grpc.aio.ServicerContext[Any, Any]], Any]


@dataclass(frozen=True, slots=True)
class Call:
    """What is known of an RPC before its first message."""

    method: str
    """`/package.Service/Method`"""
    metadata: Mapping[str, str]
    """Text metadata, keys in lower case; of a repeated key the last value."""
    request_streaming: bool
    response_streaming: bool

    @property
    def service_name(self) -> str:
        """`package.Service`"""
        return self.method.strip("/").rpartition("/")[0]

    @property
    def method_name(self) -> str:
        """`Method`"""
        return self.method.rpartition("/")[2]


class Wrapper(Protocol):
    """What an interceptor does with a call. `request` is a message, or an async iterator of them."""

    async def unary(self, call: Call, behaviour: Behaviour, request: Any, context: Any) -> Any:
        """Serves an RPC with one response."""
        ...

    def stream(
        self, call: Call, behaviour: Behaviour, request: Any, context: Any
    ) -> AsyncGenerator[Any, None]:
        """Serves an RPC with a stream of responses."""
        ...


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Puts a wrapper around every call of the server."""

    def __init__(self, wrapper: Wrapper) -> None:
        self._wrapper = wrapper

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        """Called by grpc for each call: the handler, wrapped."""
        details = handler_call_details
        handler = await continuation(details)
        if handler is None:
            return None  # no such method: grpc answers UNIMPLEMENTED
        call = Call(
            method=details.method,
            metadata={
                key: value for key, value in details.invocation_metadata or () if isinstance(value, str)
            },
            request_streaming=handler.request_streaming,
            response_streaming=handler.response_streaming,
        )
        return _rebuild(self._wrapper, handler, call)


class Around:
    """A Wrapper that runs each call within an async context manager."""

    def __init__(self, manager: Callable[[Call, Any], AbstractAsyncContextManager[None]]) -> None:
        self._manager = manager

    async def unary(self, call: Call, behaviour: Behaviour, request: Any, context: Any) -> Any:
        """Serves within the manager, and returns the response."""
        async with self._manager(call, context):
            return await behaviour(request, context)

    async def stream(
        self, call: Call, behaviour: Behaviour, request: Any, context: Any
    ) -> AsyncGenerator[Any, None]:
        """Serves within the manager; it is left after the last response."""
        async with self._manager(call, context), aclosing(responses(behaviour, request, context)) as items:
            async for response in items:
                yield response


async def responses(behaviour: Behaviour, request: Any, context: Any) -> AsyncGenerator[Any, None]:
    """The responses of a streaming handler: an async generator, or a coroutine that calls `context.write`."""
    produced = behaviour(request, context)
    if inspect.isawaitable(produced):
        await produced
        return
    async with aclosing(produced) as items:
        async for response in items:
            yield response


def _rebuild(wrapper: Wrapper, handler: Any, call: Call) -> Any:
    coders = {
        "request_deserializer": handler.request_deserializer,
        "response_serializer": handler.response_serializer,
    }
    if call.response_streaming:
        inner_stream = handler.stream_stream if call.request_streaming else handler.unary_stream

        async def serve_stream(request: Any, context: Any) -> AsyncGenerator[Any, None]:
            async with aclosing(wrapper.stream(call, inner_stream, request, context)) as items:
                async for response in items:
                    yield response

        if call.request_streaming:
            return grpc.stream_stream_rpc_method_handler(serve_stream, **coders)
        return grpc.unary_stream_rpc_method_handler(serve_stream, **coders)

    inner_unary = handler.stream_unary if call.request_streaming else handler.unary_unary

    async def serve_unary(request: Any, context: Any) -> Any:
        return await wrapper.unary(call, inner_unary, request, context)

    if call.request_streaming:
        return grpc.stream_unary_rpc_method_handler(serve_unary, **coders)
    return grpc.unary_unary_rpc_method_handler(serve_unary, **coders)

"""A service whose methods, one of each kind, do what the test's function says; its messages are `Order`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import grpc.aio

from servicekit.server import Registration
from tests.fakes.servicekit_messages import Order

SERVICE = "servicekit.test.Echo"

Unary = Callable[[Any, Any], Awaitable[Any]]
Stream = Callable[[Any, Any], Any]


async def echo(request: Any, _context: Any) -> Any:
    return request


async def echo_stream(request: Any, _context: Any) -> AsyncIterator[Any]:
    yield request
    yield request


async def gather(requests: AsyncIterator[Any], _context: Any) -> Any:
    return Order(name="+".join([request.name async for request in requests]))


async def answer_each(requests: AsyncIterator[Any], _context: Any) -> AsyncIterator[Any]:
    async for request in requests:
        yield request


class EchoServicer:
    def __init__(
        self,
        *,
        unary: Unary = echo,
        server_stream: Stream = echo_stream,
        client_stream: Unary = gather,
        both_stream: Stream = answer_each,
    ) -> None:
        coders = {"request_deserializer": Order.FromString, "response_serializer": Order.SerializeToString}
        self.handlers = {
            "Unary": grpc.unary_unary_rpc_method_handler(unary, **coders),
            "ServerStream": grpc.unary_stream_rpc_method_handler(server_stream, **coders),
            "ClientStream": grpc.stream_unary_rpc_method_handler(client_stream, **coders),
            "BothStream": grpc.stream_stream_rpc_method_handler(both_stream, **coders),
        }

    def registration(self) -> Registration:
        return Registration(SERVICE, _add, self)


def _add(servicer: EchoServicer, server: grpc.aio.Server) -> None:
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, servicer.handlers),))


class EchoStub:
    def __init__(self, channel: grpc.aio.Channel) -> None:
        coders = {"request_serializer": Order.SerializeToString, "response_deserializer": Order.FromString}
        self.unary = channel.unary_unary(f"/{SERVICE}/Unary", **coders)
        self.server_stream = channel.unary_stream(f"/{SERVICE}/ServerStream", **coders)
        self.client_stream = channel.stream_unary(f"/{SERVICE}/ClientStream", **coders)
        self.both_stream = channel.stream_stream(f"/{SERVICE}/BothStream", **coders)
        self.missing = channel.unary_unary(f"/{SERVICE}/Missing", **coders)

"""Channels to the services, and calls over them that raise the client's own errors."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterable, AsyncIterator, Callable
from typing import Any, Final

import grpc
import grpc.aio
from google.protobuf.message import Message

from brandloom._convert.errors import from_rpc_error
from brandloom._settings import ConnectionSettings
from brandloom.errors import ApiError

_RETRIES: Final = {
    "maxAttempts": 5,
    "initialBackoff": "0.2s",
    "maxBackoff": "3s",
    "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE"],
}
# Creates carry a request id, so repeating them is safe. A prefix put before captions twice is not.
_UNSAFE_TO_REPEAT: Final = [
    {"service": "brandloom.api.labeler.v1.LabelerService", "method": "BatchUpdateCaptions"},
]
# A question about health is to be answered as things are now.
_NOT_REPEATED: Final = [*_UNSAFE_TO_REPEAT, {"service": "grpc.health.v1.Health"}]
_SERVICE_CONFIG: Final = {"methodConfig": [{"name": [{}], "retryPolicy": _RETRIES}, {"name": _NOT_REPEATED}]}
# A picture of 2048 x 2048 comes in one message.
_MAX_MESSAGE_BYTES: Final = 64 * 1024 * 1024
_OPTIONS: Final = (
    ("grpc.service_config", json.dumps(_SERVICE_CONFIG)),
    ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.primary_user_agent", "brandloom"),
)


class Transport:
    """One channel for each service, opened when it is first needed; belongs to one event loop."""

    def __init__(self, settings: ConnectionSettings) -> None:
        self.settings = settings
        self._channels: dict[str, grpc.aio.Channel] = {}
        self.metadata = (("authorization", f"Bearer {settings.token}"),)

    async def close(self) -> None:
        """Ends running calls and closes the channels."""
        channels, self._channels = list(self._channels.values()), {}
        for channel in channels:
            await channel.close()

    def channel(self, service: str) -> grpc.aio.Channel:
        """The channel to one of SERVICES."""
        if service not in self._channels:
            self._channels[service] = grpc.aio.insecure_channel(self.settings.addresses[service], _OPTIONS)
        return self._channels[service]

    def link(self, service: str, stub: Callable[[grpc.aio.Channel], Any]) -> Link:
        """A service's stub, whose calls raise the client's errors."""
        return Link(stub(self.channel(service)), f"the {service} at {self.settings.addresses[service]}", self)


class Link:
    """Calls to one service. Methods are named as in the .proto; requests and answers are its messages."""

    def __init__(self, stub: Any, target: str, transport: Transport) -> None:
        self._stub = stub
        self._target = target
        self._metadata = transport.metadata
        self._timeout_seconds = transport.settings.timeout_seconds

    async def call(self, method: str, request: Message, *, timeout_seconds: float | None = None) -> Any:
        """One request, one answer."""
        timeout = timeout_seconds or self._timeout_seconds
        try:
            return await getattr(self._stub, method)(request, timeout=timeout, metadata=self._metadata)
        except grpc.aio.AioRpcError as error:
            raise self._error(method, error) from error

    async def items(self, method: str, request: Any, field: str) -> AsyncIterator[Any]:
        """All items of a paged list, page by page as they are asked for."""
        while True:
            page = await self.call(method, request)
            for item in getattr(page, field):
                yield item
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def stream(self, method: str, request: Message) -> AsyncIterator[Any]:
        """One request, many answers; ends the call when the iteration is left."""
        call = getattr(self._stub, method)(request, metadata=self._metadata)
        try:
            async for answer in call:
                yield answer
        except grpc.aio.AioRpcError as error:
            raise self._error(method, error) from error
        finally:
            call.cancel()

    async def send(self, method: str, messages: AsyncIterable[Message]) -> Any:
        """Many messages, one answer. A failure of `messages` ends the call and is raised as it is."""
        call = getattr(self._stub, method)(metadata=self._metadata)
        writes = _Writes(call)
        try:
            async for message in messages:
                if not await writes.write(message):
                    break  # the service has answered already: its status, below, says why
            else:
                await call.done_writing()
            return await call
        except grpc.aio.AioRpcError as error:
            raise self._error(method, error) from error
        finally:
            call.cancel()

    def _error(self, method: str, error: grpc.aio.AioRpcError) -> ApiError:
        return from_rpc_error(error, method=method, target=self._target)


class _Writes:
    """A call's writes, of which none is under way any more when its end is told.

    One that fails because the call has ended puts a status of its own in the place of the service's
    (grpc/grpc#36066).
    """

    def __init__(self, call: Any) -> None:
        self._call = call
        self._current: asyncio.Future[None] | None = None
        call.add_done_callback(lambda _: self._cancel())

    async def write(self, message: Message) -> bool:
        """False if the call has ended."""
        self._current = current = asyncio.ensure_future(self._call.write(message))
        try:
            await asyncio.wait([current])
        finally:
            self._cancel()
        return not current.cancelled() and current.exception() is None

    def _cancel(self) -> None:
        if self._current is not None:
            self._current.cancel()

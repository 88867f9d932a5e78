"""Channels to the services, and calls over them that raise the client's own errors."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine
from contextlib import suppress
from typing import Any, Final

import grpc
import grpc.aio
from google.protobuf.message import Message
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from brandloom._convert.errors import from_rpc_error
from brandloom._settings import ConnectionSettings
from brandloom.errors import ApiError, Unavailable

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
# gRPC's core, when it repeats a stream's messages, loses one now and then, or aborts the process for one that
# was being sent while the service refused. Link.send repeats them.
_STREAMS_TO_SERVICES: Final = [
    {"service": "brandloom.api.labeler.v1.LabelerService", "method": "UploadImages"},
    {"service": "brandloom.api.labeler.v1.LabelerService", "method": "UploadTexts"},
    {"service": "brandloom.api.labeler.v1.LabelerService", "method": "ImportCaptions"},
    {"service": "brandloom.api.registry.v1.RegistryService", "method": "UploadVersion"},
]
_STREAM_ATTEMPTS: Final = AsyncRetrying(
    retry=retry_if_exception_type(Unavailable),
    stop=stop_after_attempt(4),
    wait=wait_exponential(multiplier=0.5, max=4),
    reraise=True,
)
# A question about health is to be answered as things are now.
_NOT_REPEATED: Final = [*_UNSAFE_TO_REPEAT, *_STREAMS_TO_SERVICES, {"service": "grpc.health.v1.Health"}]
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

_MADE_HERE: Final = "Internal error from Core"
_OWN_STATUS_SECONDS: Final = 5


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

    async def send(self, method: str, messages: Callable[[], AsyncIterable[Message]]) -> Any:
        """Many messages, one answer. A stream whose connection breaks is sent again as a whole.

        A failure of `messages` ends the call and is raised as it is.
        """
        return await _STREAM_ATTEMPTS.copy()(self._send_once, method, messages)

    async def _send_once(self, method: str, messages: Callable[[], AsyncIterable[Message]]) -> Any:
        call = getattr(self._stub, method)(metadata=self._metadata)
        end = _End(call)
        try:
            with suppress(asyncio.InvalidStateError):  # the service has answered already
                async for message in messages():
                    await call.write(message)
                await call.done_writing()
            return await call
        except grpc.aio.AioRpcError as error:
            raise self._error(method, await end.error() if _is_made_here(error) else error) from error
        finally:
            call.cancel()

    def _error(self, method: str, error: grpc.aio.AioRpcError) -> ApiError:
        return from_rpc_error(error, method=method, target=self._target)


class _End:
    """The status with which the service ended a call.

    A write that fails because the call has ended puts a status made here in the place of the service's, after
    that has come or before (grpc/grpc#36066).
    """

    def __init__(self, call: Any) -> None:
        self._call = call
        self._first: grpc.aio.AioRpcError | None = None
        call.add_done_callback(self._note)

    async def error(self) -> grpc.aio.AioRpcError:
        """The service's own status; the one made here if the service's does not come soon."""
        if self._first is not None and not _is_made_here(self._first):
            return self._first
        deadline = time.monotonic() + _OWN_STATUS_SECONDS
        # Nobody is called when it takes the other's place.
        while _is_made_here(_status_now(self._call)) and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        return _status_now(self._call)

    def _note(self, _: Any) -> None:
        self._first = _status_now(self._call)


def _status_now(call: Any) -> grpc.aio.AioRpcError:
    """The status of a call that has ended: its coroutines have nothing left to wait for."""
    return grpc.aio.AioRpcError(
        _at_once(call.code()),
        trailing_metadata=_at_once(call.trailing_metadata()),
        details=_at_once(call.details()),
    )


def _at_once(coroutine: Coroutine[Any, Any, Any]) -> Any:
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    finally:
        coroutine.close()
    raise AssertionError("the call has not ended")


def _is_made_here(error: grpc.aio.AioRpcError) -> bool:
    return error.code() is grpc.StatusCode.INTERNAL and error.details() == _MADE_HERE

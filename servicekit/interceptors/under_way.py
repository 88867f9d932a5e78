"""Which calls are being served: a server has ended only when their handlers have."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

import grpc
import grpc.aio
import structlog

from servicekit.interceptors.calls import Around, Call, CallInterceptor

_UNWINDING_SECONDS: Final = 10.0
_LOOK_SECONDS: Final = 0.5
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, eq=False, slots=True)
class _UnderWay:
    method: str
    handler: asyncio.Task[Any]


class CallsUnderWay:
    """Knows the handlers that run; the outermost interceptor, so that it sees the very end of each."""

    def __init__(self) -> None:
        self._calls: set[_UnderWay] = set()
        self._idle = asyncio.Event()
        self._idle.set()

    def interceptor(self) -> grpc.aio.ServerInterceptor:
        """Notes each call for as long as its handler runs."""
        return CallInterceptor(Around(self._noted))

    @asynccontextmanager
    async def _noted(self, call: Call, _context: Any) -> AsyncIterator[None]:
        handler = asyncio.current_task()
        assert handler is not None
        noted = _UnderWay(call.method, handler)
        self._calls.add(noted)
        self._idle.clear()
        try:
            yield
        finally:
            # Not always in the handler's task: grpc drops a stream whose caller leaves while an answer is on
            # its way, and the loop closes it in a task of its own when that of grpc has ended already.
            self._calls.remove(noted)
            if not self._calls:
                self._idle.set()

    async def end(self) -> None:
        """Cancels the handlers that still run, and returns when they have cleaned up, or after ten seconds,
        with the rest named in the log.

        grpc's own `stop` leaves behind handlers whose callers have just cancelled. Cancelled a second time by
        the end of the event loop while it closes its connection, one would wait for SQLite's driver for ever.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(_UNWINDING_SECONDS):
                while self._calls:
                    await self._cancel_and_look()
        if self._calls:
            _log.error("calls did not end", methods=sorted({call.method for call in self._calls}))

    async def _cancel_and_look(self) -> None:
        for call in self._calls:
            # Not twice, for it may be cleaning up. Looked at again, for what has cancelled it before may be a
            # time limit within the handler, which goes on after it.
            if not call.handler.cancelling():
                call.handler.cancel()
        with suppress(TimeoutError):
            async with asyncio.timeout(_LOOK_SECONDS):
                await self._idle.wait()

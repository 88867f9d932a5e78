"""Which calls are being served: a server has ended only when their handlers have."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import grpc
import grpc.aio
import structlog

from servicekit.interceptors.calls import Around, Call, CallInterceptor

_UNWINDING_SECONDS: Final = 10.0
_log = structlog.get_logger(__name__)


class CallsUnderWay:
    """Knows the handlers that run; the outermost interceptor, so that it sees the very end of each."""

    def __init__(self) -> None:
        self._handlers: dict[asyncio.Task[Any], str] = {}

    def interceptor(self) -> grpc.aio.ServerInterceptor:
        """Notes each call for as long as its handler runs."""
        return CallInterceptor(Around(self._noted))

    @asynccontextmanager
    async def _noted(self, call: Call, _context: Any) -> AsyncIterator[None]:
        handler = asyncio.current_task()
        assert handler is not None
        self._handlers[handler] = call.method
        try:
            yield
        finally:
            del self._handlers[handler]

    async def end(self) -> None:
        """Cancels the handlers that still run, and returns when they have cleaned up, or after ten seconds,
        with the rest named in the log.

        grpc's own `stop` leaves behind handlers whose callers have just cancelled. Cancelled a second time by
        the end of the event loop while it closes its connection, one would wait for SQLite's driver for ever.
        """
        for handler in self._handlers:
            if not handler.cancelling():
                handler.cancel()
        if self._handlers:
            await asyncio.wait(self._handlers, timeout=_UNWINDING_SECONDS)
        if self._handlers:
            _log.error("calls did not end", methods=sorted(set(self._handlers.values())))

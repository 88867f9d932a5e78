"""Calls that are made again for a while: a service may restart while a worker trains."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeVar

import grpc.aio
import structlog

from servicekit.errors import DeadlineExceeded, Unavailable
from servicekit.status import from_rpc_error

T = TypeVar("T")

CALL_SECONDS: Final = 20.0
_FIRST_WAIT_SECONDS: Final = 0.2
_LONGEST_WAIT_SECONDS: Final = 5.0
_log = structlog.get_logger(__name__)


async def once(call: Callable[[], Awaitable[T]]) -> T:
    """The answer; a ServiceError in place of the transport's."""
    try:
        return await call()
    except grpc.aio.AioRpcError as error:
        raise from_rpc_error(error) from error


@dataclass(frozen=True, slots=True)
class Patience:
    """For how many seconds, in all, a call that nobody answers is made again."""

    seconds: float

    async def until_answered(self, call: Callable[[], Awaitable[T]], what: str) -> T:
        """The answer; when the other side stays away for too long, its last Unavailable or DeadlineExceeded.
        Every other error is raised at once.
        """
        ends = time.monotonic() + self.seconds
        wait = _FIRST_WAIT_SECONDS
        while True:
            try:
                return await once(call)
            except (Unavailable, DeadlineExceeded) as error:
                left = ends - time.monotonic()
                if left <= 0:
                    _log.error("no answer, giving up", call=what, reason=error.reason, after=self.seconds)
                    raise
                _log.warning("no answer, trying again", call=what, reason=error.reason, wait_seconds=wait)
            await asyncio.sleep(min(wait, left))
            wait = min(wait * 2, _LONGEST_WAIT_SECONDS)

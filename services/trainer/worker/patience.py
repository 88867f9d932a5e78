"""Calls that are made again until they are answered: a service may restart while a worker trains."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
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


async def until_answered(call: Callable[[], Awaitable[T]], what: str) -> T:
    """The answer, however long the other side is away; every other error is raised."""
    wait = _FIRST_WAIT_SECONDS
    while True:
        try:
            return await once(call)
        except (Unavailable, DeadlineExceeded) as error:
            _log.warning("no answer, trying again", call=what, reason=error.reason, wait_seconds=wait)
        await asyncio.sleep(wait)
        wait = min(wait * 2, _LONGEST_WAIT_SECONDS)

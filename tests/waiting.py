"""Waiting in tests for something that is about to happen."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable


async def until(
    holds: Callable[[], bool | Awaitable[bool]], *, seconds: float = 10.0, poll: float = 0.02
) -> None:
    """Returns when the condition holds. Fails when it does not in so many seconds."""
    limit = time.monotonic() + seconds
    while True:
        answer = holds()
        if inspect.isawaitable(answer):
            answer = await answer
        if answer:
            return
        if time.monotonic() > limit:
            raise AssertionError(f"{holds} did not hold within {seconds} s")
        await asyncio.sleep(poll)

"""Streams of numbered events that outlive their connection."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final, Protocol, TypeVar

from brandloom.errors import Unavailable

PATIENCE_SECONDS: Final = 120.0
_FIRST_PAUSE_SECONDS: Final = 0.2
_LONGEST_PAUSE_SECONDS: Final = 5.0


class Numbered(Protocol):
    """An event."""

    @property
    def sequence(self) -> int:
        """Its number: later events have larger ones."""
        ...


E = TypeVar("E", bound=Numbered)


async def follow(
    connect: Callable[[int], AsyncIterator[E]],
    *,
    after_sequence: int,
    ended: Callable[[], Awaitable[bool]] | None = None,
    patience_seconds: float = PATIENCE_SECONDS,
) -> AsyncIterator[E]:
    """Events after `after_sequence`, each once, over as many connections as it takes.

    `connect` opens a stream of the events after a number. `ended`, asked when a stream ends without an error,
    tells whether that was all; without it there is always more. Unavailable is raised when for
    `patience_seconds` every connection failed.
    """
    failing_since: float | None = None
    pause = _FIRST_PAUSE_SECONDS
    while True:
        try:
            async for event in connect(after_sequence):
                after_sequence, failing_since, pause = event.sequence, None, _FIRST_PAUSE_SECONDS
                yield event
            if ended is not None and await ended():
                return
        except Unavailable:
            now = time.monotonic()
            failing_since = failing_since or now
            if now - failing_since > patience_seconds:
                raise
        await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - spreads clients out, keeps no secret
        pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)

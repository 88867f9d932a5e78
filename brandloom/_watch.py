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
    is_end: Callable[[E], bool] = lambda event: False,
    patience_seconds: float = PATIENCE_SECONDS,
) -> AsyncIterator[E]:
    """Events after `after_sequence`, each once, over as many connections as it takes.

    `connect` opens a stream of the events after a number. A stream that ends without an error is the last one
    when its last event `is_end`, or when `ended` had said before it was opened that no more will happen: a
    service that shuts down ends its streams too. Without `ended` there is always more. Unavailable is raised
    when for `patience_seconds` every connection failed.
    """
    failing_since: float | None = None
    pause = _FIRST_PAUSE_SECONDS
    complete = at_end = False
    while True:
        try:
            async for event in connect(after_sequence):
                after_sequence, failing_since, pause = event.sequence, None, _FIRST_PAUSE_SECONDS
                at_end = is_end(event)
                yield event
            if complete or at_end:
                return
            complete = ended is not None and await ended()
            if complete:
                continue
        except Unavailable:
            now = time.monotonic()
            failing_since = failing_since or now
            if now - failing_since > patience_seconds:
                raise
        share = random.uniform(0.5, 1.0)  # noqa: S311 - spreads clients out, keeps no secret
        await asyncio.sleep(pause * share)
        pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)

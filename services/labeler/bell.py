"""Wakes those who wait for news within this process. Who misses it finds the news in the database a little
later.
"""

from __future__ import annotations

import asyncio


class Bell:
    """Rung whenever a job has news."""

    def __init__(self) -> None:
        self._next = asyncio.Event()

    def ticket(self) -> asyncio.Event:
        """Take it before looking at the database, then `wait` on it: news in between is not missed."""
        return self._next

    def ring(self) -> None:
        """Tells all who hold a ticket."""
        self._next.set()
        self._next = asyncio.Event()

    @staticmethod
    async def wait(ticket: asyncio.Event, seconds: float) -> None:
        """Returns at the ring, or after so many seconds."""
        try:
            async with asyncio.timeout(seconds):
                await ticket.wait()
        except TimeoutError:
            return

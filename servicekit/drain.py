"""The end of a server's life: streams that would never end by themselves learn here that they must.

async def WatchChanges(self, request, context):
    async for change in self._drain.until_begun(self._changes(request)):
        yield change
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import TypeVar

from servicekit.errors import Unavailable

T = TypeVar("T")


class Drain:
    """Begins once, when the server is told to stop."""

    def __init__(self) -> None:
        self._begun = asyncio.Event()

    @property
    def begun(self) -> bool:
        """Whether the server is on its way out."""
        return self._begun.is_set()

    def begin(self) -> None:
        """Tells all who wait; the server calls it."""
        self._begun.set()

    async def wait(self) -> None:
        """Returns when the drain begins."""
        await self._begun.wait()

    async def until_begun(self, items: AsyncIterator[T]) -> AsyncGenerator[T, None]:
        """The items until the drain begins, then Unavailable: the caller reconnects to another replica, or to
        this one after its restart."""
        begun = asyncio.ensure_future(self._begun.wait())
        following: asyncio.Future[T] | None = None
        try:
            while True:
                following = asyncio.ensure_future(anext(items))
                await asyncio.wait({begun, following}, return_when=asyncio.FIRST_COMPLETED)
                if not following.done():
                    raise Unavailable(
                        "the server is stopping", reason="SERVER_STOPPING", retry_after_seconds=1.0
                    )
                try:
                    item = following.result()
                except StopAsyncIteration:
                    return
                yield item
        finally:
            await _cancelled(begun)
            if following is not None:
                await _cancelled(following)
            if isinstance(items, AsyncGenerator):
                await items.aclose()


async def _cancelled(future: asyncio.Future[T]) -> None:
    future.cancel()
    await asyncio.wait({future})

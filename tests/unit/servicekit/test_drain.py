from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from servicekit.clock import SystemClock
from servicekit.drain import Drain
from servicekit.errors import Unavailable


async def test_items_pass_until_their_end() -> None:
    async def items() -> AsyncIterator[int]:
        yield 1
        yield 2

    assert [item async for item in Drain().until_begun(items())] == [1, 2]


async def test_the_drain_ends_a_stream_that_waits() -> None:
    drain, closed = Drain(), asyncio.Event()

    async def items() -> AsyncIterator[int]:
        try:
            yield 1
            await asyncio.Event().wait()
        finally:
            closed.set()

    stream = drain.until_begun(items())
    assert await anext(stream) == 1
    asyncio.get_running_loop().call_later(0.01, drain.begin)
    with pytest.raises(Unavailable):
        await anext(stream)
    assert drain.begun
    assert closed.is_set()
    await drain.wait()


async def test_errors_of_the_stream_pass_through() -> None:
    async def items() -> AsyncIterator[int]:
        yield 1
        raise LookupError("gone")

    with pytest.raises(LookupError, match="gone"):
        assert [item async for item in Drain().until_begun(items())]


def test_the_system_clock_tells_utc() -> None:
    offset = SystemClock().now().utcoffset()
    assert offset is not None
    assert not offset

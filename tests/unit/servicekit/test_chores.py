from __future__ import annotations

import asyncio

from servicekit.chores import Chore, Chores


async def test_chores_are_done_again_and_again_whatever_fails() -> None:
    done: list[str] = []
    often = asyncio.Event()

    async def failing() -> None:
        done.append("failing")
        raise OSError("away")

    async def working() -> None:
        done.append("working")
        if len(done) >= 6:
            often.set()

    async def slow() -> None:
        await asyncio.sleep(60)

    async with asyncio.timeout(10):
        async with Chores(Chore(0.01, failing, working), Chore(60.0, slow)).running():
            await often.wait()
    assert done[:4] == ["failing", "working"] * 2
    count = len(done)
    await asyncio.sleep(0.05)
    assert len(done) == count

"""The one thread in which the engine works, so that heartbeats and uploads go on while it computes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


class EngineThread:
    """Runs calls one after the other."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="engine")

    async def run(self, action: Callable[[], T]) -> T:
        """The result of the call, made in the engine's thread."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, action)

    def close(self) -> None:
        """Ends the thread after the call that is under way."""
        self._executor.shutdown(wait=True, cancel_futures=True)

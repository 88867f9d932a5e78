"""The asynchronous client from ordinary code: an event loop in a thread, and typed methods that wait on it.

`create = blocking(AsyncBrands.create)` in a class body is the whole of a synchronous method: its parameters
and result are those of the asynchronous one, for type checkers and for `help()`.
"""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import CancelledError
from typing import Any, Concatenate, Final, Generic, ParamSpec, TypeVar, overload

P = ParamSpec("P")
R = TypeVar("R")
G = TypeVar("G")

_CLEANING_SECONDS: Final = 10.0
_POLL_SECONDS: Final = 0.01


class LoopThread:
    """An event loop that runs in a daemon thread until it is closed."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="brandloom-client", daemon=True)
        self._thread.start()

    @property
    def running(self) -> bool:
        """Whether it has not been closed."""
        return self._thread.is_alive()

    def run(self, work: Coroutine[Any, Any, R]) -> R:
        """The result of the coroutine. When the wait is interrupted (Ctrl-C), the work is cancelled."""
        if threading.current_thread() is self._thread:
            work.close()
            raise RuntimeError(
                "the blocking client was used inside its own callback: use the asynchronous one"
            )
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except CancelledError:
            raise
        except BaseException:
            future.cancel()
            raise

    def iterate(self, source: AsyncIterator[R]) -> Iterator[R]:
        """The items as they come. Leaving the iteration ends the source too."""
        try:
            while True:
                try:
                    item = self.run(_next(source))
                except StopAsyncIteration:
                    return
                yield item
        finally:
            if self.running:
                self.run(_close(source))

    def close(self) -> None:
        """Cancels what still runs and ends the thread."""
        self.run(_cancel_others())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _next(source: AsyncIterator[R]) -> R:
    return await anext(source)


async def _close(source: Any) -> None:
    """Ends a generator; one that was interrupted (Ctrl-C) is first let clean up, which may take a moment."""
    async with asyncio.timeout(_CLEANING_SECONDS):
        while getattr(source, "ag_running", False):  # noqa: ASYNC110 - a generator tells nobody when it rests
            await asyncio.sleep(_POLL_SECONDS)
    if hasattr(source, "aclose"):
        await source.aclose()


async def _cancel_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await asyncio.get_running_loop().shutdown_asyncgens()
    await asyncio.get_running_loop().shutdown_default_executor()


class Waiting(Generic[G]):
    """A group of calls and the loop that they run on; `blocking` and `iterating` methods live in one."""

    def __init__(self, group: G, loop: LoopThread) -> None:
        self._group = group
        self._loop = loop


class blocking(Generic[G, P, R]):  # noqa: N801 - reads as the decorator that it is
    """A synchronous method from an asynchronous one of a group."""

    def __init__(self, method: Callable[Concatenate[G, P], Coroutine[Any, Any, R]]) -> None:
        self._method = method
        self.__doc__ = method.__doc__

    @overload
    def __get__(self, instance: None, owner: type[Waiting[G]]) -> blocking[G, P, R]: ...
    @overload
    def __get__(self, instance: Waiting[G], owner: type[Waiting[G]]) -> Callable[P, R]: ...
    def __get__(
        self, instance: Waiting[G] | None, owner: type[Waiting[G]]
    ) -> blocking[G, P, R] | Callable[P, R]:
        if instance is None:
            return self
        bound = functools.partial(self._method, instance._group)
        loop = instance._loop

        @functools.wraps(self._method)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            return loop.run(bound(*args, **kwargs))

        return call


class iterating(Generic[G, P, R]):  # noqa: N801 - as above
    """A synchronous iteration from an asynchronous one of a group."""

    def __init__(self, method: Callable[Concatenate[G, P], AsyncIterator[R]]) -> None:
        self._method = method
        self.__doc__ = method.__doc__

    @overload
    def __get__(self, instance: None, owner: type[Waiting[G]]) -> iterating[G, P, R]: ...
    @overload
    def __get__(self, instance: Waiting[G], owner: type[Waiting[G]]) -> Callable[P, Iterator[R]]: ...
    def __get__(
        self, instance: Waiting[G] | None, owner: type[Waiting[G]]
    ) -> iterating[G, P, R] | Callable[P, Iterator[R]]:
        if instance is None:
            return self
        bound = functools.partial(self._method, instance._group)
        loop = instance._loop

        @functools.wraps(self._method)
        def call(*args: P.args, **kwargs: P.kwargs) -> Iterator[R]:
            return loop.iterate(bound(*args, **kwargs))

        return call

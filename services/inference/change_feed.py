"""Follows the registry's log of changes, through broken connections and restarts of either side."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Final, Protocol

import structlog

from servicekit.errors import ServiceError
from services.inference.domain_changes import LoraName, RegistryChange

FIRST_BACKOFF_SECONDS: Final = 0.1
LAST_BACKOFF_SECONDS: Final = 1.0
"""Changes are to be seen within two seconds, also of the registry's return."""
OVERLAP_SECONDS: Final = 3.0
"""A registry that has the change seen last sends it at once."""
SETTLE_SECONDS: Final = 0.25
"""After a gap nothing tells where the changes that were missed end; they come one upon the other."""
NEWS_ONLY: Final = -1
_log = structlog.get_logger(__name__)


class ChangeSource(Protocol):
    """Where changes are told."""

    def watch(self, after: int) -> AbstractAsyncContextManager[AsyncIterator[RegistryChange]]:
        """Changes with a larger number, or (NEWS_ONLY) all from the moment on in which the context is
        entered. Waits for the registry to be there. ServiceError when the stream breaks.
        """
        ...


class ChangeFeed:
    """One stream after another; says of each change once, and says when some may have been missed."""

    def __init__(
        self,
        source: ChangeSource,
        *,
        on_change: Callable[[LoraName], None],
        on_unknown: Callable[[], None],
    ) -> None:
        """``on_unknown``: whatever was learnt so far may have changed."""
        self._source = source
        self._on_change = on_change
        self._on_unknown = on_unknown
        self._last: RegistryChange | None = None
        """The change seen last: a stream after a gap has to begin with it."""
        self._live = False
        self._lost_at = time.monotonic()
        self._settled: asyncio.TimerHandle | None = None

    @property
    def live(self) -> bool:
        """Whether every change arrives here as it is made."""
        return self._live

    @property
    def known_until(self) -> float:
        """The monotonic moment up to which all changes are known."""
        return time.monotonic() if self._live else self._lost_at

    async def run(self) -> None:
        """Follows until it is cancelled."""
        backoff = FIRST_BACKOFF_SECONDS
        while True:
            began = time.monotonic()
            try:
                await self._follow()
            except ServiceError as error:
                _log.warning("the registry's changes cannot be followed", error=error.message)
            except Exception:  # whatever a registry sends, the cache must not stay deaf
                _log.exception("the registry's changes cannot be followed")
            finally:
                self._lose()
            if time.monotonic() - began > LAST_BACKOFF_SECONDS:
                backoff = FIRST_BACKOFF_SECONDS
            # Spread out, so that replicas do not come back to a restarted registry all at once.
            await asyncio.sleep(backoff * random.uniform(0.5, 1.0))  # noqa: S311
            backoff = min(backoff * 2, LAST_BACKOFF_SECONDS)

    async def _follow(self) -> None:
        """One stream from its start to its end."""
        if self._last is None:
            async with self._source.watch(NEWS_ONLY) as changes:
                self._on_unknown()
                self._gain()
                await self._take(changes)
            return
        async with self._source.watch(self._last.sequence - 1) as changes:
            if not await self._overlaps(changes):
                # Another database, or a restored one: its numbers mean something else.
                _log.warning("the registry's log is another one; all resolutions are dropped")
                self._last = None
                return
            self._settled = asyncio.get_running_loop().call_later(SETTLE_SECONDS, self._gain)
            await self._take(changes)

    async def _overlaps(self, changes: AsyncIterator[RegistryChange]) -> bool:
        """Whether the stream begins with the change that was seen last."""
        try:
            async with asyncio.timeout(OVERLAP_SECONDS):
                return await anext(changes, None) == self._last
        except TimeoutError:
            return False

    async def _take(self, changes: AsyncIterator[RegistryChange]) -> None:
        async for change in changes:
            self._last = change
            if change.lora is not None:
                self._on_change(change.lora)
            else:
                self._on_unknown()

    def _gain(self) -> None:
        self._live = True
        _log.info("the registry's changes are followed", after=self._last.sequence if self._last else None)

    def _lose(self) -> None:
        if self._settled is not None:
            self._settled.cancel()
            self._settled = None
        if self._live:
            self._live = False
            self._lost_at = time.monotonic()

"""Use case: follow the log of changes, whichever replica made them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

import structlog

from servicekit.identity import current_principal
from services.registry.domain import Change
from services.registry.ports import Brands, Figures, RecordStore

BATCH: Final = 500
_log = structlog.get_logger(__name__)


class ChangeCases:
    """One poller for all watchers asks for the last number every `poll_seconds` while somebody watches."""

    def __init__(self, store: RecordStore, figures: Figures, *, poll_seconds: float) -> None:
        self._store = store
        self._figures = figures
        self._poll_seconds = poll_seconds
        self._watchers = 0
        self._poller: asyncio.Task[None] | None = None
        self._grown = asyncio.Condition()
        self._last = 0
        self._restored = 0
        """How often the log has become shorter: it is another one then."""

    async def open(self, brand_id: str, after: int) -> AsyncIterator[Change]:
        """Changes with a larger number, then those to come; negative: only those to come. It ends only when
        another log takes the place of this one, as with a restored database: numbers then mean other things.

        An empty brand stands for all brands of the caller.
        """
        brands = frozenset({brand_id}) if brand_id else current_principal().brands
        return self._follow(brands, after if after >= 0 else await self._last_sequence())

    async def _follow(self, brands: Brands, sent: int) -> AsyncIterator[Change]:
        self._enter()
        restored = self._restored
        try:
            while restored == self._restored:
                seen = max(sent, await self._last_sequence())
                while sent < seen:
                    async with self._store.snapshot() as records:
                        batch = await records.changes.after(sent, brands, limit=BATCH)
                    for change in batch:
                        yield change
                    last = batch[-1].sequence if batch else seen
                    # A short batch was the end of the log, at a moment when it held `seen` at least.
                    sent = last if len(batch) == BATCH else max(seen, last)
                await self._wait_beyond(sent, restored)
        finally:
            self._leave()

    async def _wait_beyond(self, sequence: int, restored: int) -> None:
        async with self._grown:
            await self._grown.wait_for(lambda: self._last > sequence or self._restored != restored)

    async def _last_sequence(self) -> int:
        async with self._store.snapshot() as records:
            return await records.changes.last_sequence()

    async def _poll(self) -> None:
        while True:
            try:
                last = await self._last_sequence()
            except Exception:  # the database is away: watchers wait, readiness says why
                _log.warning("changes cannot be read", exc_info=True)
                last = self._last
            async with self._grown:
                if last != self._last:
                    self._restored += last < self._last
                    self._last = last
                    self._grown.notify_all()
            await asyncio.sleep(self._poll_seconds)

    def _enter(self) -> None:
        self._watchers += 1
        self._figures.watchers_changed(1)
        if self._poller is None:
            self._poller = asyncio.create_task(self._poll())

    def _leave(self) -> None:
        self._watchers -= 1
        self._figures.watchers_changed(-1)
        if self._watchers == 0 and self._poller is not None:
            self._poller.cancel()
            self._poller = None

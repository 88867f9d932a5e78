"""The Registry port over another one, with most answers from a cache that the registry's changes keep right.

An answer is kept unless something of it changed while the question was on its way. While the changes cannot
be followed every question is asked, and the cache answers those that the registry, being away, does not: for
as long as the configured bound.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Protocol

from servicekit.deadline import set_remaining_seconds
from servicekit.errors import DeadlineExceeded, ServiceError, Unavailable
from services.inference.change_feed import ChangeFeed, ChangeSource
from services.inference.domain_changes import LoraName, ResolutionUsage
from services.inference.domain_jobs import ResolvedStack
from services.inference.resolution_cache import Known, Question, ResolutionCache

REGISTRY_UNAVAILABLE: Final = "REGISTRY_UNAVAILABLE"
RETRY_SECONDS: Final = 2.0
ASK_SECONDS: Final = 10.0
PROBE_SECONDS: Final = 1.0
"""For a registry that may be away, while there is an old answer."""
AWAY_SECONDS: Final = 1.0
"""For so long after a question without an answer no other is asked that has an old one."""


class Origin(ChangeSource, Protocol):
    """The registry itself."""

    async def resolve_stack(self, brand: str, references: Sequence[str], base_model: str) -> ResolvedStack:
        """See the Registry port."""
        ...


@dataclass(slots=True, eq=False)
class _Flight:
    """A question on its way, and all who wait for its answer."""

    loras: frozenset[LoraName]
    asked_at: float
    spoiled: bool = False
    """Something has changed since: the answer is for those who asked, and not to be kept."""
    task: asyncio.Task[ResolvedStack] | None = None


class LiveRegistry:
    """Start it before the first question, and stop it at the end."""

    def __init__(
        self,
        origin: Origin,
        *,
        max_entries: int,
        stale_seconds: float,
    ) -> None:
        """``stale_seconds``: how old an answer may be while the registry is away; `on_change` is called
        whenever answers may be others from now on.
        """
        self._origin = origin
        self._stale_seconds = stale_seconds
        self.on_change: Callable[[], None] = lambda: None
        self._cache = ResolutionCache(max_entries)
        self._feed = ChangeFeed(origin, on_change=self._lora_changed, on_unknown=self._all_changed)
        self._following: asyncio.Task[None] | None = None
        self._flights: dict[Question, _Flight] = {}
        self._away_until = 0.0
        self._hits = 0
        self._misses = 0
        self._stale_hits = 0

    def start(self) -> None:
        """Begin to follow the registry's changes."""
        self._following = asyncio.create_task(self._feed.run())

    async def stop(self) -> None:
        """Ask and follow no more."""
        tasks: list[asyncio.Task[Any]] = [
            flight.task for flight in self._flights.values() if flight.task is not None
        ]
        tasks += [self._following] if self._following is not None else []
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    @property
    def live(self) -> bool:
        """Whether the registry's changes arrive here as they are made."""
        return self._feed.live

    def usage(self) -> ResolutionUsage:
        """See the port."""
        return ResolutionUsage(
            hits=self._hits,
            misses=self._misses,
            stale_hits=self._stale_hits,
            entries=len(self._cache),
            age_seconds=time.monotonic() - self._feed.known_until,
        )

    async def resolve_stack(self, brand: str, references: Sequence[str], base_model: str) -> ResolvedStack:
        """See the port. Unavailable when the registry is away and no answer is fresh enough."""
        question = Question(brand, tuple(references), base_model)
        known = self._cache.find(question)
        now = time.monotonic()
        if known is None:
            self._misses += 1
            return await self._ask(question, ASK_SECONDS)
        if self._feed.live:
            self._hits += 1
            return known.stack
        if now < self._away_until and self._fresh_enough(known):
            return self._stale(known)
        try:
            answer = await self._ask(question, PROBE_SECONDS)
        except Unavailable:
            self._away_until = time.monotonic() + AWAY_SECONDS
            if not self._fresh_enough(known):
                raise
            return self._stale(known)
        self._misses += 1
        return answer

    def _fresh_enough(self, known: Known) -> bool:
        return time.monotonic() - max(known.since, self._feed.known_until) < self._stale_seconds

    def _stale(self, known: Known) -> ResolvedStack:
        self._hits += 1
        self._stale_hits += 1
        return known.stack

    async def _ask(self, question: Question, seconds: float) -> ResolvedStack:
        """The registry's own answer, one question for all who ask it at the same time."""
        flight = self._fly(question)
        assert flight.task is not None
        try:
            async with asyncio.timeout(seconds):
                # Shielded: whoever asked first may be cancelled while others wait for the same answer.
                return await asyncio.shield(flight.task)
        except (TimeoutError, DeadlineExceeded) as error:
            raise _away("it did not answer in time") from error
        except Unavailable as error:
            raise _away(error.message) from error

    def _fly(self, question: Question) -> _Flight:
        flight = self._flights.get(question)
        if flight is None:
            flight = _Flight(frozenset(question.loras), time.monotonic())
            self._flights[question] = flight
            flight.task = asyncio.create_task(self._answer(question, flight))
            flight.task.add_done_callback(_look_at_its_error)
        return flight

    async def _answer(self, question: Question, flight: _Flight) -> ResolvedStack:
        # Others may wait for it as well, who have more time than the first.
        set_remaining_seconds(ASK_SECONDS)
        try:
            answer = await self._origin.resolve_stack(
                question.brand, question.references, question.base_model
            )
        finally:
            if self._flights.get(question) is flight:
                del self._flights[question]
        if not flight.spoiled:
            self._cache.keep(question, answer, flight.asked_at)
        return answer

    def _lora_changed(self, lora: LoraName) -> None:
        self._cache.forget(lora)
        self._spoil(lambda flight: lora in flight.loras)
        self.on_change()

    def _all_changed(self) -> None:
        self._cache.clear()
        self._spoil(lambda _: True)
        self.on_change()

    def _spoil(self, concerned: Callable[[_Flight], bool]) -> None:
        """Who asks from now on asks anew."""
        for question, flight in list(self._flights.items()):
            if concerned(flight):
                flight.spoiled = True
                del self._flights[question]


def _away(why: str) -> Unavailable:
    return Unavailable(
        f"the registry cannot be asked what the request names: {why}",
        reason=REGISTRY_UNAVAILABLE,
        retry_after_seconds=RETRY_SECONDS,
    )


def _look_at_its_error(task: asyncio.Task[ResolvedStack]) -> None:
    """All who waited may have left: asyncio would complain of an error that nobody sees."""
    with suppress(asyncio.CancelledError, ServiceError):
        task.exception()

"""Requests that wait for their first step: bounded as a whole and for each brand, and able to say when there
will be room.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from servicekit.errors import Unavailable
from services.inference.domain import Limits
from services.inference.ports import Meter

QUEUE_FULL: Final = "QUEUE_FULL"
UNMEASURED_SECONDS: Final = 5.0
"""Told while nothing has left the queue yet."""
SHORTEST_SECONDS: Final = 0.1
LONGEST_SECONDS: Final = 60.0
_REMEMBERED: Final = 64
"""Departures by which the speed of a queue is measured."""


@dataclass(slots=True)
class _Line:
    """The whole queue, or one brand's part of it."""

    waiting: int = 0
    left_at: deque[float] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))
    promised_at: deque[float] = field(default_factory=deque)
    """When those are to come back who found no room and have not been due yet."""
    empty_since: float = 0.0

    def enter(self, now: float) -> None:
        """One more waits."""
        if self.waiting == 0:
            # Time in which nobody waited says nothing of the line's speed.
            self.left_at = deque(
                (moment + now - self.empty_since for moment in self.left_at), maxlen=_REMEMBERED
            )
        self.waiting += 1

    def leave(self, now: float) -> None:
        """One less."""
        self.waiting -= 1
        self.left_at.append(now)
        self.empty_since = now

    def retry_seconds(self, now: float, seconds_each: float) -> float:
        """When a place is free that nobody else has been promised, where one gets free every so often."""
        while self.promised_at and self.promised_at[0] <= now:
            self.promised_at.popleft()
        seconds = seconds_each * (len(self.promised_at) + 1)
        seconds = min(max(seconds, SHORTEST_SECONDS), LONGEST_SECONDS)
        if seconds < LONGEST_SECONDS:  # beyond, times are no promises, and need not be kept
            self.promised_at.append(now + seconds)
        return seconds

    def seconds_each(self, now: float) -> float | None:
        """How often a place gets free; None while none has."""
        if not self.left_at:
            return None
        return (now - self.left_at[0]) / max(len(self.left_at) - 1, 1)


@dataclass(slots=True, eq=False)
class Place:
    """One request's place; it is left once, at the first step or at the request's end."""

    brand: str
    number: int
    since: float
    _queue: RequestQueue
    _left: bool = False

    @property
    def ahead(self) -> int:
        """Requests that wait and came before this one."""
        return self._queue.before(self.number)

    def started(self) -> None:
        """The request has its first row."""
        self._leave(started=True)

    def leave(self) -> None:
        """The request has ended, perhaps without having started."""
        self._leave(started=False)

    def _leave(self, *, started: bool) -> None:
        if not self._left:
            self._left = True
            self._queue.take_out(self, started=started)


class RequestQueue:
    """Knows who waits; the engine decides who is next."""

    def __init__(self, limits: Limits, meter: Meter, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._meter = meter
        self._clock = clock
        self._all = _Line()
        self._brands: dict[str, _Line] = {}
        self._places: dict[int, Place] = {}
        self._last = 0

    @property
    def waiting(self) -> int:
        """Requests that wait."""
        return self._all.waiting

    @property
    def waiting_by_brand(self) -> Mapping[str, int]:
        """Requests that wait, for brands that have any."""
        return {brand: line.waiting for brand, line in self._brands.items()}

    def join(self, brand: str) -> Place:
        """A place; Unavailable, with the time after which there is likely to be room, when there is none."""
        line = self._brands.get(brand) or _Line()
        if line.waiting >= self._limits.max_queued_of_brand:
            raise self._full(line, f"{line.waiting} requests of brands/{brand} wait already", "brand")
        if self._all.waiting >= self._limits.max_queued:
            raise self._full(self._all, f"{self._all.waiting} requests wait already", "all")
        self._last += 1
        now = self._clock()
        place = Place(brand, self._last, now, self)
        self._brands[brand] = line
        self._places[place.number] = place
        for counted in (self._all, line):
            counted.enter(now)
        self._meter.queue_changed(self._all.waiting, brand, line.waiting)
        return place

    def before(self, number: int) -> int:
        """Places with a smaller number."""
        return sum(1 for other in self._places if other < number)

    def take_out(self, place: Place, *, started: bool) -> None:
        """See Place."""
        now = self._clock()
        line = self._brands[place.brand]
        del self._places[place.number]
        for counted in (self._all, line):
            counted.leave(now)
        if line.waiting == 0:
            del self._brands[place.brand]
        self._meter.queue_changed(self._all.waiting, place.brand, line.waiting)
        if started:
            self._meter.request_started(now - place.since)

    def _full(self, line: _Line, message: str, which: str) -> Unavailable:
        self._meter.request_refused(which)
        now = self._clock()
        measured = line.seconds_each(now) or self._all.seconds_each(now)
        seconds = line.retry_seconds(now, measured or UNMEASURED_SECONDS)
        return Unavailable(
            f"{message}; try again in {seconds:.1f} s",
            reason=QUEUE_FULL,
            retry_after_seconds=seconds,
            metadata={"queue": which},
        )

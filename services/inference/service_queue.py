"""Requests that wait for their first step: bounded as a whole and for each brand, and able to say when there
will be room. Those that wait for the registry, for files from the store or for a base model's wait beside the
others: who of these is away takes no place from requests that have all they need here.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
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

    def leave(self, now: float, *, for_good: bool) -> None:
        """One less; who comes back says nothing of the line's speed."""
        self.waiting -= 1
        if for_good:
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


class _Lines:
    """One line for everybody, in which each brand has its part."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.all = _Line()
        self.brands: dict[str, _Line] = {}
        """Those in which somebody waits."""

    def enter(self, brand: str, now: float) -> None:
        """One more waits."""
        for line in (self.all, self.brands.setdefault(brand, _Line())):
            line.enter(now)

    def leave(self, brand: str, now: float, *, for_good: bool = True) -> None:
        """One less."""
        for line in (self.all, self.brands[brand]):
            line.leave(now, for_good=for_good)
        if self.brands[brand].waiting == 0:
            del self.brands[brand]

    def waiting(self, brand: str) -> int:
        """Of the brand."""
        return self.brands[brand].waiting if brand in self.brands else 0

    def full(self, brand: str) -> tuple[_Line, str, str] | None:
        """The line in which there is no room for one more of the brand, who waits there, and its name."""
        line = self.brands.get(brand)
        if line is not None and line.waiting >= self._limits.max_queued_of_brand:
            return line, f"{line.waiting} requests of brands/{brand}", "brand"
        if self.all.waiting >= self._limits.max_queued:
            return self.all, f"{self.all.waiting} requests", "all"
        return None


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

    @contextmanager
    def aside(self) -> Iterator[None]:
        """What it needs is being fetched: meanwhile the place is another's. Unavailable, like `join`, when
        too many wait so.
        """
        with self._queue.beside(self.brand):
            self._queue.step_out(self.brand)
            try:
                yield
            finally:
                self._queue.step_in(self.brand)

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
        self._meter = meter
        self._clock = clock
        self._lines = _Lines(limits)
        self._fetching = _Lines(limits)
        self._places: dict[int, Place] = {}
        self._last = 0

    @property
    def waiting(self) -> int:
        """Requests that wait for their turn."""
        return self._lines.all.waiting

    @property
    def waiting_by_brand(self) -> Mapping[str, int]:
        """Requests that wait for their turn, for brands that have any."""
        return {brand: line.waiting for brand, line in self._lines.brands.items()}

    def join(self, brand: str) -> Place:
        """A place; Unavailable, with the time after which there is likely to be room, when there is none."""
        self._require_room(self._lines, brand, "wait already", "")
        self._last += 1
        now = self._clock()
        place = Place(brand, self._last, now, self)
        self._places[place.number] = place
        self._lines.enter(brand, now)
        self._tell(brand)
        return place

    def before(self, number: int) -> int:
        """Places with a smaller number."""
        return sum(1 for other in self._places if other < number)

    @contextmanager
    def beside(self, brand: str) -> Iterator[None]:
        """What is needed for something of the brand is being fetched; Unavailable, like `join`, when too many
        wait so.
        """
        self._require_room(self._fetching, brand, "wait for files or the registry already", "fetching_")
        self._fetching.enter(brand, self._clock())
        self._tell(brand)
        try:
            yield
        finally:
            self._fetching.leave(brand, self._clock())
            self._tell(brand)

    def step_out(self, brand: str) -> None:
        """A place is free until somebody steps in."""
        self._lines.leave(brand, self._clock(), for_good=False)
        self._tell(brand)

    def step_in(self, brand: str) -> None:
        """There may be more for a while than the queue has room for, twice as many at most."""
        self._lines.enter(brand, self._clock())
        self._tell(brand)

    def take_out(self, place: Place, *, started: bool) -> None:
        """See Place."""
        now = self._clock()
        del self._places[place.number]
        self._lines.leave(place.brand, now)
        self._tell(place.brand)
        if started:
            self._meter.request_started(now - place.since)

    def _tell(self, brand: str) -> None:
        self._meter.queue_changed(self.waiting, brand, self._lines.waiting(brand))
        self._meter.fetching_changed(self._fetching.all.waiting)

    def _require_room(self, lines: _Lines, brand: str, what: str, prefix: str) -> None:
        full = lines.full(brand)
        if full is None:
            return
        line, who, which = full
        self._meter.request_refused(prefix + which)
        now = self._clock()
        measured = line.seconds_each(now) or lines.all.seconds_each(now)
        seconds = line.retry_seconds(now, measured or UNMEASURED_SECONDS)
        raise Unavailable(
            f"{who} {what}; try again in {seconds:.1f} s",
            reason=QUEUE_FULL,
            retry_after_seconds=seconds,
            metadata={"queue": prefix + which},
        )

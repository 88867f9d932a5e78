"""Which queued jobs a worker gets: fair across brands, then by priority, then by age; and only such as fit
one pack."""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from services.trainer.room import Room
from services.trainer.spec import Precision, TrainingSpec

# A job that was in this many packs that died may be what kills them: it trains alone, and harms nobody else.
SUSPECT_FAILURES: Final = 2
_AGED: Final = 1 << 16
"""Above all priorities that a caller can give."""
Rank = tuple[int, datetime, int, datetime, str]
_NEVER: Final = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class PackKey:
    """What jobs must share to train in the same forward and backward passes (the base decides the family)."""

    base_sha256: str
    resolution: int
    precision: Precision

    def __str__(self) -> str:
        size = f"{self.resolution} px" if self.resolution else "texts"
        return f"{self.base_sha256[:12]}, {size}, {self.precision}"


@dataclass(frozen=True, kw_only=True, slots=True)
class QueueRules:
    """How long jobs wait."""

    longest_wait: timedelta = timedelta(seconds=120)
    """Then no running pack takes others instead."""
    turn: timedelta = timedelta(seconds=900)
    """Then a pack that has had its worker for so long makes way."""
    aging: timedelta = timedelta(hours=6)
    """Then it goes before all others of its brand, whatever their priority."""
    grace: timedelta = timedelta(seconds=3)
    """Before that nobody makes way: a place may be free, and its worker just has not asked yet."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """A queued job as the choice sees it."""

    name: str
    brand: str
    priority: int
    line_time: datetime
    """Its place in the line: when it was created, or when it last had to make way."""
    waiting_since: datetime
    pack_key: PackKey
    failures: int = 0
    steps_left: int = 0
    spec: TrainingSpec | None = None
    """None where nobody asks how much memory it takes."""

    @property
    def is_suspect(self) -> bool:
        """Whether it has to train alone."""
        return self.failures >= SUSPECT_FAILURES


@dataclass(frozen=True, kw_only=True, slots=True)
class Wish:
    """What a worker asks for. `joining` is what it trains already: None when it is idle."""

    max_jobs: int
    joining: PackKey | None = None
    base_sha256: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Queue:
    """Those who wait, how many jobs of each brand are leased, and when each last got a place."""

    waiting: Sequence[Candidate]
    running: Mapping[str, int]
    served: Mapping[str, datetime]
    now: datetime
    rules: QueueRules

    def rank(
        self,
        candidate: Candidate,
        counts: Mapping[str, int],
        served: Mapping[str, datetime] | None = None,
    ) -> Rank:
        """The smallest comes first: a brand with fewer running jobs, then one that got no place for longer,
        then the priority, then the line.

        `served` stands for the queue's own.
        """
        brand = candidate.brand
        served_at = (self.served if served is None else served).get(brand, _NEVER)
        aged = self.has_waited(candidate, self.rules.aging)
        priority = _AGED if aged else candidate.priority
        return (counts.get(brand, 0), served_at, -priority, candidate.line_time, candidate.name)

    def has_waited(self, candidate: Candidate, wait: timedelta) -> bool:
        """Whether the job waits for so long."""
        return self.now - candidate.waiting_since >= wait

    def in_order(self) -> Iterator[Candidate]:
        """All jobs in the order in which places would be given to them, if every place suited them."""
        lines: defaultdict[str, list[Candidate]] = defaultdict(list)
        for candidate in self.waiting:
            lines[candidate.brand].append(candidate)
        counts, served = Counter(dict(self.running)), dict(self.served)
        for line in lines.values():
            line.sort(key=lambda candidate: self.rank(candidate, {}), reverse=True)
        heads = [(self.rank(line[-1], counts), brand) for brand, line in lines.items()]
        heapq.heapify(heads)
        for place in range(len(self.waiting)):
            _, brand = heapq.heappop(heads)
            yield lines[brand].pop()
            counts[brand] += 1
            served[brand] = self.now + place * timedelta.resolution
            if lines[brand]:
                heapq.heappush(heads, (self.rank(lines[brand][-1], counts, served), brand))


def choose(queue: Queue, wish: Wish, *, room: Room | None = None) -> list[Candidate]:
    """The jobs to lease, best first.

    A worker that trains already gets jobs of its pack only, and none once another pack's job, which would
    have come first, has waited for the longest wait: so no pack lives for ever. Nobody joins who finds no
    `room` on the worker's device; the first of a pack finds that out by itself.
    """
    counts = Counter(dict(queue.running))
    waiting = list(queue.waiting)
    chosen: list[Candidate] = []
    key = wish.joining
    if key is None and wish.base_sha256:
        waiting = [candidate for candidate in waiting if candidate.pack_key.base_sha256 == wish.base_sha256]
    if key is not None and _somebody_starves(queue, waiting, counts, key):
        return []
    while waiting and len(chosen) < wish.max_jobs:
        fitting = [candidate for candidate in waiting if fits(candidate, key, alone=not chosen)]
        if not fitting:
            break
        best = min(fitting, key=lambda candidate: queue.rank(candidate, counts))
        if room is not None and best.spec is not None:
            found = room.take(best.pack_key.base_sha256, best.spec)
            if not found and (chosen or wish.joining):
                break
        chosen.append(best)
        if best.is_suspect:
            break
        waiting.remove(best)
        counts[best.brand] += 1
        key = best.pack_key
    return chosen


def fits(candidate: Candidate, key: PackKey | None, *, alone: bool) -> bool:
    """Whether the job may train with those of the key; None: nobody trains there yet."""
    if candidate.is_suspect:
        return key is None and alone
    return key is None or candidate.pack_key == key


def _somebody_starves(
    queue: Queue, waiting: Sequence[Candidate], counts: Mapping[str, int], key: PackKey
) -> bool:
    if not waiting:
        return False
    best = min(waiting, key=lambda candidate: queue.rank(candidate, counts))
    return not fits(best, key, alone=False) and queue.has_waited(best, queue.rules.longest_wait)

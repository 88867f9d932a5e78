"""Which queued jobs a worker gets: fair across brands, then by priority, then by age; and only such as fit
one pack."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from services.trainer.spec import Precision

# A job that was in this many packs that died may be what kills them: it trains alone, and harms nobody else.
SUSPECT_FAILURES: Final = 2


@dataclass(frozen=True, slots=True)
class PackKey:
    """What jobs must share to train in the same forward and backward passes (the base decides the family)."""

    base_sha256: str
    resolution: int
    precision: Precision


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """A queued job as the choice sees it."""

    name: str
    brand: str
    priority: int
    create_time: datetime
    queued_since: datetime
    pack_key: PackKey
    failures: int

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


def choose(
    candidates: Sequence[Candidate],
    running: Mapping[str, int],
    wish: Wish,
    *,
    now: datetime,
    longest_wait: timedelta,
) -> list[Candidate]:
    """The jobs to lease, best first; `running` tells how many jobs of each brand are leased now.

    A brand with fewer running jobs comes first. A worker that trains already gets jobs of its pack only, and
    none once another pack's job, which would have come first, has waited for `longest_wait`: so no pack lives
    for ever.
    """
    counts = Counter(dict(running))
    waiting = list(candidates)
    chosen: list[Candidate] = []
    key = wish.joining
    if key is None and wish.base_sha256:
        waiting = [candidate for candidate in waiting if candidate.pack_key.base_sha256 == wish.base_sha256]
    if key is not None and _somebody_starves(waiting, counts, key, now - longest_wait):
        return []
    while waiting and len(chosen) < wish.max_jobs:
        fitting = [candidate for candidate in waiting if _fits(candidate, key, alone=not chosen)]
        if not fitting:
            break
        best = min(fitting, key=lambda candidate: _rank(candidate, counts))
        chosen.append(best)
        if best.is_suspect:
            break
        waiting.remove(best)
        counts[best.brand] += 1
        key = best.pack_key
    return chosen


def _fits(candidate: Candidate, key: PackKey | None, *, alone: bool) -> bool:
    if candidate.is_suspect:
        return key is None and alone
    return key is None or candidate.pack_key == key


def _somebody_starves(
    waiting: Sequence[Candidate], counts: Mapping[str, int], key: PackKey, since: datetime
) -> bool:
    if not waiting:
        return False
    best = min(waiting, key=lambda candidate: _rank(candidate, counts))
    return not _fits(best, key, alone=False) and best.queued_since <= since


def _rank(candidate: Candidate, counts: Mapping[str, int]) -> tuple[int, int, datetime, str]:
    return (counts.get(candidate.brand, 0), -candidate.priority, candidate.create_time, candidate.name)

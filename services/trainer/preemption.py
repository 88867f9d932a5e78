"""Who makes way for whom: a running job for one of a higher priority, a pack for one that has waited long.

Whoever makes way leaves a checkpoint, goes back to the queue and comes back when a place is free.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from services.trainer.leasing import Candidate, PackKey, Queue, fits
from services.trainer.spec import TrainingSpec


@dataclass(frozen=True, kw_only=True, slots=True)
class Running:
    """A leased job as the packer sees it."""

    name: str
    brand: str
    priority: int
    pack_key: PackKey
    worker: str
    since: datetime
    """When the worker took it."""
    is_suspect: bool = False
    makes_way: bool = False
    """Whether it was told to."""
    steps_left: int = 0
    seconds_left: float | None = None
    spec: TrainingSpec


@dataclass(frozen=True, slots=True)
class Seat:
    """A worker that has been heard of, the most jobs that it trains together, and on what."""

    worker: str
    places: int
    device: str


@dataclass(frozen=True, slots=True)
class MakeWay:
    """Jobs that are to leave for another, and why."""

    candidate: Candidate
    victims: Sequence[Running]
    why: str


def who_makes_way(queue: Queue, running: Sequence[Running], seats: Sequence[Seat]) -> MakeWay | None:
    """The next jobs to leave; None when nobody has to, or somebody is leaving already."""
    if any(job.makes_way for job in running):
        return None
    packs: defaultdict[str, list[Running]] = defaultdict(list)
    for job in running:
        packs[job.worker].append(job)
    seen: set[PackKey] = set()
    for candidate in queue.in_order():
        if candidate.pack_key in seen or not queue.has_waited(candidate, queue.rules.grace):
            continue
        seen.add(candidate.pack_key)
        if any(_has_place(candidate, packs.get(seat.worker, []), seat) for seat in seats):
            continue
        found = _for(candidate, queue, packs, {seat.worker for seat in seats})
        if found is not None:
            return found
    return None


def _has_place(candidate: Candidate, pack: Sequence[Running], seat: Seat) -> bool:
    if not pack:
        return True
    suits = fits(candidate, pack[0].pack_key, alone=False) and not pack[0].is_suspect
    return suits and len(pack) < seat.places


def _for(
    candidate: Candidate, queue: Queue, packs: Mapping[str, Sequence[Running]], workers: set[str]
) -> MakeWay | None:
    """One job of a full pack that the candidate suits; else a whole pack, the one whose loss is least."""
    groups: list[Sequence[Running]] = []
    for worker, pack in packs.items():
        if worker not in workers:
            continue
        if fits(candidate, pack[0].pack_key, alone=False):
            groups += [[job] for job in pack]
        else:
            groups.append(pack)
    found = [
        MakeWay(candidate, group, why) for group in groups if (why := _reason(candidate, group, queue, packs))
    ]
    return min(
        found,
        key=lambda way: (len(way.victims), max(job.priority for job in way.victims), -_latest(way.victims)),
        default=None,
    )


def _latest(victims: Sequence[Running]) -> float:
    return max(job.since for job in victims).timestamp()


def _reason(
    candidate: Candidate,
    victims: Sequence[Running],
    queue: Queue,
    packs: Mapping[str, Sequence[Running]],
) -> str:
    """Why they make way; empty if they do not."""
    if not _would_be_next(candidate, victims, queue):
        return ""
    if all(candidate.priority > job.priority for job in victims):
        return f"makes way for a job of priority {candidate.priority}"
    pack = packs[victims[0].worker]
    had_its_turn = all(queue.now - job.since >= queue.rules.turn for job in pack)
    starves = queue.has_waited(candidate, queue.rules.turn) and not fits(
        candidate, victims[0].pack_key, alone=False
    )
    if had_its_turn and starves and len(victims) == len(pack):
        return f"makes way for a pack that has waited for {queue.rules.turn.total_seconds():g} s"
    return ""


def _would_be_next(candidate: Candidate, victims: Sequence[Running], queue: Queue) -> bool:
    """Whether the candidate would get the place: else the same jobs would come back at once."""
    left = Counter(dict(queue.running))
    left.subtract(job.brand for job in victims)
    own = queue.rank(candidate, left)
    return all(own < queue.rank(_back_in_line(job, queue), left) for job in victims)


def _back_in_line(job: Running, queue: Queue) -> Candidate:
    return Candidate(
        name=job.name,
        brand=job.brand,
        priority=job.priority,
        line_time=queue.now,
        waiting_since=queue.now,
        pack_key=job.pack_key,
    )

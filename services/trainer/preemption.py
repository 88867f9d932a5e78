"""Who makes way for whom: a running job for one of a higher priority, a pack for one that has waited long.

Whoever makes way leaves a checkpoint, goes back to the queue and comes back when a place is free.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from services.trainer.leasing import Candidate, PackKey, Queue, fits
from services.trainer.memory_figures import BaseMemory
from services.trainer.room import Room
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
    """Since when the worker trains it, or prepares to."""
    prepares: bool = False
    """Whether it does not train yet."""
    came_back: bool = False
    """Whether it made way before."""
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
    served: frozenset[str] = frozenset()
    """Brands that have had their turn, and count as if they had got their places now."""


def who_makes_way(
    queue: Queue,
    running: Sequence[Running],
    seats: Sequence[Seat],
    memories: Sequence[BaseMemory] = (),
) -> MakeWay | None:
    """The next jobs to leave; None when nobody has to, or the places that others leave are enough.

    `memories` tell whether there is room on the seats' devices.
    """
    packs = packs_of(running)
    staying = {seat.worker for seat in seats if not any(job.makes_way for job in packs.get(seat.worker, []))}
    promised = _places_left(packs, seats)
    seen: set[PackKey] = set()
    for candidate in queue.in_order():
        if candidate.pack_key in seen or not queue.has_waited(candidate, queue.rules.grace):
            continue
        if any(_has_place(candidate, packs.get(seat.worker, []), seat, memories) for seat in seats):
            seen.add(candidate.pack_key)
            continue
        if promised:
            promised -= 1
            continue
        seen.add(candidate.pack_key)
        found = _for(candidate, queue, packs, staying)
        if found is not None:
            return found
    return None


def packs_of(running: Sequence[Running]) -> dict[str, list[Running]]:
    """The jobs of each worker."""
    packs: defaultdict[str, list[Running]] = defaultdict(list)
    for job in running:
        packs[job.worker].append(job)
    return dict(packs)


def _places_left(packs: Mapping[str, Sequence[Running]], seats: Sequence[Seat]) -> int:
    """Places that will be free when all have left who were told to: they are for those who come first."""
    places = {seat.worker: seat.places for seat in seats}
    left = 0
    for worker, pack in packs.items():
        leaving = sum(job.makes_way for job in pack)
        left += places.get(worker, leaving) if leaving == len(pack) else leaving
    return left


def _has_place(
    candidate: Candidate, pack: Sequence[Running], seat: Seat, memories: Sequence[BaseMemory]
) -> bool:
    if not pack:
        return True
    if pack[0].is_suspect or len(pack) >= seat.places or not fits(candidate, pack[0].pack_key, alone=False):
        return False
    room = Room(seat.device, memories, ((job.pack_key.base_sha256, job.spec) for job in pack))
    return candidate.spec is None or room.has(candidate.pack_key.base_sha256, candidate.spec)


def _for(
    candidate: Candidate, queue: Queue, packs: Mapping[str, Sequence[Running]], workers: Collection[str]
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
    return min(
        [way for group in groups if (way := _way(candidate, group, queue, packs[group[0].worker]))],
        key=lambda way: (len(way.victims), max(job.priority for job in way.victims), -_latest(way.victims)),
        default=None,
    )


def _latest(victims: Sequence[Running]) -> float:
    return max(job.since for job in victims).timestamp()


def _way(
    candidate: Candidate, victims: Sequence[Running], queue: Queue, pack: Sequence[Running]
) -> MakeWay | None:
    """Whether these of the pack make way, and why. One that made way before keeps its place for a turn: else
    it would never get anywhere.
    """
    urgent = all(
        candidate.priority > job.priority and (not job.came_back or _had_its_turn(job, queue))
        for job in victims
    )
    if urgent and _would_be_next(candidate, victims, queue, queue.served):
        return MakeWay(candidate, victims, f"makes way for a job of priority {candidate.priority}")
    if fits(candidate, pack[0].pack_key, alone=False) or not queue.has_waited(candidate, queue.rules.turn):
        return None
    brands = frozenset(job.brand for job in pack)
    served = {**queue.served, **dict.fromkeys(brands, queue.now)}
    if all(_had_its_turn(job, queue) for job in pack) and _would_be_next(candidate, pack, queue, served):
        why = f"makes way for a pack that has waited for {queue.rules.turn.total_seconds():g} s"
        return MakeWay(candidate, pack, why, brands)
    return None


def _had_its_turn(job: Running, queue: Queue) -> bool:
    return not job.prepares and queue.now - job.since >= queue.rules.turn


def _would_be_next(
    candidate: Candidate, victims: Sequence[Running], queue: Queue, served: Mapping[str, datetime]
) -> bool:
    """Whether the candidate would get the place: else the same jobs would come back at once."""
    left = Counter(dict(queue.running))
    left.subtract(job.brand for job in victims)
    own = queue.rank(candidate, left, served)
    return all(own < queue.rank(_back_in_line(job, queue), left, served) for job in victims)


def _back_in_line(job: Running, queue: Queue) -> Candidate:
    return Candidate(
        name=job.name,
        brand=job.brand,
        priority=job.priority,
        line_time=queue.now,
        waiting_since=queue.now,
        pack_key=job.pack_key,
    )

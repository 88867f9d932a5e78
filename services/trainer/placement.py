"""Where jobs stand: in which pack and beside how many others, or why one waits and when it may start.

What a queued job is told is what the packer itself would do: its choice is played through, with the running
jobs ending when their speed says.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from statistics import fmean
from typing import Final

from services.trainer.leasing import Candidate, PackKey, Queue, Wish, choose, fits
from services.trainer.memory_figures import BaseMemory
from services.trainer.preemption import Running, Seat, packs_of
from services.trainer.room import Room
from services.trainer.spec import TrainingSpec

HORIZON: Final = 64
"""Queued jobs whose start is estimated; those behind them are told their position only."""
_FAR: Final = timedelta(days=365)
"""Nothing is estimated that far ahead."""
_SOON: Final = timedelta(seconds=2)


class Standing(StrEnum):
    """Why a job is where it is."""

    TRAINING = "training"
    LEAVING = "leaving"
    NEXT = "next"
    BACKING_OFF = "backing_off"
    NO_WORKER = "no_worker"
    PACK_FULL = "pack_full"
    OTHER_PACKS = "other_packs"


@dataclass(frozen=True, kw_only=True, slots=True)
class Placement:
    """Where a job stands. `companions` train in the same passes; `position` counts the jobs before it."""

    standing: Standing
    why: str
    companions: int = 0
    position: int = 0
    start: datetime | None = None
    """When it may start; None where nothing tells."""


def placements(
    queue: Queue, running: Sequence[Running], seats: Sequence[Seat], memories: Sequence[BaseMemory] = ()
) -> dict[str, Placement]:
    """Of all jobs, by name. `queue` holds all that wait, even those whose time is still to come, the first
    `HORIZON` of them with their specs: `memories` tell whether there is room for these.
    """
    packs = packs_of(running)
    found = {job.name: _of_running(job, packs[job.worker]) for job in running}
    order = list(queue.in_order())
    starts = _Play(queue, running, seats, memories).starts(order[:HORIZON])
    for position, candidate in enumerate(order):
        start = starts.get(candidate.name)
        standing, why = _why(candidate, queue, packs, seats, start)
        found[candidate.name] = Placement(standing=standing, why=why, position=position, start=start)
    return found


def _of_running(job: Running, pack: Sequence[Running]) -> Placement:
    others = len(pack) - 1
    if job.makes_way:
        why = "leaves with a checkpoint for another job; it goes on when a place is free"
        return Placement(standing=Standing.LEAVING, why=why, companions=others)
    beside = {0: "alone in its pack", 1: "with 1 other job"}.get(others, f"with {others} other jobs")
    if job.is_suspect:
        beside = "alone: its workers died under it before"
    return Placement(standing=Standing.TRAINING, why=f"trains {beside}", companions=others)


def _why(
    candidate: Candidate,
    queue: Queue,
    packs: Mapping[str, Sequence[Running]],
    seats: Sequence[Seat],
    start: datetime | None,
) -> tuple[Standing, str]:
    if candidate.waiting_since > queue.now:
        seconds = (candidate.waiting_since - queue.now).total_seconds()
        return Standing.BACKING_OFF, f"is tried again in {seconds:.0f} s"
    if not seats:
        return Standing.NO_WORKER, "no worker has been heard of lately"
    if start is not None and start <= queue.now:
        return Standing.NEXT, "a worker has a place for it"
    suiting = [pack for pack in packs.values() if fits(candidate, pack[0].pack_key, alone=False)]
    if candidate.is_suspect:
        why = "its workers died under it before: it waits for one that trains nothing else"
        return Standing.OTHER_PACKS, why
    if suiting:
        return Standing.PACK_FULL, _full(suiting, seats)
    return Standing.OTHER_PACKS, "the workers train packs that it cannot join; they take turns"


def _full(suiting: Sequence[Sequence[Running]], seats: Sequence[Seat]) -> str:
    jobs = sum(len(pack) for pack in suiting)
    them = f"{f'{jobs} jobs' if jobs > 1 else '1 job'} that it could train with"
    places = {seat.worker: seat.places for seat in seats}
    if any(len(pack) < places.get(pack[0].worker, 0) for pack in suiting):
        return f"memory has no room for it beside {them}"
    return f"all places are taken by {them}"


@dataclass(frozen=True, slots=True)
class _Place:
    """A taken place in the play; `end` is None where nothing tells."""

    brand: str
    pack_key: PackKey
    end: datetime | None
    is_suspect: bool
    spec: TrainingSpec | None


class _Play:
    """The packer's choices from now on, job by job."""

    def __init__(
        self,
        queue: Queue,
        running: Sequence[Running],
        seats: Sequence[Seat],
        memories: Sequence[BaseMemory],
    ) -> None:
        self._queue = queue
        self._seats = seats
        self._memories = memories
        self._counts = Counter(dict(queue.running))
        self._speeds = _seconds_a_step(running)
        self._taken: defaultdict[str, list[_Place]] = defaultdict(list)
        for job in running:
            end = _end(queue.now, job.seconds_left)
            self._taken[job.worker].append(_Place(job.brand, job.pack_key, end, job.is_suspect, job.spec))

    def starts(self, waiting: Sequence[Candidate]) -> dict[str, datetime]:
        """When each job gets its place; without those of which nothing tells."""
        left, now = list(waiting), self._queue.now
        found: dict[str, datetime] = {}
        while left:
            for seat in self._seats:
                for candidate in self._lease(seat, left, now):
                    found[candidate.name] = now
                    left.remove(candidate)
            following = self._next(left, now)
            if following is None:
                break
            now = following
            self._free(now)
        return found

    def _lease(self, seat: Seat, left: Sequence[Candidate], now: datetime) -> list[Candidate]:
        pack = self._taken[seat.worker]
        free = seat.places - len(pack)
        if free <= 0 or any(place.is_suspect for place in pack):
            return []
        ready = [candidate for candidate in left if candidate.waiting_since <= now]
        queue = replace(self._queue, waiting=ready, running=self._counts, now=now)
        wish = Wish(max_jobs=free, joining=pack[0].pack_key if pack else None)
        held = [(place.pack_key.base_sha256, place.spec) for place in pack if place.spec is not None]
        chosen = choose(queue, wish, room=Room(seat.device, self._memories, held))
        for candidate in chosen:
            seconds = self._speeds.get(candidate.pack_key, self._speeds.get(None))
            end = None if seconds is None else _end(now, seconds * candidate.steps_left)
            place = _Place(candidate.brand, candidate.pack_key, end, candidate.is_suspect, candidate.spec)
            pack.append(place)
            self._counts[candidate.brand] += 1
        return chosen

    def _next(self, left: Sequence[Candidate], now: datetime) -> datetime | None:
        """When something happens again."""
        ends = [place.end for pack in self._taken.values() for place in pack if place.end is not None]
        times = [*(max(end, now + _SOON) for end in ends), *(candidate.waiting_since for candidate in left)]
        return min((time for time in times if time > now), default=None)

    def _free(self, now: datetime) -> None:
        for worker, pack in self._taken.items():
            ended = [place for place in pack if place.end is not None and place.end <= now]
            self._counts.subtract(place.brand for place in ended)
            self._taken[worker] = [place for place in pack if place not in ended]


def _end(now: datetime, seconds: float | None) -> datetime | None:
    """None where nothing tells, or nothing near enough to be worth telling."""
    if seconds is None or not seconds < _FAR.total_seconds():
        return None
    return now + timedelta(seconds=seconds)


def _seconds_a_step(running: Sequence[Running]) -> dict[PackKey | None, float]:
    """Of each kind of pack; under None the mean of all."""
    speeds: defaultdict[PackKey | None, list[float]] = defaultdict(list)
    for job in running:
        if job.seconds_left is not None and job.steps_left > 0:
            for key in (job.pack_key, None):
                speeds[key].append(job.seconds_left / job.steps_left)
    return {key: fmean(seconds) for key, seconds in speeds.items()}

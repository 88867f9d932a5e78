"""Whatever comes in, every job gets further: the packer in simulated time, with workers that obey."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from services.trainer.domain import Job
from services.trainer.events import JobState
from services.trainer.leasing import SUSPECT_FAILURES, Candidate, Queue, QueueRules, Wish, choose
from services.trainer.preemption import Running, Seat, who_makes_way
from tests.fixtures.trainer_jobs import BASE, NOW, job

RULES = QueueRules()
TICK = 5.0
BASES = tuple(replace(BASE, sha256=letter * 64) for letter in "bcd")


@dataclass
class Plant:
    """Workers, jobs that need so many seconds of training, and how long a job is prepared."""

    seats: list[Seat]
    preparing: float = 30.0
    now: datetime = NOW
    jobs: dict[str, Job] = field(default_factory=dict)
    left: dict[str, float] = field(default_factory=dict)
    ready: dict[str, datetime] = field(default_factory=dict)
    served: dict[str, datetime] = field(default_factory=dict)
    given_way: Counter[str] = field(default_factory=Counter)

    def submit(self, brand: str, work: float, *, priority: int = 0, base: int = 0) -> str:
        name = f"j{len(self.jobs):05d}"
        made = job(name, brand=brand, base=BASES[base], priority=priority, create_time=self.now)
        self.jobs[made.name] = made
        self.left[made.name] = work
        return made.name

    def ended(self, name: str) -> bool:
        return self.jobs[name].state is JobState.SUCCEEDED

    def tick(self) -> None:
        self.now += timedelta(seconds=TICK)
        for seat in self.seats:
            self._train(seat)
        self._make_way()
        for seat in self.seats:
            self._obey(seat)
            self._lease(seat)

    def held(self, seat: Seat) -> list[Job]:
        return [one for one in self.leased() if worker_of(one) == seat.worker]

    def leased(self) -> list[Job]:
        return [one for one in self.jobs.values() if one.lease is not None]

    def _train(self, seat: Seat) -> None:
        for one in self.held(seat):
            if self.now < self.ready[one.name]:
                continue
            if one.state is JobState.PREPARING:
                one.report(JobState.RUNNING, self.now)
                continue
            self.left[one.name] -= TICK
            if self.left[one.name] <= 0:
                one.succeed(one.fencing_token, "v", self.now)

    def _queue(self) -> Queue:
        waiting = [
            Candidate(
                name=one.name,
                brand=one.brand,
                priority=one.priority,
                line_time=one.line_time,
                waiting_since=one.not_before,
                pack_key=one.pack_key,
                failures=one.failures,
            )
            for one in self.jobs.values()
            if one.state is JobState.QUEUED and one.not_before <= self.now
        ]
        running = Counter(one.brand for one in self.leased())
        return Queue(waiting=waiting, running=running, served=self.served, now=self.now, rules=RULES)

    def _make_way(self) -> None:
        running = [
            Running(
                name=one.name,
                brand=one.brand,
                priority=one.priority,
                pack_key=one.pack_key,
                worker=worker_of(one),
                since=one.lease.since if one.lease else NOW,
                prepares=one.state is JobState.PREPARING,
                came_back=one.line_time > one.create_time,
                is_suspect=one.failures >= SUSPECT_FAILURES,
                makes_way=one.makes_way,
                spec=one.spec,
            )
            for one in self.leased()
        ]
        way = who_makes_way(self._queue(), running, self.seats)
        if way is None:
            return
        for victim in way.victims:
            self.jobs[victim.name].make_way(way.why, self.now)
            self.given_way[victim.name] += 1
        self.served |= dict.fromkeys(way.served, self.now)

    def _obey(self, seat: Seat) -> None:
        for one in self.held(seat):
            if one.makes_way:
                one.give_back(one.fencing_token, self.now)

    def _lease(self, seat: Seat) -> None:
        held = self.held(seat)
        if len(held) >= seat.places or any(one.failures >= SUSPECT_FAILURES for one in held):
            return
        wish = Wish(max_jobs=seat.places - len(held), joining=held[0].pack_key if held else None)
        for chosen in choose(self._queue(), wish):
            one = self.jobs[chosen.name]
            one.lease_to(seat.worker, self.now, timedelta(days=1))
            self.ready[one.name] = self.now + timedelta(seconds=self.preparing)
            self.served[one.brand] = self.now


def worker_of(leased: Job) -> str:
    return leased.lease.worker if leased.lease else ""


def run(plant: Plant, seconds: float, *, keep: int = 0, **flood: Any) -> None:
    """`keep` jobs of the flood wait at any time."""
    until = plant.now + timedelta(seconds=seconds)
    mine: list[str] = []
    while plant.now < until:
        mine = [name for name in mine if not plant.ended(name)]
        while len(mine) < keep:
            mine.append(plant.submit(**flood))
        plant.tick()


HOUR = 3600.0


def test_a_brand_that_floods_with_priority_does_not_stop_another() -> None:
    plant = Plant([Seat("w1", 1, "CPU")])
    victim = plant.submit("acme", HOUR)
    run(plant, 24 * HOUR, keep=2, brand="zeta", work=300.0, priority=100)
    assert plant.ended(victim)


def test_an_aged_job_goes_on_among_higher_priorities_of_its_brand() -> None:
    plant = Plant([Seat("w1", 1, "CPU")])
    low = plant.submit("acme", HOUR, priority=-1)
    run(plant, 60 * HOUR, keep=3, brand="acme", work=1800.0)
    assert plant.ended(low)


def test_packs_that_take_long_to_prepare_get_further_all_the_same() -> None:
    plant = Plant([Seat("w1", 2, "CPU")], preparing=1200.0)
    names = [plant.submit("acme", 600.0), plant.submit("zeta", 600.0, base=1)]
    run(plant, 24 * HOUR)
    assert all(plant.ended(name) for name in names)


def test_a_brand_that_was_served_last_gets_its_turn_too() -> None:
    """Its other job trains in the pack that has had its turn."""
    plant = Plant([Seat("w1", 4, "CPU")])
    plant.submit("acme", 1000 * HOUR)
    run(plant, 60)
    plant.submit("zeta", 1000 * HOUR)
    run(plant, 60)
    other = plant.submit("zeta", 600.0, base=1)
    run(plant, 3 * HOUR)
    assert plant.ended(other)


ARRIVALS = st.tuples(
    st.floats(0, 2 * HOUR),
    st.sampled_from("abcd"),
    st.sampled_from([60.0, 600.0, HOUR]),
    st.integers(-2, 5),
    st.integers(0, 2),
    st.sampled_from([0, 0, 0, SUSPECT_FAILURES]),
)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(ARRIVALS, min_size=1, max_size=25),
    st.lists(st.integers(1, 3), min_size=1, max_size=2),
    st.sampled_from([10.0, 100.0, 1500.0]),
)
def test_all_jobs_end_about_as_soon_as_one_after_another(
    arrivals: list[tuple[float, str, float, int, int, int]], places: list[int], preparing: float
) -> None:
    """Suspects among them: no two packs or jobs keep one another from getting on."""
    plant = Plant([Seat(f"w{number}", count, "CPU") for number, count in enumerate(places)], preparing)
    coming = sorted(arrivals)
    work = sum(one[2] for one in arrivals)
    beginnings = work / RULES.turn.total_seconds() + 4 * len(arrivals)
    bound = 3 * HOUR + work + beginnings * (preparing + 6 * TICK)
    while coming or not all(plant.ended(name) for name in plant.jobs):
        while coming and coming[0][0] <= (plant.now - NOW).total_seconds():
            _, brand, seconds, priority, base, failures = coming.pop(0)
            name = plant.submit(brand, seconds, priority=priority, base=base)
            plant.jobs[name].failures = failures
        plant.tick()
        assert (plant.now - NOW).total_seconds() < bound, (plant.left, plant.given_way)

"""Two trainers on one database decide at the same time."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from servicekit.database import Database, migrate
from services.trainer.application import MIGRATIONS
from services.trainer.bell import LocalBell
from services.trainer.domain import Job
from services.trainer.events import JobState, Notice
from services.trainer.leasing import QueueRules, Wish
from services.trainer.preemption import Seat
from services.trainer.repository import SqlJobs, SqlJobTransaction
from services.trainer.retries import RetryPolicy
from services.trainer.service_packing import PackingService
from services.trainer.service_workers import Completion, Held, Instruction, LeaseRules, WorkerService
from tests.fakes.trainer_ports import CountingMeters, ManualClock
from tests.fixtures.trainer_jobs import BASE, job
from tests.fixtures.trainer_rows import insert


class Replica:
    """The use cases over a connection pool of their own."""

    def __init__(self, url: str, clock: ManualClock) -> None:
        self.database = Database(url)
        self.jobs = SqlJobs(self.database, clock)
        bell, rules = LocalBell(), LeaseRules()
        self.packer = PackingService(self.jobs, bell, clock, QueueRules(), seen_within=timedelta(minutes=1))
        self.workers = WorkerService(
            self.jobs, bell, CountingMeters(), clock, rules, RetryPolicy(max_retries=3)
        )


@pytest.fixture
async def replicas(database_url: str) -> AsyncIterator[tuple[list[Replica], ManualClock]]:
    await asyncio.to_thread(migrate, database_url, MIGRATIONS)
    clock = ManualClock()
    made = [Replica(database_url, clock) for _ in range(2)]
    yield made, clock
    for replica in made:
        await replica.database.dispose()


async def notices(replica: Replica, name: str) -> int:
    async with replica.jobs.snapshot() as reader:
        events = await reader.events(name, after=0, limit=1000)
    return sum(isinstance(event.payload, Notice) and "makes way" in event.payload.text for event in events)


@pytest.mark.postgres
async def test_a_decision_that_came_late_is_not_told_again(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await asyncio.to_thread(migrate, postgres_url, MIGRATIONS)
    clock = ManualClock()
    one, two = Replica(postgres_url, clock), Replica(postgres_url, clock)
    await insert(one.jobs, job("low", create_time=clock.now()))
    (held,) = await one.workers.lease(Seat("w1", 1, "CPU"), Wish(max_jobs=1))
    await insert(one.jobs, job("urgent", priority=5, create_time=clock.now()))
    clock.advance(5)
    decided, told = asyncio.Event(), asyncio.Event()
    lock_queued = SqlJobTransaction.lock_queued

    async def late(self: SqlJobTransaction, names: Sequence[str]) -> list[Job]:
        if not decided.is_set():
            decided.set()
            await told.wait()
        return await lock_queued(self, names)

    monkeypatch.setattr(SqlJobTransaction, "lock_queued", late)
    waiting = asyncio.create_task(one.packer.make_way())
    await decided.wait()
    assert await two.packer.make_way() == 1
    told.set()
    assert await waiting == 0
    assert await notices(one, held.name) == 1
    for replica in (one, two):
        await replica.database.dispose()


async def test_both_tell_the_same_job_once(replicas: tuple[list[Replica], ManualClock]) -> None:
    (one, two), clock = replicas
    for number in range(10):
        low, urgent = f"low{number}", f"urgent{number}"
        now = clock.now()
        await insert(one.jobs, job(low, create_time=now))
        seat = Seat(f"w{number}", 1, "CPU")
        (held,) = await one.workers.lease(seat, Wish(max_jobs=1))
        await insert(one.jobs, job(urgent, priority=5, create_time=now))
        clock.advance(5)
        told = await asyncio.gather(*(replica.packer.make_way() for replica in (one, two, one, two)))
        assert sum(told) == 1
        assert await notices(one, held.name) == 1
        completion = Completion(held=Held(held.name, held.fencing_token), state=JobState.PREEMPTED)
        await two.workers.complete(completion)
        for _ in range(2):
            (held,) = await two.workers.lease(seat, Wish(max_jobs=1))
            done = replace(completion, held=Held(held.name, held.fencing_token), state=JobState.SUCCEEDED)
            await one.workers.complete(replace(done, lora_version="v"))
        clock.advance(120)


async def test_everything_at_once_breaks_nothing(replicas: tuple[list[Replica], ManualClock]) -> None:
    """Workers of two bases lease, hear and obey, jobs come and are cancelled, while both replicas decide."""
    both, clock = replicas
    bases = (BASE, replace(BASE, sha256="e" * 64))
    made = [
        job(f"j{n}", brand=f"b{n % 3}", base=bases[n % 2], priority=n % 4, create_time=clock.now())
        for n in range(24)
    ]
    await insert(both[0].jobs, *made)
    steps: Counter[str] = Counter()

    async def work(number: int) -> None:
        held: dict[str, Held] = {}
        key = None
        for turn in range(40):
            replica = both[turn % 2]
            clock.advance(2)
            free = 2 - len(held)
            if free:
                wish = Wish(max_jobs=free, joining=key if held else None)
                for leased in await replica.workers.lease(Seat(f"w{number}", 2, "CPU"), wish):
                    held[leased.name] = Held(leased.name, leased.fencing_token)
                    key = leased.pack_key
            for one, told in await replica.workers.heartbeat(f"w{number}", list(held.values())):
                steps[one.job] += 1
                end = JobState.PREEMPTED if told is Instruction.PREEMPT else None
                end = JobState.CANCELLED if told is Instruction.CANCEL else end
                if end is None and steps[one.job] % 6 == 0:
                    end = JobState.SUCCEEDED
                if told is Instruction.ABANDON:
                    del held[one.job]
                elif end is not None:
                    version = "v" if end is JobState.SUCCEEDED else ""
                    await replica.workers.complete(Completion(held=one, state=end, lora_version=version))
                    del held[one.job]

    async def decide(replica: Replica) -> None:
        for _ in range(40):
            await replica.packer.make_way()
            await replica.workers.reap()
            await asyncio.sleep(0.005)

    await asyncio.gather(*(work(number) for number in range(3)), *(decide(replica) for replica in both))
    async with both[0].jobs.snapshot() as reader:
        for one in made:
            record = await reader.find(one.name)
            assert record is not None and record.job.failures == 0

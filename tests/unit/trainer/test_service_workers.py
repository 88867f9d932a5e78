"""Leases and what workers say, over a real SQLite."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from servicekit.database import Database, migrate
from servicekit.errors import Aborted, InvalidArgument
from servicekit.identity import Principal, set_principal
from services.trainer.application import MIGRATIONS
from services.trainer.bell import LocalBell
from services.trainer.domain import Job
from services.trainer.events import Failure, JobState, MetricPoint, Notice
from services.trainer.leasing import Wish
from services.trainer.ports import QueueFigures
from services.trainer.preemption import Seat
from services.trainer.repository import SqlJobs
from services.trainer.retries import RetryPolicy
from services.trainer.service_packing import PackingService
from services.trainer.service_workers import (
    Completion,
    Held,
    Instruction,
    LeaseRules,
    Report,
    WorkerService,
)
from tests.fakes.trainer_ports import CountingMeters, ManualClock
from tests.fixtures.trainer_jobs import NOW, job


class Desk:
    """The service, and what a test looks at."""

    def __init__(self, jobs: SqlJobs, clock: ManualClock) -> None:
        self.jobs = jobs
        self.clock = clock
        self.meters = CountingMeters()
        rules = LeaseRules(timeout=timedelta(seconds=30))
        self.packer = PackingService(jobs, LocalBell(), clock, rules.queue, seen_within=timedelta(seconds=60))
        retries = RetryPolicy(max_retries=2, first_wait_seconds=5.0)
        self.service = WorkerService(jobs, LocalBell(), self.meters, clock, rules, retries)

    async def add(self, *made: Job) -> None:
        async with self.jobs.transaction() as transaction:
            for one in made:
                await transaction.insert(one)

    async def lease(self, worker: str = "w1", most: int = 8) -> list[Held]:
        leased = await self.service.lease(Seat(worker, most, "CPU"), Wish(max_jobs=most))
        return [Held(one.name, one.fencing_token) for one in leased]

    async def read(self, held: Held) -> Job:
        async with self.jobs.snapshot() as reader:
            record = await reader.find(held.job)
        assert record is not None
        return record.job

    async def change(self, held: Held, action: str) -> None:
        async with self.jobs.transaction() as transaction:
            found = await transaction.lock(held.job)
            assert found is not None
            getattr(found, action)(self.clock.now())
            await transaction.save(found)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    set_principal(Principal(subject="worker", brands=None, administrator=True))
    url = f"sqlite+aiosqlite:///{tmp_path}/trainer.db"
    await asyncio.to_thread(migrate, url, MIGRATIONS)
    database = Database(url)
    clock = ManualClock()
    clock.time = NOW
    yield Desk(SqlJobs(database, clock), clock)
    await database.dispose()


def succeeded(held: Held, version: str = "v1") -> Completion:
    return Completion(held=held, state=JobState.SUCCEEDED, lora_version=version)


async def test_a_pack_is_leased_at_once(desk: Desk) -> None:
    await desk.add(job("a"), job("b"), job("c"))
    assert len(await desk.lease(most=2)) == 2
    assert len(await desk.lease("w2")) == 1
    assert await desk.lease("w3") == []


async def test_heartbeats_keep_leases_and_bring_instructions(desk: Desk) -> None:
    await desk.add(job("a"), job("b"))
    first, second = await desk.lease()
    desk.clock.advance(20)
    await desk.change(second, "cancel")
    stale = Held(first.job, 99)
    answers = await desk.service.heartbeat(
        "w1", [first, second, stale, Held("brands/acme/trainingJobs/x", 1)]
    )
    assert dict(answers) == {
        first: Instruction.CONTINUE,
        second: Instruction.CANCEL,
        stale: Instruction.ABANDON,
        Held("brands/acme/trainingJobs/x", 1): Instruction.ABANDON,
    }
    desk.clock.advance(20)
    assert await desk.service.reap() == 0
    desk.clock.advance(11)
    assert await desk.service.reap() == 2


async def test_a_silent_worker_loses_its_jobs_and_its_late_words_are_refused(desk: Desk) -> None:
    await desk.add(job("a"))
    (held,) = await desk.lease()
    desk.clock.advance(31)
    assert await desk.service.reap() == 1
    for word in (
        desk.service.report(Report(held=held, payloads=[Notice("late")])),
        desk.service.complete(succeeded(held)),
    ):
        with pytest.raises(Aborted) as caught:
            await word
        assert caught.value.reason == "LEASE_LOST"
    found = await desk.read(held)
    assert found.state is JobState.QUEUED
    assert await desk.lease("w2") == []
    desk.clock.advance(5)
    (again,) = await desk.lease("w2")
    assert again.token > held.token
    assert (desk.meters.lost, desk.meters.retries) == (1, 1)


async def test_reports_are_signs_of_life(desk: Desk) -> None:
    await desk.add(job("a"))
    (held,) = await desk.lease()
    point = MetricPoint(
        step=1, time=NOW, loss=1.0, smoothed_loss=1.0, learning_rate=1e-4, images_per_second=2.0
    )
    desk.clock.advance(20)
    await desk.service.report(Report(held=held, payloads=[JobState.RUNNING], points=[point]))
    desk.clock.advance(20)
    assert await desk.service.reap() == 0
    assert (await desk.read(held)).state is JobState.RUNNING
    assert desk.meters.images == 4


async def test_completing_twice_changes_nothing(desk: Desk) -> None:
    await desk.add(job("a"))
    (held,) = await desk.lease()
    await desk.service.complete(succeeded(held))
    before = await desk.read(held)
    await desk.service.complete(succeeded(held))
    await desk.service.complete(succeeded(held, "v2"))
    assert await desk.read(held) == before
    assert before.lora_version == "v1"
    assert desk.meters.ends == ["succeeded"]
    with pytest.raises(Aborted):
        await desk.service.report(Report(held=held, payloads=[Notice("late")]))


async def test_a_success_needs_a_version(desk: Desk) -> None:
    await desk.add(job("a"))
    (held,) = await desk.lease()
    with pytest.raises(InvalidArgument):
        await desk.service.complete(succeeded(held, ""))


@pytest.mark.parametrize(
    ("completion", "state"),
    [
        ({"state": JobState.FAILED, "failure": Failure("R", "r")}, JobState.FAILED),
        ({"state": JobState.FAILED, "failure": Failure("R", "r"), "retryable": True}, JobState.QUEUED),
        ({"state": JobState.FAILED}, JobState.FAILED),
        ({"state": JobState.PREEMPTED}, JobState.QUEUED),
    ],
)
async def test_other_ends(desk: Desk, completion: dict[str, object], state: JobState) -> None:
    await desk.add(job("a"))
    (held,) = await desk.lease()
    made = Completion(held=held, **completion)  # type: ignore[arg-type]
    await desk.service.complete(made)
    await desk.service.complete(made)
    found = await desk.read(held)
    assert found.state is state
    assert found.failures == (completion["state"] is JobState.FAILED)


async def test_a_cancelled_job_is_completed_by_its_worker(desk: Desk) -> None:
    await desk.add(job("a"))
    (held,) = await desk.lease()
    await desk.change(held, "cancel")
    await desk.service.complete(Completion(held=held, state=JobState.CANCELLED))
    assert (await desk.read(held)).state is JobState.CANCELLED


async def test_a_dead_workers_jobs_are_freed_at_once(desk: Desk) -> None:
    await desk.add(job("a"), job("b", brand="zeta"))
    held = await desk.lease()
    assert await desk.service.lease_holders("w") == {"w1"}
    assert await desk.service.release("w1", "the worker was killed by signal 9") == 2
    assert await desk.service.release("w1", "again") == 0
    found = await desk.read(held[0])
    assert (found.state, found.failures) == (JobState.QUEUED, 1)


async def test_a_job_that_keeps_killing_its_workers_ends_up_alone_and_failed(desk: Desk) -> None:
    await desk.add(job("killer"), job("innocent", brand="zeta"))
    for _ in range(2):
        desk.clock.advance(60)
        assert len(await desk.lease()) == 2
        await desk.service.release("w1", "the worker was killed by signal 11")
    desk.clock.advance(60)
    (alone,) = await desk.lease()
    assert await desk.lease() == []
    await desk.service.release("w1", "the worker was killed by signal 11")
    assert (await desk.read(alone)).state is JobState.FAILED
    assert len(await desk.lease()) == 1


async def test_the_queue_is_measured(desk: Desk) -> None:
    await desk.add(job("a"), job("b"))
    await desk.lease(most=1)
    await desk.service.measure()
    assert desk.meters.figures == QueueFigures(1, 1, 0.0, 0.0)

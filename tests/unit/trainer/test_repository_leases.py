"""Who gets which job, in a real SQLite and a real PostgreSQL."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from services.trainer.events import JobState
from services.trainer.leasing import QueueRules, Wish
from services.trainer.ports import PackFigures, QueueFigures
from services.trainer.repository import SqlJobs
from tests.fixtures.trainer_jobs import NOW, job, spec
from tests.fixtures.trainer_rows import MINUTE, PROGRESS, insert, lease


async def test_candidates_are_the_first_of_each_brand_whose_time_has_come(jobs: SqlJobs) -> None:
    await insert(
        jobs,
        *(job(f"a{n}", create_time=NOW + timedelta(seconds=n)) for n in range(4)),
        job("urgent", priority=1, create_time=NOW + MINUTE),
        job("z", brand="zeta"),
        job("waiting", brand="zeta", not_before=NOW + 10 * MINUTE),
    )
    async with jobs.transaction() as transaction:
        queue = await transaction.packing.queue(NOW + 2 * MINUTE, QueueRules(), Wish(max_jobs=2))
    assert {one.name.rpartition("/")[2] for one in queue.waiting} == {"urgent", "a0", "z"}


async def test_candidates_for_a_pack_are_found_behind_others(jobs: SqlJobs) -> None:
    other = job("other").sources
    await insert(
        jobs,
        *(job(f"a{n}", create_time=NOW + timedelta(seconds=n)) for n in range(3)),
        job("small", create_time=NOW + MINUTE, spec=spec(resolution=256), sources=other),
    )
    key = job(spec=spec(resolution=256)).pack_key
    async with jobs.transaction() as transaction:
        queue = await transaction.packing.queue(NOW + MINUTE, QueueRules(), Wish(max_jobs=1, joining=key))
    assert {one.name.rpartition("/")[2] for one in queue.waiting} == {"a0", "small"}


async def test_two_workers_never_get_the_same_job(jobs: SqlJobs) -> None:
    await insert(jobs, *(job(f"j{n}") for n in range(6)))
    names = [f"brands/acme/trainingJobs/j{n}" for n in range(6)]

    async def take(worker: str) -> set[str]:
        async with jobs.transaction() as transaction:
            found = await transaction.lock_queued(names)
            for one in found:
                await asyncio.sleep(0.005)
                one.lease_to(worker, NOW, MINUTE)
                await transaction.save(one)
            return {one.name for one in found}

    taken = await asyncio.gather(*(take(f"w{n}") for n in range(3)))
    assert sum(len(names) for names in taken) == 6
    assert set().union(*taken) == set(names)


async def test_expired_and_held_leases(jobs: SqlJobs) -> None:
    await insert(jobs, job("a"), job("b"))
    await lease(jobs, "brands/acme/trainingJobs/a", "host.1.pid-7", JobState.RUNNING, PROGRESS)
    async with jobs.transaction() as transaction:
        assert await transaction.lock_expired(NOW + MINUTE) == []
        assert [one.name[-1] for one in await transaction.lock_expired(NOW + 2 * MINUTE)] == ["a"]
        assert [one.name[-1] for one in await transaction.lock_held_by("host.1.pid-7")] == ["a"]
        assert await transaction.lock_held_by("w2") == []
        assert (await transaction.packing.queue(NOW, QueueRules(), None)).running == {"acme": 1}
        assert await transaction.lease_holders("host.1") == {"host.1.pid-7"}
        assert await transaction.lease_holders("host_1") == set()
        packs = (PackFigures("host.1.pid-7", 24.0, 3 << 30),)
        assert await transaction.figures() == QueueFigures(1, 1, 12.0, 0.25, packs)

"""Label jobs on a real database and a real store, with a captioner that does as it is told."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path

import pytest

from servicekit.errors import FailedPrecondition
from services.labeler.domain import (
    CaptionSource,
    Failure,
    JobState,
    LabeledImage,
    LabelEvent,
    LabelProgress,
)
from services.labeler.repository import SqlRecords
from tests.integration.labeler.samples import PARENT
from tests.integration.labeler.world import World


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """What a runner asks of PostgreSQL is in test_records."""
    return f"sqlite+aiosqlite:///{tmp_path}/labeler.db"


@pytest.fixture
def world(records: SqlRecords, tmp_path: Path) -> World:
    return World(records, tmp_path)


def states(events: list[LabelEvent]) -> list[JobState]:
    return [event.event for event in events if isinstance(event.event, JobState)]


async def test_a_job_from_queue_to_success(world: World) -> None:
    await world.pictures(5)
    job = await world.create(batch_size=2, trigger_word="acme")
    async with world.runner():
        events = await world.watch(job)
    assert states(events) == [JobState.QUEUED, JobState.PREPARING, JobState.RUNNING, JobState.SUCCEEDED]
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    progress = [event.event for event in events if isinstance(event.event, LabelProgress)]
    assert [(one.done, one.total) for one in progress] == [(0, 5), (2, 5), (4, 5), (5, 5)]
    labeled = [event.event for event in events if isinstance(event.event, LabeledImage)]
    assert [one.caption for one in labeled] == ["acme, 5 bytes"] * 5 == await world.captions()
    assert world.captioner.batches == [2, 2, 1]
    assert world.meter.captions == 5
    assert await world.watch(job, 4) == events[4:]
    assert await world.watch(job, len(events)) == []
    ended = await world.jobs.get(job.key)
    assert ended.start_time and ended.end_time and ended.lease_until is None
    assert not world.errors


async def test_reviewers_are_never_overwritten(world: World) -> None:
    images = await world.pictures(4)
    await world.set_caption(images[0], "mine", CaptionSource.REVIEWER)
    await world.set_caption(images[1], "old", CaptionSource.CAPTIONER)
    async with world.runner():
        await world.watch(await world.create())
        assert await world.captions() == ["mine", "old", "5 bytes", "5 bytes"]
        world.captioner.may_go_on.clear()
        job = await world.create(overwrite=True)
        await world.in_state(job, JobState.RUNNING)
        async with world.records.transaction() as unit:
            third = await unit.images.get(images[2].key)
            await unit.images.replace(
                dataclasses.replace(third, caption="meanwhile", caption_source=CaptionSource.REVIEWER)
            )
            await unit.images.delete(images[3].key)
        world.captioner.may_go_on.set()
        events = await world.watch(job)
    assert states(events)[-1] is JobState.SUCCEEDED
    assert await world.captions() == ["mine", "5 bytes", "meanwhile"]
    assert (await world.jobs.get(job.key)).progress.done == 1


async def test_a_picture_that_kills_the_captioner_fails_alone(world: World) -> None:
    await world.pictures(3)
    world.captioner.poison = {b"png 1"}
    job = await world.create(batch_size=3)
    async with world.runner():
        events = await world.watch(job)
    assert states(events)[-1] is JobState.SUCCEEDED
    failures = [one.event.failure for one in events if isinstance(one.event, LabeledImage)]
    assert failures == [None, Failure("CAPTIONER_DIED", "poisoned"), None]
    assert await world.captions() == ["5 bytes", "", "5 bytes"]
    progress = (await world.jobs.get(job.key)).progress
    assert (progress.done, progress.failed, progress.total) == (2, 1, 3)
    assert world.meter.failures == 1


async def test_a_picture_lost_by_the_store_fails_alone(world: World, tmp_path: Path) -> None:
    images = await world.pictures(2)
    digest = images[0].sha256
    (tmp_path / "store" / "sha256" / digest[:2] / digest).unlink()
    async with world.runner():
        job = await world.create()
        await world.watch(job)
    assert await world.captions() == ["", "5 bytes"]


async def test_a_job_of_which_nothing_comes_fails(world: World) -> None:
    await world.pictures(2)
    world.captioner.poison = {b"png 0", b"png 1"}
    async with world.runner():
        job = await world.create()
        events = await world.watch(job)
    assert events[-2].event.reason == "ALL_PICTURES_FAILED"
    assert events[-1].event is JobState.FAILED
    assert (await world.jobs.get(job.key)).error.reason == "ALL_PICTURES_FAILED"


async def test_without_a_captioner_the_job_says_why(world: World) -> None:
    await world.pictures(1)
    world.captioner.broken = Failure("CAPTIONER_UNAVAILABLE", "no such directory")
    async with world.runner():
        job = await world.create()
        events = await world.watch(job)
    assert [event.event for event in events[-2:]] == [world.captioner.broken, JobState.FAILED]


async def test_cancelling_before_during_and_after(world: World) -> None:
    await world.pictures(4)
    queued = await world.create()
    assert (await world.jobs.cancel(queued.key)).state is JobState.CANCELLED
    assert states(await world.watch(queued)) == [JobState.QUEUED, JobState.CANCELLED]
    async with world.runner():
        world.captioner.may_go_on.clear()
        running = await world.create(batch_size=1)
        await world.in_state(running, JobState.RUNNING)
        assert (await world.jobs.cancel(running.key)).state is JobState.CANCELLING
        assert (await world.jobs.cancel(running.key)).state is JobState.CANCELLING
        world.captioner.may_go_on.set()
        assert states(await world.watch(running))[-2:] == [JobState.CANCELLING, JobState.CANCELLED]
        done = await world.create()
        await world.watch(done)
        with pytest.raises(FailedPrecondition):
            await world.jobs.cancel(done.key)
    assert world.meter.ended == ["cancelled", "succeeded"]


async def test_a_batch_that_goes_on_after_a_cancel_is_cut_off(world: World) -> None:
    await world.pictures(1)
    async with world.runner():
        world.captioner.may_go_on.clear()
        job = await world.create()
        await world.in_state(job, JobState.RUNNING)
        await world.jobs.cancel(job.key)
        assert states(await world.watch(job))[-1] is JobState.CANCELLED
    assert await world.captions() == [""]


async def test_a_stopped_service_puts_its_job_back(world: World) -> None:
    await world.pictures(3)
    job = await world.create(batch_size=1)
    async with world.runner():
        world.captioner.may_go_on.clear()
        await world.in_state(job, JobState.RUNNING)
    back = await world.jobs.get(job.key)
    assert (back.state, back.attempts, back.lease_until) == (JobState.QUEUED, 0, None)
    world.captioner.may_go_on.set()
    async with world.runner():
        events = await world.watch(job)
    assert states(events)[-4:] == [JobState.QUEUED, JobState.PREPARING, JobState.RUNNING, JobState.SUCCEEDED]


async def test_a_dead_runners_job_is_taken_up_where_it_stopped(world: World) -> None:
    await world.pictures(3)
    job = await world.create(batch_size=1)
    async with world.records.transaction() as unit:
        done = (await unit.images.to_label(job, 1))[0]
        await unit.images.replace(dataclasses.replace(done, caption="done", label_job=job.key.job))
        await unit.jobs.replace(
            dataclasses.replace(
                job,
                state=JobState.RUNNING,
                fence=1,
                attempts=1,
                progress=LabelProgress(done=1, total=3),
                lease_until=world.clock.now(),
            )
        )
    async with world.runner():
        await asyncio.sleep(0.2)
        assert (await world.jobs.get(job.key)).fence == 1  # the lease is not over yet
        world.clock.move(1)
        events = await world.watch(job, 1)
    assert states(events) == [JobState.PREPARING, JobState.RUNNING, JobState.SUCCEEDED]
    assert await world.captions() == ["done", "5 bytes", "5 bytes"]
    ended = await world.jobs.get(job.key)
    assert (ended.fence, ended.progress.done, ended.progress.total) == (2, 3, 3)


async def test_a_late_runner_is_not_heard(world: World) -> None:
    await world.pictures(2)
    job = await world.create(batch_size=1)
    async with world.runner():
        world.captioner.may_go_on.clear()
        await world.in_state(job, JobState.RUNNING)
        async with world.records.transaction() as unit:
            held = await unit.jobs.get(job.key)
            taken = dataclasses.replace(held, fence=held.fence + 1)
            await unit.jobs.replace(dataclasses.replace(taken, lease_until=None, state=JobState.FAILED))
        world.captioner.may_go_on.set()
        await asyncio.sleep(0.3)
    assert await world.captions() == ["", ""]
    assert (await world.jobs.get(job.key)).state is JobState.FAILED


async def test_a_job_that_never_ends_is_given_up(world: World) -> None:
    await world.pictures(1)
    job = await world.create()
    async with world.records.transaction() as unit:
        await unit.jobs.replace(dataclasses.replace(job, state=JobState.RUNNING, attempts=3))
    async with world.runner():
        events = await world.watch(job)
    assert events[-2].event.reason == "TOO_MANY_ATTEMPTS"


async def test_a_dataset_deleted_under_a_job(world: World) -> None:
    await world.pictures(2)
    job = await world.create()
    async with world.runner() as task:
        world.captioner.may_go_on.clear()
        await world.in_state(job, JobState.RUNNING)
        async with world.records.transaction() as unit:
            await unit.datasets.delete(PARENT)
        world.captioner.may_go_on.set()
        await asyncio.sleep(0.3)
        assert not task.done() and not world.errors


async def test_the_queue_is_measured_while_a_job_runs(world: World) -> None:
    await world.pictures(1)
    world.captioner.may_go_on.clear()
    running = await world.create()
    async with world.runner():
        await world.in_state(running, JobState.RUNNING)
        await world.create()
        waiting = await world.create()
        await world.measure()
        await world.jobs.cancel(waiting.key)
        await world.measure()
    assert world.meter.waiting == [2, 1]

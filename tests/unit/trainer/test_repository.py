"""Jobs in a real SQLite and a real PostgreSQL."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import replace
from typing import Any

import pytest

from servicekit.errors import AlreadyExists, InvalidArgument
from servicekit.migrations import schema_drift
from services.trainer.domain import Checkpoint
from services.trainer.events import (
    ArtifactKind,
    Failure,
    JobArtifact,
    JobState,
    MetricPoint,
    Notice,
    VersionRegistered,
)
from services.trainer.ports import JobQuery
from services.trainer.repository import SqlJobs
from services.trainer.retries import RetryPolicy
from services.trainer.sources import Blob, Sources
from services.trainer.tables import Base
from tests.fixtures.trainer_jobs import BASE, NOW, PARENT, REVISION, job, spec
from tests.fixtures.trainer_rows import MINUTE, PROGRESS, insert, lease

REQUEST = "0b0f7a55-2a86-4d9c-9a53-3f0d0f6f1234"
SAMPLE = JobArtifact(
    kind=ArtifactKind.SAMPLE,
    file_name="sample.png",
    blob=Blob("a" * 64, 7),
    media_type="image/png",
    step=4,
    prompt="a cat",
)


def query(**changes: Any) -> JobQuery:
    return JobQuery(**{"filter": "", "order_by": "", "page_size": 0, "page_token": "", **changes})


async def listed(jobs: SqlJobs, text: str = "", brands: frozenset[str] | None = None) -> list[str]:
    async with jobs.snapshot() as reader:
        page = await reader.page(query(filter=text), brands)
    return [record.job.name.rpartition("/")[2] for record in page.records]


async def test_migrations_make_the_tables_of_the_models(jobs: SqlJobs, database_url: str) -> None:
    assert await asyncio.to_thread(schema_drift, database_url, Base.metadata) == []


async def test_a_job_comes_back_as_it_was(jobs: SqlJobs) -> None:
    sources = Sources(base=BASE, revision=REVISION, parent=PARENT, train_images=3)
    made = job(sources=sources, spec=spec(parent_version=PARENT.name, sample_prompts=("a", "b")))
    await insert(jobs, made)
    payloads = (JobState.RUNNING, PROGRESS, SAMPLE, Notice("n"), VersionRegistered("v"))
    checkpoint = JobArtifact(
        kind=ArtifactKind.CHECKPOINT, file_name="c", blob=Blob("b" * 64, 9), media_type="x", step=4
    )
    changed = await lease(jobs, made.name, "w1", *payloads, checkpoint)
    async with jobs.snapshot() as reader:
        record = await reader.find(made.name)
        events = await reader.events(made.name, after=2, limit=100)
    assert record is not None
    assert record.job == changed
    assert record.job.checkpoint == Checkpoint(Blob("b" * 64, 9), 4)
    assert [artifact.file_name for artifact in record.artifacts] == ["c", "sample.png"]
    assert tuple(event.payload for event in events) == (*payloads, checkpoint)
    assert [event.sequence for event in events] == [3, 4, 5, 6, 7, 8]


async def test_a_failed_job_comes_back_as_it_was(jobs: SqlJobs) -> None:
    made = job()
    await insert(jobs, made)
    async with jobs.transaction() as transaction:
        found = await transaction.lock(made.name)
        assert found is not None
        found.lease_to("w1", NOW, MINUTE)
        found.fail(1, Failure("R", "why"), NOW, RetryPolicy(), retryable=False)
        await transaction.save(found)
    async with jobs.snapshot() as reader:
        record = await reader.find(made.name)
        events = await reader.events(made.name, after=0, limit=2)
    assert record is not None
    assert record.job == found
    assert len(events) == 2


async def test_answers_name_the_newest_files_of_each_kind_only(jobs: SqlJobs) -> None:
    made = [job("one"), job("two")]
    await insert(jobs, *made)
    for one in made:
        await lease(
            jobs,
            one.name,
            "w1",
            *(replace(SAMPLE, file_name=f"{step:03}.png", step=step) for step in range(80)),
            JobArtifact(
                kind=ArtifactKind.CHECKPOINT, file_name="c", blob=Blob("b" * 64, 9), media_type="x", step=4
            ),
        )
    async with jobs.snapshot() as reader:
        record = await reader.find(made[0].name)
        page = await reader.page(query(page_size=10), None)
        oldest = await reader.artifact(made[0].name, "000.png")
    assert record is not None
    names = {artifact.file_name for artifact in record.artifacts}
    assert names == {"c", *(f"{step:03}.png" for step in range(16, 80))}
    assert [len(record.artifacts) for record in page.records] == [33, 33]
    assert oldest is not None


async def test_a_file_of_the_same_name_replaces_the_earlier_one(jobs: SqlJobs) -> None:
    made = job()
    await insert(jobs, made)
    newer = JobArtifact(
        kind=ArtifactKind.SAMPLE,
        file_name="sample.png",
        blob=Blob("c" * 64, 8),
        media_type="image/png",
        step=9,
    )
    await lease(jobs, made.name, "w1", SAMPLE, newer)
    async with jobs.snapshot() as reader:
        assert await reader.artifact(made.name, "sample.png") == newer
        assert await reader.artifact(made.name, "other.png") is None


async def test_filters_and_brands(jobs: SqlJobs) -> None:
    await insert(
        jobs,
        job("a", create_time=NOW, priority=3),
        job("b", create_time=NOW + MINUTE),
        job("c", brand="zeta", create_time=NOW + 2 * MINUTE),
    )
    await lease(jobs, "brands/acme/trainingJobs/b")
    assert await listed(jobs) == ["c", "b", "a"]
    assert await listed(jobs, brands=frozenset({"acme"})) == ["b", "a"]
    assert await listed(jobs, "state = QUEUED") == ["c", "a"]
    assert await listed(jobs, "state = JOB_STATE_PREPARING") == ["b"]
    assert await listed(jobs, "priority > 0 OR display_name:C") == ["c", "a"]
    assert await listed(jobs, f'create_time >= "{(NOW + MINUTE).isoformat()}" AND lora:hero') == ["c", "b"]
    for wrong in (query(filter="colour = red"), query(filter="state = BUSY"), query(order_by="end_time")):
        async with jobs.snapshot() as reader:
            with pytest.raises(InvalidArgument):
                await reader.page(wrong, None)


async def test_pages_follow_each_other(jobs: SqlJobs) -> None:
    await insert(jobs, *(job(f"j{n}", create_time=NOW + n * MINUTE) for n in range(5)))
    names: list[str] = []
    token = ""
    for _ in range(3):
        async with jobs.snapshot() as reader:
            page = await reader.page(query(page_size=2, page_token=token, order_by="create_time"), None)
        names += [record.job.name[-2:] for record in page.records]
        token = page.next_page_token
    assert names == ["j0", "j1", "j2", "j3", "j4"]
    assert token == ""


def point(step: int, loss: float = 1.0) -> MetricPoint:
    return MetricPoint(
        step=step,
        time=NOW,
        loss=loss,
        smoothed_loss=loss,
        learning_rate=1e-4,
        images_per_second=2.0,
        pack_images_per_second=4.0,
        device_memory_bytes=5 << 30,
    )


async def test_figures_of_a_step_that_is_done_again_replace_the_old_ones(jobs: SqlJobs) -> None:
    made = job()
    await insert(jobs, made)
    async with jobs.transaction() as transaction:
        await transaction.put_points(made.name, [point(step) for step in range(1, 11)])
        await transaction.put_points(made.name, [point(10, 5.0), point(11), point(11, 7.0)])
        await transaction.put_points(made.name, [])
    async with jobs.snapshot() as reader:
        points = await reader.points(made.name, at_most=100)
    assert [one.step for one in points] == list(range(1, 12))
    assert [one.loss for one in points[-2:]] == [5.0, 7.0]
    assert points[0] == point(1)


@pytest.mark.parametrize("at_most", [1, 2, 3, 10, 99, 100])
async def test_figures_are_thinned_evenly_and_keep_both_ends(jobs: SqlJobs, at_most: int) -> None:
    made = job()
    await insert(jobs, made)
    async with jobs.transaction() as transaction:
        await transaction.put_points(made.name, [point(step) for step in range(1, 101)])
    async with jobs.snapshot() as reader:
        steps = [one.step for one in await reader.points(made.name, at_most=at_most)]
        assert await reader.points("brands/acme/trainingJobs/none", at_most=5) == []
    assert len(steps) <= at_most
    assert steps[-1] == 100
    assert at_most == 1 or steps[0] == 1
    assert len({after - before for before, after in itertools.pairwise(steps[:-1])}) <= 1


@pytest.mark.parametrize(("at_most", "kept"), [(1, 1), (10, 5), (24, 10), (99, 10), (100, 10)])
async def test_evaluations_stay_when_figures_are_thinned(jobs: SqlJobs, at_most: int, kept: int) -> None:
    made = job()
    await insert(jobs, made)
    evaluated = {step: step / 7 for step in range(10, 101, 10)}
    points = [replace(point(step), validation_loss=evaluated.get(step)) for step in range(1, 101)]
    async with jobs.transaction() as transaction:
        await transaction.put_points(made.name, points)
    async with jobs.snapshot() as reader:
        found = await reader.points(made.name, at_most=at_most)
    assert len(found) <= at_most
    losses = {one.step: one.validation_loss for one in found if one.validation_loss is not None}
    assert len(losses) >= kept and losses.items() <= evaluated.items()
    assert at_most < 100 or len(found) == 100


async def test_request_ids(jobs: SqlJobs) -> None:
    async with jobs.transaction() as transaction:
        assert await transaction.answered("acme", REQUEST, "1") is None
        assert await transaction.remember("acme", REQUEST, "1", "first") is None
    async with jobs.transaction() as transaction:
        assert await transaction.answered("acme", REQUEST, "1") == "first"
        assert await transaction.remember("acme", REQUEST, "1", "second") == "first"
        assert await transaction.answered("zeta", REQUEST, "1") is None
        with pytest.raises(AlreadyExists) as caught:
            await transaction.answered("acme", REQUEST, "2")
    assert caught.value.reason == "REQUEST_ID_REUSED"

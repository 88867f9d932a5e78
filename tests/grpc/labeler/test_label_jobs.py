"""Label jobs over a real connection, done by a real BLIP."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
import pytest_asyncio

from brandloom.api.common.v1 import job_pb2
from brandloom.api.labeler.v1 import labeler_pb2, resources_pb2
from tests.fixtures.pictures import png
from tests.fixtures.tiny_blip import WORDS, save_tiny_blip
from tests.grpc.labeler.harness import Labeler, refused, running_labeler

# Loading torch in the captioner's process may take long on a busy machine.
pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(600)]

CAPTIONER = resources_pb2.CAPTION_SOURCE_CAPTIONER
REVIEWER = resources_pb2.CAPTION_SOURCE_REVIEWER


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def labeler(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Labeler]:
    model = save_tiny_blip(tmp_path_factory.mktemp("blip"))
    home = tmp_path_factory.mktemp("labeler")
    async with running_labeler(home, BRANDLOOM_LABELER_CAPTIONER=str(model)) as running:
        yield running


def states(events: list) -> list[str]:
    return [job_pb2.JobState.Name(event.state) for event in events if event.WhichOneof("event") == "state"]


async def test_a_dataset_gets_its_captions(labeler: Labeler) -> None:
    parent = await labeler.dataset()
    await labeler.upload(parent, {f"{n}.png": png(n) for n in range(7)} | {"bad.png": b"bad"})
    first = (await labeler.images(parent))[0]
    await labeler.caption(first.name, "as the reviewer says")
    job = await labeler.create_job(parent, batch_size=3, max_tokens=6, trigger_word="acme", overwrite=True)
    assert job.state == job_pb2.JOB_STATE_QUEUED and job.captioner
    events = await labeler.watch(job.name)
    assert states(events) == [
        "JOB_STATE_QUEUED",
        "JOB_STATE_PREPARING",
        "JOB_STATE_RUNNING",
        "JOB_STATE_SUCCEEDED",
    ]
    images = await labeler.images(parent, "NOT flags:UNREADABLE")
    assert images[0].caption == "as the reviewer says" and images[0].caption_source == REVIEWER
    for image in images[1:]:
        trigger, _, rest = image.caption.partition(", ")
        assert trigger == "acme" and rest and set(rest.split()) <= set(WORDS)
        assert image.caption_source == CAPTIONER
    assert len({image.caption for image in images[1:]}) > 2
    told = {event.labeled.image: event.labeled.caption for event in events if event.HasField("labeled")}
    assert told == {image.name: image.caption for image in images[1:]}
    done = await labeler.stub.GetLabelJob(labeler_pb2.GetLabelJobRequest(name=job.name))
    assert (done.progress.done, done.progress.total, done.progress.failed) == (6, 6, 0)
    assert done.progress.images_per_second > 0 and done.end_time.seconds >= done.start_time.seconds > 0
    read = labeler.metrics.registry.get_sample_value
    assert read("brandloom_labeler_captions_total") >= 6


async def test_the_same_picture_gets_the_same_caption_whatever_its_batch(labeler: Labeler) -> None:
    parent = await labeler.dataset()
    await labeler.upload(parent, {f"{n}.png": png(n) for n in range(5)})
    captions = []
    for batch_size in (1, 5):
        job = await labeler.create_job(parent, batch_size=batch_size, max_tokens=6, overwrite=True)
        await labeler.watch(job.name)
        captions.append([image.caption for image in await labeler.images(parent)])
    assert captions[0] == captions[1]


async def test_a_broken_watch_goes_on_where_it_was(labeler: Labeler) -> None:
    parent = await labeler.dataset()
    await labeler.upload(parent, {f"{n}.png": png(n) for n in range(6)})
    job = await labeler.create_job(parent, batch_size=1, max_tokens=6)
    stream = labeler.stub.WatchLabelJob(labeler_pb2.WatchLabelJobRequest(name=job.name))
    seen = []
    async for event in stream:
        seen.append(event)
        if len(seen) == 5:
            stream.cancel()
            break
    seen += await labeler.watch(job.name, seen[-1].sequence)
    assert [event.sequence for event in seen] == list(range(1, len(seen) + 1))
    assert seen == await labeler.watch(job.name)


async def test_other_calls_are_answered_meanwhile(labeler: Labeler) -> None:
    parent = await labeler.dataset()
    await labeler.upload(parent, {f"{n}.png": png(n) for n in range(40)})
    job = await labeler.create_job(parent, batch_size=20, max_tokens=200)
    batch_is_under_way = False
    answers = 0

    async def ask() -> None:
        nonlocal answers
        while True:
            await labeler.stub.GetDataset(labeler_pb2.GetDatasetRequest(name=parent))
            answers += batch_is_under_way

    asking = asyncio.create_task(ask())
    async for event in labeler.stub.WatchLabelJob(labeler_pb2.WatchLabelJobRequest(name=job.name)):
        if event.HasField("progress"):
            batch_is_under_way = True
        elif event.HasField("labeled"):
            break
    asking.cancel()
    assert answers >= 5
    await labeler.watch(job.name)


async def test_cancel_and_its_errors(labeler: Labeler) -> None:
    parent = await labeler.dataset()
    await labeler.upload(parent, {f"{n}.png": png(n) for n in range(30)})
    job = await labeler.create_job(parent, batch_size=1, max_tokens=100)
    request = labeler_pb2.CancelLabelJobRequest(name=job.name)
    cancelled = await labeler.stub.CancelLabelJob(request)
    assert cancelled.state in {job_pb2.JOB_STATE_CANCELLED, job_pb2.JOB_STATE_CANCELLING}
    assert states(await labeler.watch(job.name))[-1] == "JOB_STATE_CANCELLED"
    assert (await labeler.stub.CancelLabelJob(request)).state == job_pb2.JOB_STATE_CANCELLED
    unknown = labeler_pb2.CancelLabelJobRequest(name=f"{parent}/labelJobs/{uuid.uuid4().hex}")
    assert (await refused(labeler.stub.CancelLabelJob(unknown))).code is grpc.StatusCode.NOT_FOUND
    listed = await labeler.stub.ListLabelJobs(
        labeler_pb2.ListLabelJobsRequest(parent=parent, filter="state = JOB_STATE_CANCELLED")
    )
    assert [one.name for one in listed.label_jobs] == [job.name]


async def test_a_job_repeated_by_its_request_id(labeler: Labeler) -> None:
    parent = await labeler.dataset()
    request = labeler_pb2.CreateLabelJobRequest(parent=parent, request_id=str(uuid.uuid4()))
    first = await labeler.stub.CreateLabelJob(request)
    assert (await labeler.stub.CreateLabelJob(request)).name == first.name
    request.label_job.overwrite = True
    assert (await refused(labeler.stub.CreateLabelJob(request))).reason == "REQUEST_ID_REUSED"
    assert states(await labeler.watch(first.name))[-1] == "JOB_STATE_SUCCEEDED"


async def test_no_model_where_it_should_be(tmp_path: Path) -> None:
    async with running_labeler(tmp_path, BRANDLOOM_LABELER_CAPTIONER=str(tmp_path / "nothing")) as labeler:
        parent = await labeler.dataset()
        await labeler.upload(parent, {"a.png": png(1)})
        job = await labeler.create_job(parent)
        events = await labeler.watch(job.name)
        assert events[-2].error.reason == "CAPTIONER_UNAVAILABLE"
        assert "nothing" in events[-2].error.message
        assert states(events)[-1] == "JOB_STATE_FAILED"

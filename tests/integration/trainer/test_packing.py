"""What the packer decides, with a real worker: who makes way, where jobs stand, what fits."""

# ruff: noqa: ASYNC110 - the queue rings no bell

from __future__ import annotations

import asyncio
from pathlib import Path

import grpc.aio
import pytest

from brandloom.api.common.v1 import job_pb2
from brandloom.api.trainer.v1 import resources_pb2, trainer_pb2
from servicekit.artifacts.local import LocalStore
from tests.integration.trainer.conftest import BRAND, Bench, job_request, progress_from, steps, tensors, watch

pytestmark = pytest.mark.timeout(600)
Placement = resources_pb2.Placement
STEPS = 120


async def test_a_job_makes_way_for_a_higher_priority_and_ends_as_if_nothing_had_happened(
    bench: Bench, tmp_path: Path
) -> None:
    await bench.worker(pack_size=1)
    low = await bench.create(
        "hero", optimization=steps(STEPS, batch_size=4), checkpoint_interval_steps=10_000
    )
    await bench.until(low, progress_from(5))
    urgent = await bench.create("urgent", priority=3)
    waiting = await bench.get(urgent)
    assert (waiting.placement.standing, waiting.queue_position) == (Placement.STANDING_PACK_FULL, 0)
    assert waiting.placement.pack == "tiny, 16 px, float32"
    assert (await bench.ended(urgent)).state == job_pb2.JOB_STATE_SUCCEEDED
    events = await watch(bench.trainer, low)
    job = await bench.get(low)
    assert job.state == job_pb2.JOB_STATE_SUCCEEDED, job.error
    assert job.attempt == 2
    assert not job.HasField("placement")
    notices = [event.notice for event in events if event.notice]
    assert "makes way for a job of priority 3; it goes on when a place is free" in notices
    request = trainer_pb2.GetMetricsRequest(name=low, max_points=10_000)
    points = (await bench.trainer.GetMetrics(request)).points
    assert [point.step for point in points] == list(range(1, STEPS + 1)), "no step is done twice or lost"

    calm = await bench.create(
        "calm", optimization=steps(STEPS, batch_size=4), checkpoint_interval_steps=10_000
    )
    await bench.ended(calm)
    files = [await bench.file(low, "hero.safetensors"), await bench.file(calm, "calm.safetensors")]
    interrupted, uninterrupted = (tensors(data, tmp_path / "lora.safetensors") for data in files)
    assert interrupted == uninterrupted


class LateStore(LocalStore):
    """A store whose first answer takes a second."""

    _asked = False

    async def get_bytes(self, sha256: str, *, max_bytes: int) -> bytes:
        if not self._asked:
            self._asked = True
            await asyncio.sleep(1)
        return await super().get_bytes(sha256, max_bytes=max_bytes)


async def test_jobs_that_are_leased_together_start_together(bench: Bench) -> None:
    names = [await bench.create(lora, optimization=steps(2)) for lora in ("a", "b", "c")]
    await bench.worker(store=LateStore(bench.world.home / "store"))
    for name in names:
        assert (await bench.ended(name)).progress.pack_size == len(names)


async def test_jobs_tell_where_they_stand(bench: Bench) -> None:
    names = [await bench.create(lora, optimization=steps(400)) for lora in ("a", "b", "c")]
    standings = [(await bench.get(name)).placement for name in names]
    assert {placement.standing for placement in standings} == {Placement.STANDING_NO_WORKER}
    await bench.worker(pack_size=2)
    await bench.until(names[0], lambda event: event.progress.time_left.ToTimedelta().total_seconds() > 0)
    training, other, waiting = [await bench.get(name) for name in names]
    assert training.placement.standing == other.placement.standing == Placement.STANDING_TRAINING
    assert (training.placement.companions, training.placement.reason) == (1, "trains with 1 other job")
    assert waiting.placement.standing == Placement.STANDING_PACK_FULL
    assert waiting.placement.estimated_start_time.ToDatetime() > training.start_time.ToDatetime()
    for name in names:
        await bench.trainer.CancelTrainingJob(trainer_pb2.CancelTrainingJobRequest(name=name))


async def test_what_a_worker_has_measured_decides_what_is_accepted(bench: Bench) -> None:
    await bench.worker(pass_memory_bytes=64 << 20)
    job = await bench.ended(await bench.create("hero"))
    assert job.state == job_pb2.JOB_STATE_SUCCEEDED, job.error
    spec = job_request(resolution=2048).training_job.spec
    request = trainer_pb2.ValidateTrainingSpecRequest(parent=f"brands/{BRAND}", spec=spec)
    async with asyncio.timeout(30):
        while (error := await refusal(bench, request)) is None:
            await asyncio.sleep(0.1)  # what was measured is told after the step
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "one row takes at least" in str(error.details())
    assert "and 64.0 MiB are there beside the base" in str(error.details())
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await bench.create("large", resolution=2048)
    assert "training_job.spec.resolution" in str(caught.value.details())
    assert (await bench.ended(await bench.create("small"))).state == job_pb2.JOB_STATE_SUCCEEDED


async def refusal(
    bench: Bench, request: trainer_pb2.ValidateTrainingSpecRequest
) -> grpc.aio.AioRpcError | None:
    try:
        await bench.trainer.ValidateTrainingSpec(request)
    except grpc.aio.AioRpcError as error:
        return error
    return None

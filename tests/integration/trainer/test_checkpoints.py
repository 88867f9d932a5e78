"""Checkpoints that workers make are files that the trainer can delete."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import grpc
import grpc.aio
import pytest

from brandloom.api.common.v1 import job_pb2
from brandloom.api.registry.v1 import registry_pb2
from brandloom.api.trainer.v1 import resources_pb2, trainer_pb2
from tests.integration.trainer.conftest import BRAND, Bench, progress_from, steps, watch

pytestmark = pytest.mark.timeout(600)


async def test_no_step_is_kept_twice(bench: Bench) -> None:
    name = await bench.create(optimization=steps(400), checkpoint_interval_steps=1)
    worker = await bench.worker()
    await bench.until(name, progress_from(3))
    worker.stop()
    await asyncio.wait_for(bench.workers[0], 60)
    request = trainer_pb2.CancelTrainingJobRequest(name=name)
    await bench.trainer.CancelTrainingJob(request)
    events = await watch(bench.trainer, name)
    assert job_pb2.JOB_STATE_PREEMPTED in [event.state for event in events]
    kind = resources_pb2.JobArtifact.KIND_CHECKPOINT
    made = [event.artifact.step for event in events if event.artifact.kind == kind]
    assert len(made) >= 3
    assert made == sorted(set(made))
    assert not [event.notice for event in events if "follows" in event.notice]  # no attempt has failed


async def test_a_checkpoint_cannot_become_a_version(bench: Bench) -> None:
    """The trainer deletes checkpoints: the registry must have no version whose file is one."""
    name = await bench.create(optimization=steps(2))
    await bench.worker()
    assert (await bench.ended(name)).state == job_pb2.JOB_STATE_SUCCEEDED
    data = await bench.file(name, "checkpoint-000002.safetensors")

    def messages() -> Iterator[registry_pb2.UploadVersionRequest]:
        header = registry_pb2.UploadVersionHeader(
            parent=f"brands/{BRAND}/loras/other", file_name="a.safetensors"
        )
        yield registry_pb2.UploadVersionRequest(header=header)
        yield registry_pb2.UploadVersionRequest(chunk=data)

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await bench.world.registry.UploadVersion(messages())
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT

"""Jobs from their creation to a version in the registry, with real workers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from brandloom.api.common.v1 import job_pb2
from brandloom.api.trainer.v1 import resources_pb2, trainer_pb2
from services.trainer.application import TrainerApplication
from services.trainer.config import read_config
from tests.integration.trainer.conftest import Dial, Trainer, World, job_request, watch


@pytest.fixture
async def trainer(world: World, dial: Dial) -> AsyncIterator[Trainer]:
    application = TrainerApplication(read_config(world.environment))
    port = await application.start()
    yield await dial(port)
    await application.stop()


async def test_a_pack_of_jobs_ends_as_versions_in_the_registry(
    trainer: Trainer, world: World, tmp_path: Path
) -> None:
    samples = resources_pb2.SampleSpec(prompts=["hrx, a thing"], interval_steps=6, steps=2)
    names = []
    for lora in ("hero", "city"):
        job = await trainer.CreateTrainingJob(job_request(lora, samples=samples))
        names.append(job.name)
    events = await watch(trainer, names[0])
    await watch(trainer, names[1])
    job = await trainer.GetTrainingJob(trainer_pb2.GetTrainingJobRequest(name=names[0]))
    assert job.state == job_pb2.JOB_STATE_SUCCEEDED, job
    states = [event.state for event in events if event.WhichOneof("event") == "state"]
    assert states == [
        job_pb2.JOB_STATE_QUEUED,
        job_pb2.JOB_STATE_PREPARING,
        job_pb2.JOB_STATE_RUNNING,
        job_pb2.JOB_STATE_SUCCEEDED,
    ]
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    versions = await world.versions("hero")
    assert [version.name for version in versions] == [job.lora_version]
    assert len(await world.versions("city")) == 1

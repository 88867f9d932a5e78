"""Workers and the service are killed in the middle of their work; the job ends, and nothing is registered
twice."""

# ruff: noqa: ASYNC110 - other processes ring no bell

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import pytest

from brandloom.api.common.v1 import job_pb2
from brandloom.api.trainer.v1 import resources_pb2, trainer_pb2
from tests.integration.trainer.conftest import Dial, Trainer, World, job_request, tensors

pytestmark = pytest.mark.timeout(900)
STEPS = 60


class Service:
    """A trainer in a process of its own, as a user starts it."""

    def __init__(self, process: asyncio.subprocess.Process, port: int, log: list[str]) -> None:
        self.process = process
        self.port = port
        self.log = log

    def worker_pids(self) -> list[int]:
        return [int(found) for line in self.log for found in re.findall(r"worker started.*pid=(\d+)", line)]


@asynccontextmanager
async def service(world: World) -> AsyncIterator[Service]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.trainer", env=world.environment, stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    log: list[str] = []
    while not (port := re.search(r"port=(\d+)", log[-1] if log and "serving" in log[-1] else "")):
        log.append((await process.stderr.readline()).decode())
        assert log[-1], "".join(log)

    async def follow() -> None:
        assert process.stderr is not None
        while line := await process.stderr.readline():
            log.append(line.decode())

    following = asyncio.create_task(follow())
    try:
        yield Service(process, int(port[1]), log)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
        await following


Condition = Callable[[resources_pb2.TrainingEvent], bool]


def has_step(kind: str, least: int) -> Condition:
    """Progress, or a file, of such a step."""
    return lambda event: event.WhichOneof("event") == kind and getattr(event, kind).step >= least


def is_prepared(event: resources_pb2.TrainingEvent) -> bool:
    """A worker has begun with the job."""
    return event.WhichOneof("event") == "state" and event.state == job_pb2.JOB_STATE_PREPARING


async def until(trainer: Trainer, name: str, holds: Condition, *, after: int = 0) -> int:
    """Number of the first such event after another."""
    call = trainer.WatchTrainingJob(trainer_pb2.WatchTrainingJobRequest(name=name, after_sequence=after))
    async for event in call:
        if holds(event):
            call.cancel()
            return event.sequence
    raise AssertionError("the job ended before")


async def until_gone(pid: int) -> None:
    async with asyncio.timeout(60):
        while _runs(pid):
            await asyncio.sleep(0.02)


async def test_a_job_survives_the_death_of_its_worker_and_of_the_service(world: World, dial: Dial) -> None:
    optimization = resources_pb2.OptimizationSpec(max_steps=STEPS, batch_size=2)
    async with service(world) as first:
        trainer = await dial(first.port)
        job = await trainer.CreateTrainingJob(job_request(optimization=optimization))
        # At the moment of a checkpoint: the next step, or the next checkpoint, is under way.
        seen = await until(trainer, job.name, has_step("artifact", 5))
        (victim,) = first.worker_pids()
        os.kill(victim, signal.SIGKILL)
        seen = await until(trainer, job.name, is_prepared, after=seen)
        seen = await until(trainer, job.name, has_step("progress", 6), after=seen)
        job = await trainer.GetTrainingJob(trainer_pb2.GetTrainingJobRequest(name=job.name))
        assert job.attempt == 2
        orphan = first.worker_pids()[-1]
        assert orphan != victim
        first.process.kill()
        await first.process.wait()
        await until_gone(orphan)
    async with service(world) as second:
        trainer = await dial(second.port)
        call = trainer.WatchTrainingJob(
            trainer_pb2.WatchTrainingJobRequest(name=job.name, after_sequence=seen)
        )
        events = [event async for event in call]
        job = await trainer.GetTrainingJob(trainer_pb2.GetTrainingJobRequest(name=job.name))
        (last,) = second.worker_pids()
    await until_gone(last)
    assert job.state == job_pb2.JOB_STATE_SUCCEEDED, job.error
    assert job.attempt == 3
    assert [event.sequence for event in events] == list(range(seen + 1, seen + 1 + len(events)))
    notices = [event.notice for event in events if event.WhichOneof("event") == "notice"]
    assert any(re.fullmatch(r"going on from step [1-9]\d*", notice) for notice in notices), notices
    assert [version.name for version in await world.versions()] == [job.lora_version]


@pytest.mark.slow
@pytest.mark.parametrize("delay", [0.0, 0.05, 0.2, 0.5])
async def test_a_worker_may_die_at_any_moment(world: World, dial: Dial, delay: float) -> None:
    optimization = resources_pb2.OptimizationSpec(max_steps=12, batch_size=2)
    async with service(world) as running:
        trainer = await dial(running.port)
        job = await trainer.CreateTrainingJob(job_request(optimization=optimization))
        # The last checkpoint: from here on files are put into the store, the version is registered.
        await until(trainer, job.name, has_step("artifact", 12))
        await asyncio.sleep(delay)
        os.kill(running.worker_pids()[-1], signal.SIGKILL)
        call = trainer.WatchTrainingJob(trainer_pb2.WatchTrainingJobRequest(name=job.name))
        async for _ in call:
            pass
        job = await trainer.GetTrainingJob(trainer_pb2.GetTrainingJobRequest(name=job.name))
    assert job.state == job_pb2.JOB_STATE_SUCCEEDED, job.error
    assert [version.name for version in await world.versions()] == [job.lora_version]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
async def test_kills_while_checkpoints_are_written_change_nothing(
    world: World, dial: Dial, tmp_path: Path, seed: int
) -> None:
    """A checkpoint after every step: a worker that is killed at any moment dies in the middle of one."""
    random = Random(seed)
    optimization = resources_pb2.OptimizationSpec(max_steps=STEPS, batch_size=2, learning_rate=1e-3)
    found = {}
    async with service(world) as running:
        trainer = await dial(running.port)
        for lora, kills in (("calm", 0), ("hero", 3)):
            request = job_request(lora, optimization=optimization, checkpoint_interval_steps=1)
            job = await trainer.CreateTrainingJob(request)
            seen = 0
            for _ in range(kills):
                seen = await until(trainer, job.name, is_prepared, after=seen)
                seen = await until(trainer, job.name, has_step("progress", 1), after=seen)
                await asyncio.sleep(random.uniform(0.0, 0.4))
                os.kill(running.worker_pids()[-1], signal.SIGKILL)
            call = trainer.WatchTrainingJob(trainer_pb2.WatchTrainingJobRequest(name=job.name))
            async for _ in call:
                pass
            job = await trainer.GetTrainingJob(trainer_pb2.GetTrainingJobRequest(name=job.name))
            assert (job.state, job.attempt) == (job_pb2.JOB_STATE_SUCCEEDED, kills + 1), job.error
            assert [version.name for version in await world.versions(lora)] == [job.lora_version]
            file = trainer_pb2.DownloadJobArtifactRequest(name=job.name, file_name=f"{lora}.safetensors")
            data = b"".join([chunk.data async for chunk in trainer.DownloadJobArtifact(file)])
            found[lora] = tensors(data, tmp_path / lora)
    assert found["hero"] == found["calm"]


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"

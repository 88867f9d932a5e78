"""A worker trains on a base model wherever its source is, and says why when it cannot."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from brandloom.api.common.v1 import family_pb2, job_pb2
from brandloom.api.registry.v1 import registry_pb2
from brandloom.api.registry.v1 import resources_pb2 as registry_resources
from brandloom.api.trainer.v1 import resources_pb2, trainer_pb2
from tests.fixtures.base_sources import KINDS, BaseSources, put_base_sources
from tests.fixtures.s3 import S3Server
from tests.integration.trainer.conftest import Bench

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def sources(
    tmp_path: Path, s3_server: S3Server, s3_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> BaseSources:
    return put_base_sources(tmp_path / "sources", s3_server, s3_bucket, monkeypatch)


async def job_on(bench: Bench, name: str, source: str, sha256: str) -> str:
    await bench.world.registry.CreateBaseModel(
        registry_pb2.CreateBaseModelRequest(
            base_model_id=name,
            base_model=registry_resources.BaseModel(
                family=family_pb2.MODEL_FAMILY_SD15, source=source, sha256=sha256, resolution=128
            ),
        )
    )
    optimization = resources_pb2.OptimizationSpec(max_steps=2, batch_size=2, learning_rate=1e-3)
    return await bench.create(
        f"lora-{name}", base_model=f"baseModels/{name}", resolution=16, optimization=optimization
    )


async def test_every_kind_of_source_is_trained_on(bench: Bench, sources: BaseSources) -> None:
    bench.world.environment.update(sources.environment)
    names = {kind: await job_on(bench, kind, sources.sources[kind], sources.digests[kind]) for kind in KINDS}
    await bench.worker()
    losses = {}
    for kind, name in names.items():
        job = await bench.ended(name)
        assert job.state == job_pb2.JOB_STATE_SUCCEEDED, (kind, job.error)
        losses[kind] = job.progress.loss
    assert set(losses.values()) == {losses["directory"]}


async def test_wrong_sources_fail_the_job_with_their_reason(bench: Bench, sources: BaseSources) -> None:
    bench.world.environment.update(sources.environment)
    changed = {
        kind: await job_on(bench, f"other-{kind}", sources.sources[kind], "0" * 63 + str(number))
        for number, kind in enumerate(KINDS)
    }
    absent = {
        source: await job_on(bench, f"absent-{number}", source, "1" * 63 + str(number))
        for number, source in enumerate(("/nothing/here", "acme/unknown", "s3://bucket-x/y", "s3://b/y.ckpt"))
    }
    await bench.worker()
    for kind, name in changed.items():
        job = await bench.ended(name)
        assert "BASE_CHANGED" in str(job.error), (kind, job.error)
        assert sources.digests[kind] in job.error.message
        assert "0" * 63 in job.error.message
    for source, name in absent.items():
        job = await bench.ended(name)
        assert "BASE_UNUSABLE" in str(job.error), (source, job.error)
        assert source in job.error.message


async def test_a_base_that_does_not_come_keeps_neither_job_nor_worker(
    bench: Bench, sources: BaseSources
) -> None:
    with socket.socket() as silent:  # a store that takes connections and says nothing
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        bench.world.environment.update(sources.environment)
        bench.world.environment["BRANDLOOM_S3_ENDPOINT"] = f"127.0.0.1:{silent.getsockname()[1]}"
        source, digest = sources.sources["s3-directory"], sources.digests["s3-directory"]
        cancelled = await job_on(bench, "slow", source, digest)
        worker = await bench.worker(pack_size=1)
        asked, _ = await asyncio.to_thread(silent.accept)
        with asked:
            await bench.trainer.CancelTrainingJob(trainer_pb2.CancelTrainingJobRequest(name=cancelled))
            assert (await bench.ended(cancelled)).state == job_pb2.JOB_STATE_CANCELLED
            preempted = await bench.create("again", base_model="baseModels/slow", resolution=16)
            await bench.until(preempted, lambda event: event.state == job_pb2.JOB_STATE_PREPARING)
            worker.stop()
            await asyncio.wait_for(bench.workers[0], 20)
    job = await bench.get(preempted)
    assert job.state in {job_pb2.JOB_STATE_PREEMPTED, job_pb2.JOB_STATE_QUEUED}

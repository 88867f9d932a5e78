"""What a worker does with jobs: every service but the labeler is the real one, the base model is tiny."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from brandloom.api.common.v1 import job_pb2
from brandloom.api.registry.v1 import registry_pb2
from brandloom.api.trainer.v1 import resources_pb2, trainer_pb2
from lorakit.safetensors_header import read_header
from servicekit.artifacts.local import LocalStore
from servicekit.errors import Unavailable
from services.trainer.worker.leases import LeasedJob
from services.trainer.worker.patience import Patience
from services.trainer.worker.publisher import Publisher, Result
from tests.integration.trainer.conftest import (
    BRAND,
    REVISION,
    Bench,
    add_revision,
    job_request,
    progress_from,
    steps,
    tensors,
    watch,
)

pytestmark = pytest.mark.timeout(600)


async def test_jobs_of_one_pack_end_as_versions_with_all_their_files(bench: Bench, tmp_path: Path) -> None:
    samples = resources_pb2.SampleSpec(prompts=["hrx, a thing"], interval_steps=6, steps=2)
    names = [await bench.create(lora, samples=samples) for lora in ("hero", "city")]
    await bench.worker()
    events = await watch(bench.trainer, names[0])
    job, other = await bench.get(names[0]), await bench.ended(names[1])
    assert (job.state, other.state) == (job_pb2.JOB_STATE_SUCCEEDED,) * 2, (job.error, other.error)

    states = [event.state for event in events if event.WhichOneof("event") == "state"]
    assert states == [
        job_pb2.JOB_STATE_QUEUED,
        job_pb2.JOB_STATE_PREPARING,
        job_pb2.JOB_STATE_RUNNING,
        job_pb2.JOB_STATE_SUCCEEDED,
    ]
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert (job.progress.step, job.progress.total_steps, job.progress.pack_size) == (12, 12, 2)

    metrics = await bench.trainer.GetMetrics(trainer_pb2.GetMetricsRequest(name=job.name))
    assert [point.step for point in metrics.points] == list(range(1, 13))
    assert all(point.loss > 0 for point in metrics.points)

    kinds = [(artifact.kind, artifact.step) for artifact in job.artifacts]
    artifact = resources_pb2.JobArtifact
    assert sorted(kinds) == [
        (artifact.KIND_LORA, 12),
        (artifact.KIND_LOSS_PLOT, 12),
        (artifact.KIND_SAMPLE, 6),
        (artifact.KIND_SAMPLE, 12),
        (artifact.KIND_TENSORBOARD, 12),
        (artifact.KIND_CHECKPOINT, 5),
        (artifact.KIND_CHECKPOINT, 10),
        (artifact.KIND_CHECKPOINT, 12),
        (artifact.KIND_PREVIEW_SHEET, 12),
    ]
    picture = Image.open(io.BytesIO(await bench.file(job.name, "sample-000012-0.png")))
    assert np.asarray(picture).shape == (16, 16, 3)
    await check_tensorboard(bench, job, tmp_path)
    await check_version(bench, job, tmp_path)


async def check_tensorboard(bench: Bench, job: resources_pb2.TrainingJob, tmp_path: Path) -> None:
    (name,) = [
        artifact.file_name
        for artifact in job.artifacts
        if artifact.kind == resources_pb2.JobArtifact.KIND_TENSORBOARD
    ]
    (tmp_path / name).write_bytes(await bench.file(job.name, name))
    accumulator = EventAccumulator(str(tmp_path / name))
    accumulator.Reload()
    assert [scalar.step for scalar in accumulator.Scalars("train/loss")] == list(range(1, 13))


async def check_version(bench: Bench, job: resources_pb2.TrainingJob, tmp_path: Path) -> None:
    (listed,) = await bench.world.versions("hero")
    version = await bench.world.registry.GetLoraVersion(registry_pb2.GetLoraVersionRequest(name=listed.name))
    assert version.name == job.lora_version
    assert version.origin.training_job == job.name
    assert version.origin.dataset_revision == REVISION
    assert version.origin.dataset_sha256
    assert '"rank":4' in version.origin.training_spec_json.replace(" ", "")
    assert list(version.trigger_words) == ["hrx"]
    assert version.base_model == "baseModels/tiny"
    assert version.rank == 4
    assert version.evaluation["final_loss"] == pytest.approx(job.progress.loss)
    assert len(version.previews) == 1
    path = tmp_path / "hero.safetensors"
    path.write_bytes(await bench.file(job.name, "hero.safetensors"))
    metadata = read_header(path).metadata
    assert metadata["ss_output_name"] == "hero"
    assert metadata["ss_steps"] == "12"
    assert metadata["modelspec.trigger_phrase"] == "hrx"
    assert metadata["sshs_model_hash"]
    assert str(bench.world.home) not in str(metadata)


async def test_a_cancelled_job_goes_on_where_it_was_and_ends_as_if_nothing_had_happened(
    bench: Bench, tmp_path: Path
) -> None:
    interrupted = await bench.create("hero", optimization=steps(48))
    await bench.worker()
    await bench.until(interrupted, progress_from(2))
    await bench.trainer.CancelTrainingJob(trainer_pb2.CancelTrainingJobRequest(name=interrupted))
    job = await bench.ended(interrupted)
    assert job.state == job_pb2.JOB_STATE_CANCELLED
    stopped_at = max(artifact.step for artifact in job.artifacts)
    assert 2 <= stopped_at < 48

    straight = await bench.create("straight", optimization=steps(48))
    assert (await bench.ended(straight)).state == job_pb2.JOB_STATE_SUCCEEDED
    await bench.trainer.ResumeTrainingJob(trainer_pb2.ResumeTrainingJobRequest(name=interrupted))
    job = await bench.ended(interrupted)
    assert job.state == job_pb2.JOB_STATE_SUCCEEDED, job.error
    assert job.attempt == 2
    metrics = await bench.trainer.GetMetrics(trainer_pb2.GetMetricsRequest(name=job.name))
    assert [point.step for point in metrics.points] == list(range(1, 49))
    resumed = tensors(await bench.file(interrupted, "hero.safetensors"), tmp_path / "a.safetensors")
    alone = tensors(await bench.file(straight, "straight.safetensors"), tmp_path / "b.safetensors")
    assert resumed == alone


class AwayStore(LocalStore):
    """A store that cannot be reached."""

    def open(self, sha256: str) -> AsyncIterator[bytes]:
        raise Unavailable(f"{sha256} cannot be read now")


async def test_a_job_that_waits_for_its_pictures_can_be_cancelled(bench: Bench, tmp_path: Path) -> None:
    name = await bench.create("hero")
    await bench.worker(store=AwayStore(tmp_path / "away"))
    await bench.until(name, lambda event: event.state == job_pb2.JOB_STATE_PREPARING)
    await bench.trainer.CancelTrainingJob(trainer_pb2.CancelTrainingJobRequest(name=name))
    async with asyncio.timeout(60):
        job = await bench.ended(name)
    assert job.state == job_pb2.JOB_STATE_CANCELLED


async def test_a_worker_that_cannot_reach_the_store_leaves_the_job_to_another(
    bench: Bench, tmp_path: Path
) -> None:
    name = await bench.create("hero")
    cut_off = await bench.worker(store=AwayStore(tmp_path / "away"), patience=Patience(0.3))
    await bench.until(name, lambda event: "try 1 of 3 follows" in event.notice)
    cut_off.stop()
    await bench.worker()
    job = await bench.ended(name)
    assert job.state == job_pb2.JOB_STATE_SUCCEEDED, job.error
    assert job.attempt >= 2


async def test_a_job_that_fails_does_not_harm_its_pack(bench: Bench) -> None:
    broken = f"brands/{BRAND}/datasets/broken/revisions/1"
    await add_revision(bench.world, pictures=2, name=broken, broken=True)
    bad = await bench.create("bad", dataset_revision=broken)
    good = await bench.create("good")
    await bench.worker()
    failed, succeeded = await bench.ended(bad), await bench.ended(good)
    assert failed.state == job_pb2.JOB_STATE_FAILED
    assert failed.error.reason == "PICTURE_UNREADABLE"
    assert "0.png" in failed.error.message
    assert failed.attempt == 1
    assert succeeded.state == job_pb2.JOB_STATE_SUCCEEDED
    assert await bench.world.versions("bad") == []


async def test_a_missing_picture_is_named(bench: Bench) -> None:
    name = await bench.create()
    manifest = bench.world.labeler.revisions[REVISION].manifest
    data = await bench.world.store.get_bytes(manifest.sha256, max_bytes=1 << 20)
    digest = data.decode().split('"sha256": "')[1][:64]
    (bench.world.home / "store" / "sha256" / digest[:2] / digest).unlink()
    await bench.worker()
    job = await bench.ended(name)
    assert job.state == job_pb2.JOB_STATE_FAILED
    assert digest in job.error.message


async def test_a_base_that_is_not_what_the_registry_knows_is_refused(
    bench: Bench, tiny_base: Path, tmp_path: Path
) -> None:
    name = await bench.create()
    extra = tiny_base / "unet" / "extra.json"
    extra.write_text("{}")
    try:
        await bench.worker()
        job = await bench.ended(name)
    finally:
        extra.unlink()
    assert job.state == job_pb2.JOB_STATE_FAILED
    assert job.error.reason == "BASE_CHANGED"


class DiesAfterRegistering(Publisher):
    """Registers, and then the worker is gone: once."""

    died = False

    async def register(self, lease: LeasedJob, result: Result) -> str:
        version = await super().register(lease, result)
        if not DiesAfterRegistering.died:
            DiesAfterRegistering.died = True
            raise ConnectionError("gone")
        return version


class ForgetsWhatItRegistered(DiesAfterRegistering):
    """Moreover the next attempt does not look whether it is registered before it trains again."""

    asked = 0

    async def registered(self, lease: LeasedJob) -> str | None:
        ForgetsWhatItRegistered.asked += 1
        return None if ForgetsWhatItRegistered.asked == 1 else await super().registered(lease)


@pytest.mark.parametrize(
    "publisher", [pytest.param(DiesAfterRegistering, marks=pytest.mark.slow), ForgetsWhatItRegistered]
)
async def test_a_version_is_registered_once_even_when_the_worker_dies_right_after(
    bench: Bench, publisher: type[DiesAfterRegistering]
) -> None:
    DiesAfterRegistering.died = False
    name = await bench.create()
    await bench.worker(publisher)
    job = await bench.ended(name)
    assert job.state == job_pb2.JOB_STATE_SUCCEEDED, job.error
    assert job.attempt == 2
    assert [version.name for version in await bench.world.versions()] == [job.lora_version]


async def test_a_job_joins_the_pack_that_is_running(bench: Bench) -> None:
    first = await bench.create("first", optimization=steps(400), checkpoint_interval_steps=1000)
    await bench.worker()
    await bench.until(first, progress_from(2))
    second = await bench.create("second", optimization=steps(4))
    job = await bench.ended(second)
    assert job.state == job_pb2.JOB_STATE_SUCCEEDED
    assert job.progress.pack_size == 2
    assert (await bench.get(first)).state == job_pb2.JOB_STATE_RUNNING
    await bench.trainer.CancelTrainingJob(trainer_pb2.CancelTrainingJobRequest(name=first))
    await bench.ended(first)


async def test_a_stopped_worker_gives_its_jobs_back_with_a_checkpoint(bench: Bench) -> None:
    name = await bench.create(optimization=steps(400), checkpoint_interval_steps=1000)
    worker = await bench.worker()
    await bench.until(name, progress_from(3))
    worker.stop()
    await asyncio.wait_for(bench.workers[0], 60)
    job = await bench.get(name)
    assert job.state == job_pb2.JOB_STATE_QUEUED
    assert [artifact.kind for artifact in job.artifacts].count(resources_pb2.JobArtifact.KIND_CHECKPOINT) == 1
    assert list((bench.world.home / "cache" / "trainer").glob("*/*")) == []


async def test_training_continues_from_a_version(bench: Bench) -> None:
    first = await bench.create("hero", adapter=resources_pb2.AdapterSpec(rank=2, train_text_encoder=True))
    await bench.worker()
    version = (await bench.ended(first)).lora_version
    request = job_request("hero", adapter=resources_pb2.AdapterSpec(), parent_version=version)
    job = await bench.trainer.CreateTrainingJob(request)
    assert (job.spec.adapter.rank, job.spec.adapter.train_text_encoder) == (2, True)
    job = await bench.ended(job.name)
    assert job.state == job_pb2.JOB_STATE_SUCCEEDED, job.error
    lineage = await bench.world.registry.GetLineage(registry_pb2.GetLineageRequest(name=job.lora_version))
    assert version in [node.name for node in lineage.nodes]

"""What is left of a job that has ended: pictures, the record of its version, and the same job once more."""

from __future__ import annotations

import io
import json
import platform
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import brandloom
from brandloom import AsyncClient, JobState, TrainingSpec
from brandloom.api.common.v1 import job_pb2
from brandloom.api.registry.v1 import registry_pb2
from brandloom.api.registry.v1 import resources_pb2 as registry_resources
from brandloom.api.trainer.v1 import resources_pb2, trainer_pb2
from brandloom.errors import InvalidArgument
from lorakit.safetensors_header import read_header
from services.trainer.worker.preview_sheet import CELL
from tests.integration.trainer.conftest import (
    BRAND,
    REVISION,
    TOKEN,
    Bench,
    job_request,
    progress_from,
    steps,
    watch,
)

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
async def client(bench: Bench) -> AsyncIterator[AsyncClient]:
    connection = brandloom.connect_async(
        trainer=f"127.0.0.1:{bench.port}",
        registry=bench.world.environment["BRANDLOOM_REGISTRY_ADDRESS"],
        token=TOKEN,
    )
    async with connection as connected:
        yield connected


async def version_of(bench: Bench, job: resources_pb2.TrainingJob) -> registry_resources.LoraVersion:
    request = registry_pb2.GetLoraVersionRequest(name=job.lora_version)
    return await bench.world.registry.GetLoraVersion(request)


async def picture(bench: Bench, name: str, file: int) -> np.ndarray:
    request = registry_pb2.DownloadVersionRequest(name=name, file=file)  # type: ignore[arg-type]
    data = b"".join([chunk.data async for chunk in bench.world.registry.DownloadVersion(request)])
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def tensors(path: Path) -> dict[str, bytes]:
    header, data = read_header(path), path.read_bytes()
    return {
        name: data[header.data_offset + entry.begin : header.data_offset + entry.end]
        for name, entry in header.tensors.items()
    }


async def test_a_version_carries_what_made_it(bench: Bench) -> None:
    samples = resources_pb2.SampleSpec(prompts=["hrx, a thing", "a cat"], interval_steps=4, steps=1)
    names = [await bench.create(lora, samples=samples) for lora in ("hero", "city")]
    await bench.worker()
    events = await watch(bench.trainer, names[0])
    job, _ = await bench.get(names[0]), await bench.ended(names[1])
    assert job.state == job_pb2.JOB_STATE_SUCCEEDED, job.error
    version = await version_of(bench, job)
    origin = version.origin

    assert [(told.code, told.field, told.message) for told in origin.advice] == [
        (told.code, told.field, told.message) for told in job.advice
    ]
    assert origin.advice
    environment = dict(origin.environment)
    assert environment["python"] == platform.python_version()
    assert environment["torch"].partition("+")[0] == torch.__version__.partition("+")[0]
    assert (environment["device"], environment["precision"]) == ("cpu", "float32")
    assert (environment["worker"], environment["attempt"]) == ("worker-0", "1")
    assert (environment["pack_size_most"], environment["companions"]) == ("2", "1")
    assert str(bench.world.home) not in str(environment)
    assert "city" not in str(environment)
    lasted = origin.end_time.ToDatetime() - origin.start_time.ToDatetime()
    assert 0 < origin.training_seconds <= lasted.total_seconds()
    assert origin.images_per_second == pytest.approx(24 / origin.training_seconds)
    assert len(version.base_model_sha256) == len(origin.dataset_sha256) == 64
    assert (origin.parent_sha256, origin.prior_dataset_sha256) == ("", "")

    sheet = await picture(bench, version.name, registry_pb2.VERSION_FILE_PREVIEW_SHEET)
    assert sheet.shape[0] > 3 * CELL and sheet.shape[1] > 2 * CELL, "steps 4, 8 and 12 of two prompts"
    plot = await picture(bench, version.name, registry_pb2.VERSION_FILE_LOSS_PLOT)
    assert plot.shape == (450, 800, 3)
    kinds = {artifact.kind: artifact.artifact for artifact in job.artifacts}
    assert kinds[resources_pb2.JobArtifact.KIND_PREVIEW_SHEET] == origin.preview_sheet
    assert kinds[resources_pb2.JobArtifact.KIND_LOSS_PLOT] == origin.loss_plot

    told = [event.progress for event in events if event.WhichOneof("event") == "progress"]
    assert told[-1].device_memory_bytes > 50 << 20
    assert told[-1].pack_images_per_second > told[-1].images_per_second > 0
    metrics = await bench.trainer.GetMetrics(trainer_pb2.GetMetricsRequest(name=job.name))
    assert max(point.pack_images_per_second for point in metrics.points) > 0
    assert all(point.device_memory_bytes > 50 << 20 for point in metrics.points)


@pytest.mark.parametrize("gone", [(), (10,)], ids=["all", "one-lost"])
async def test_the_sheet_of_a_job_that_was_interrupted_shows_all_its_attempts(
    bench: Bench, gone: tuple[int, ...]
) -> None:
    samples = resources_pb2.SampleSpec(prompts=["hrx, a thing"], interval_steps=10, steps=1)
    name = await bench.create(optimization=steps(60), samples=samples, checkpoint_interval_steps=1000)
    await bench.worker()
    await bench.until(name, progress_from(11))
    await bench.trainer.CancelTrainingJob(trainer_pb2.CancelTrainingJobRequest(name=name))
    cancelled = await bench.ended(name)
    assert cancelled.progress.step < 60
    for artifact in cancelled.artifacts:
        if artifact.step in gone and artifact.kind == resources_pb2.JobArtifact.KIND_SAMPLE:
            await bench.world.store.delete(artifact.artifact.sha256)
    await bench.trainer.ResumeTrainingJob(trainer_pb2.ResumeTrainingJobRequest(name=name))
    job = await bench.ended(name)
    assert job.state == job_pb2.JOB_STATE_SUCCEEDED, job.error
    version = await version_of(bench, job)
    sheet = await picture(bench, version.name, registry_pb2.VERSION_FILE_PREVIEW_SHEET)
    rows = 6 - len(gone)
    assert rows * CELL < sheet.shape[0] < (rows + 1) * CELL, "steps 10, 20 ... 60"
    assert version.origin.environment["attempt"] == "2"


async def test_what_was_trained_is_trained_again_bit_for_bit(
    bench: Bench, client: AsyncClient, tmp_path: Path
) -> None:
    adapter = resources_pb2.AdapterSpec(rank=2, train_text_encoder=True, dropout=0.1)
    loss = resources_pb2.LossSpec(noise_offset=0.05, caption_dropout=0.2)
    request = job_request("hero", adapter=adapter, loss=loss, horizontal_flip=True)
    request.training_job.spec.ClearField("seed")
    request.training_job.spec.dataset_revision = REVISION.replace("revisions/1", "revisions/latest")
    bench.world.labeler.add(bench.world.labeler.revisions[REVISION])
    first = await bench.trainer.CreateTrainingJob(request)
    await bench.worker(pack_size=1)
    version = (await bench.ended(first.name)).lora_version

    from_job = await client.training.replicate(first.name, lora=f"{BRAND}/twin")
    from_version = await client.training.replicate(version, display_name="once more")
    assert from_version.display_name == "once more"
    spec = await client.training.spec_of(first.name)
    assert from_version.spec == spec
    assert spec.dataset_revision == REVISION
    files = [tmp_path / "first.safetensors"]
    await client.versions.download(version, files[0])
    for job in (from_job, from_version):
        done = await client.training.wait(job)
        assert done.state is JobState.SUCCEEDED
        files.append(tmp_path / f"{len(files)}.safetensors")
        await client.versions.download(done.lora_version, files[-1])
    first_tensors, *others = map(tensors, files)
    assert first_tensors and [first_tensors == other for other in others] == [True, True]

    reseeded = await client.training.replicate("acme/hero@1", seed=99)
    assert (reseeded.spec.seed, reseeded.spec.lora) == (99, f"brands/{BRAND}/loras/hero")
    done = await client.training.wait(reseeded)
    path = await client.versions.download(done.lora_version, tmp_path / "reseeded.safetensors")
    assert tensors(path) != first_tensors


async def test_what_continues_a_version_is_repeated_from_that_version(
    bench: Bench, client: AsyncClient
) -> None:
    first = await bench.create("hero", optimization=steps(2))
    await bench.worker()
    parent = (await bench.ended(first)).lora_version
    request = job_request("hero", adapter=resources_pb2.AdapterSpec(), optimization=steps(2))
    request.training_job.spec.parent_version = f"{parent.rpartition('/')[0]}/latest"
    child = await bench.trainer.CreateTrainingJob(request)
    version = await version_of(bench, await bench.ended(child.name))
    assert len(version.origin.parent_sha256) == 64
    again = await client.training.replicate(version.name)
    assert again.spec.parent_version == parent
    assert again.spec == await client.training.spec_of(child.name)
    await client.training.wait(again)


async def test_what_cannot_be_repeated_says_why(bench: Bench, client: AsyncClient, tmp_path: Path) -> None:
    first = await bench.create("hero", optimization=steps(2))
    await bench.worker()
    version = (await bench.ended(first)).lora_version
    with pytest.raises(InvalidArgument, match=f"lora: must be one of brands/{BRAND}"):
        await client.training.replicate(first, lora="globex/hero")
    path = await client.versions.download(version, tmp_path / "hero.safetensors")
    uploaded = await client.versions.upload(f"{BRAND}/copy", path)
    with pytest.raises(InvalidArgument, match="was not trained here"):
        await client.training.replicate(uploaded)
    saved = await client.versions.download_previews(version, tmp_path / "pictures")
    assert [one.name for one in saved] == ["hero-v1-loss-plot.png"]
    kept = await client.versions.get(version)
    assert json.loads(kept.origin.training_spec_json)["lora"] == f"brands/{BRAND}/loras/hero"
    assert isinstance(await client.training.spec_of(kept), TrainingSpec)

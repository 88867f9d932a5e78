"""Jobs with buckets, shuffled tags and class pictures, on workers with little memory."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load

from brandloom.api.common.v1 import job_pb2
from brandloom.api.trainer.v1 import resources_pb2
from lorakit.safetensors_header import read_header
from services.trainer.sources import Blob, DatasetRevision
from services.trainer.worker.pictures import load_picture
from tests.integration.trainer.conftest import BRAND, Bench, World, watch

pytestmark = pytest.mark.timeout(600)

HEROES = f"brands/{BRAND}/datasets/shapes/revisions/1"
PEOPLE = f"brands/{BRAND}/datasets/people/revisions/1"
SIZES = ((40, 20), (20, 40), (20, 20), (44, 20), (21, 20))


async def add_shapes(world: World, name: str, count: int) -> None:
    """Pictures of several shapes with tags."""
    random = np.random.default_rng(len(name))
    lines = []
    for index in range(count):
        width, height = SIZES[index % len(SIZES)]
        buffer = io.BytesIO()
        Image.fromarray(random.integers(0, 255, (height, width, 3), dtype=np.uint8)).save(buffer, "PNG")
        artifact = await world.store.put_bytes(buffer.getvalue())
        line = {
            "sha256": artifact.sha256,
            "width": width,
            "height": height,
            "caption": f"hrx, a{index}, b, c",
        }
        lines.append(json.dumps(line) + "\n")
    stored = await world.store.put_bytes("".join(lines).encode())
    manifest = Blob(stored.sha256, stored.size_bytes)
    world.labeler.add(
        DatasetRevision(name=name, manifest=manifest, image_count=count, trigger_words=("hrx",))
    )


async def shapes_job(bench: Bench, lora: str, **changes: object) -> str:
    fields = {
        "dataset_revision": HEROES,
        "aspect_ratio_buckets": resources_pb2.BucketSpec(enabled=True),
        "caption": resources_pb2.CaptionSpec(shuffle_tags=True, keep_tokens=1),
        "prior_preservation": resources_pb2.PriorSpec(dataset_revision=PEOPLE, weight=0.5, batch_size=2),
        "optimization": resources_pb2.OptimizationSpec(epochs=2, batch_size=2, learning_rate=1e-3),
        "adapter": resources_pb2.AdapterSpec(rank=4, dropout=0.1),
        **changes,
    }
    return await bench.create(lora, **fields)


def notices(events: list[resources_pb2.TrainingEvent]) -> list[str]:
    return [event.notice for event in events if event.WhichOneof("event") == "notice"]


async def weights(bench: Bench, name: str, lora: str) -> dict[str, torch.Tensor]:
    return load(await bench.file(name, f"{lora}.safetensors"))


async def test_a_worker_with_little_memory_learns_the_same(bench: Bench, tmp_path: Path) -> None:
    await add_shapes(bench.world, HEROES, 9)
    await add_shapes(bench.world, PEOPLE, 4)
    first = [await shapes_job(bench, "roomy"), await shapes_job(bench, "other", seed=9)]
    worker = await bench.worker()
    ended = [await bench.ended(name) for name in first]
    assert [job.state for job in ended] == [job_pb2.JOB_STATE_SUCCEEDED] * 2, ended[0].error
    worker.stop()
    await bench.workers[0]
    # Three buckets of 4 wide, 2 tall and 3 square pictures; two epochs.
    assert ended[0].progress.total_steps == 2 * 5
    assert ended[0].spec.aspect_ratio_buckets.step == 8
    assert ended[0].spec.prior_preservation.weight == 0.5
    file = await bench.file(first[0], "roomy.safetensors")
    check_bucket_metadata(file, tmp_path / "roomy.safetensors")

    second = [await shapes_job(bench, "tight"), await shapes_job(bench, "another", seed=9)]
    await bench.worker(pass_memory_bytes=3 << 20)
    told = notices(await watch(bench.trainer, second[0]))
    assert not any("out of memory" in text for text in told)
    job = await bench.ended(second[0])
    assert job.state == job_pb2.JOB_STATE_SUCCEEDED, job.error
    one, two = await weights(bench, first[0], "roomy"), await weights(bench, second[0], "tight")
    assert one.keys() == two.keys()
    assert all(torch.allclose(one[key].float(), two[key].float(), atol=2e-3) for key in one)


def check_bucket_metadata(data: bytes, path: Path) -> None:
    path.write_bytes(data)
    metadata = read_header(path).metadata
    assert (metadata["ss_enable_bucket"], metadata["ss_min_bucket_reso"]) == ("True", "8")
    info = json.loads(metadata["ss_bucket_info"])
    assert sorted(bucket["count"] for bucket in info["buckets"].values()) == [2, 3, 4]
    assert all(len(bucket["resolution"]) == 2 for bucket in info["buckets"].values())
    assert 0 < info["mean_img_ar_error"] < 1


async def test_a_job_whose_rows_do_not_fit_fails_with_the_numbers(bench: Bench) -> None:
    await add_shapes(bench.world, HEROES, 3)
    await add_shapes(bench.world, PEOPLE, 2)
    name = await shapes_job(bench, "large")
    await bench.worker(pass_memory_bytes=1 << 18)
    told = notices(await watch(bench.trainer, name))
    job = await bench.get(name)
    assert job.state == job_pb2.JOB_STATE_FAILED
    assert job.error.reason == "OUT_OF_MEMORY"
    assert "B are free" in job.error.message
    assert any("gradient checkpointing is on" in text for text in told)
    assert job.attempt == 1


def test_pictures_are_scaled_and_cropped_to_their_bucket(tmp_path: Path) -> None:
    wide = np.zeros((20, 60, 3), dtype=np.uint8)
    wide[:, 30:] = 255
    Image.fromarray(wide).save(tmp_path / "wide.png")
    x_CHW = load_picture(tmp_path / "wide.png", (32, 16))
    assert x_CHW.shape == (3, 16, 32)
    assert x_CHW[:, :, :14].max() < -0.9
    assert x_CHW[:, :, 18:].min() > 0.9

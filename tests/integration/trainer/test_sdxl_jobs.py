"""What a worker does with jobs on an SDXL base: every service but the labeler is the real one."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from brandloom.api.common.v1 import family_pb2, job_pb2
from brandloom.api.registry.v1 import registry_pb2
from brandloom.api.registry.v1 import resources_pb2 as registry_resources
from brandloom.api.trainer.v1 import resources_pb2
from lorakit.base_digest import base_digest
from lorakit.formats import inspect_file
from tests.fixtures.tiny_sdxl import save_tiny_sdxl_pipeline
from tests.integration.trainer.conftest import Bench, World

pytestmark = pytest.mark.timeout(600)


async def register(world: World, directory: Path, family: family_pb2.ModelFamily) -> None:
    """The base model `baseModels/large`."""
    await asyncio.to_thread(save_tiny_sdxl_pipeline, directory)
    await world.registry.CreateBaseModel(
        registry_pb2.CreateBaseModelRequest(
            base_model_id="large",
            base_model=registry_resources.BaseModel(
                family=family, source=str(directory), sha256=base_digest(directory), resolution=16
            ),
        )
    )


async def test_a_job_ends_as_a_version_of_the_family(bench: Bench, tmp_path: Path) -> None:
    await register(bench.world, tmp_path / "large", family_pb2.MODEL_FAMILY_SDXL)
    name = await bench.create(
        base_model="baseModels/large",
        adapter=resources_pb2.AdapterSpec(rank=2, train_text_encoder=True),
        optimization=resources_pb2.OptimizationSpec(max_steps=2, batch_size=2),
        samples=resources_pb2.SampleSpec(prompts=["hrx, a thing"], steps=2),
    )
    await bench.worker()
    job = await bench.ended(name)
    assert job.state == job_pb2.JOB_STATE_SUCCEEDED, job.error
    (version,) = await bench.world.versions("hero")
    assert version.family == family_pb2.MODEL_FAMILY_SDXL
    path = tmp_path / "hero.safetensors"
    path.write_bytes(await bench.file(name, "hero.safetensors"))
    described = inspect_file(path)
    assert described.components == ("text_encoder", "text_encoder_2", "unet")
    assert described.metadata["modelspec.architecture"] == "stable-diffusion-xl-v1-base/lora"
    names = {f"{module.prefix}{module.name}" for module in described.modules}
    assert "lora_unet_middle_block_1_transformer_blocks_0_attn1_to_q" in names
    assert {module.prefix for module in described.modules} == {"lora_unet_", "lora_te1_", "lora_te2_"}

    further = await bench.create(
        base_model="baseModels/large",
        parent_version=version.name,
        adapter=None,
        optimization=resources_pb2.OptimizationSpec(max_steps=1, batch_size=2),
    )
    job = await bench.ended(further)
    assert job.state == job_pb2.JOB_STATE_SUCCEEDED, job.error
    assert (job.spec.adapter.rank, job.spec.adapter.train_text_encoder) == (2, True)


async def test_a_base_of_another_family_than_registered_is_refused(bench: Bench, tmp_path: Path) -> None:
    await register(bench.world, tmp_path / "large", family_pb2.MODEL_FAMILY_SD15)
    name = await bench.create(base_model="baseModels/large")
    await bench.worker()
    job = await bench.ended(name)
    assert job.state == job_pb2.JOB_STATE_FAILED
    assert job.error.reason == "BASE_UNUSABLE"
    assert "registered as a model of the family sd15, its files are one of sdxl" in job.error.message

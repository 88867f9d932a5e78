"""Pictures from a default base model that is a path on the service's host, of either family."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from brandloom.api.common.v1 import family_pb2
from brandloom.api.inference.v1 import inference_pb2, inference_pb2_grpc
from brandloom.api.registry.v1 import registry_pb2, resources_pb2
from lorakit.families.loading import load_diffusion_base
from tests.fixtures.tiny_loras import write_lora
from tests.fixtures.tiny_sd import save_tiny_pipeline
from tests.fixtures.tiny_sdxl import save_tiny_sdxl_pipeline
from tests.grpc.inference.harness import ENGINE_SECONDS, Answer, served
from tests.grpc.registry.harness import running_registry
from tests.waiting import until

pytestmark = pytest.mark.timeout(240)
FAMILIES = {
    "sd15": (save_tiny_pipeline, family_pb2.MODEL_FAMILY_SD15),
    "sdxl": (save_tiny_sdxl_pipeline, family_pb2.MODEL_FAMILY_SDXL),
}


@pytest.mark.parametrize("family", FAMILIES)
async def test_a_path_is_served_with_loras_of_its_family(tmp_path: Path, family: str) -> None:
    save, number = FAMILIES[family]
    directory = save(tmp_path / "local" / "tiny")
    base = load_diffusion_base(directory)
    environment = {"BRANDLOOM_INFERENCE_BASE_MODEL": str(directory)}
    async with running_registry(tmp_path, f"sqlite+aiosqlite:///{tmp_path}/registry.db") as registry:
        await registry.brand("acme")
        registered = resources_pb2.BaseModel(family=number, source="elsewhere", sha256=base.sha256)
        await registry.stub.CreateBaseModel(
            registry_pb2.CreateBaseModelRequest(base_model_id="tiny", base_model=registered)
        )
        file = write_lora(base, tmp_path / "hero.safetensors", seed=1)
        version = resources_pb2.LoraVersion(base_model="baseModels/tiny")
        await registry.upload(file.read_bytes(), "brands/acme/loras/hero", version=version)
        async with served(tmp_path, registry, environment) as (app, channel, _):
            await until(app.engine.ready, seconds=ENGINE_SECONDS)
            stub = inference_pb2_grpc.InferenceServiceStub(channel)
            answers = []
            for prompt in ("a fox", "a fox <lora:hero:0.8>"):
                request = inference_pb2.GenerateImagesRequest(
                    parent="brands/acme", prompt=prompt, steps=3, seed=7, width=16, height=16
                )
                answers.append(Answer([message async for message in stub.GenerateImages(request)]))
            (held,) = app.service.capacity().bases
    assert (held.family, held.source, held.sha256) == (family, str(directory), base.sha256)
    plain, hero = answers
    assert [len(answer.queued.stack) for answer in answers] == [0, 1]
    assert {answer.queued.base_model_sha256 for answer in answers} == {base.sha256}
    assert not np.array_equal(plain.pixels(), hero.pixels())

"""ExportStack over real gRPC: the file does elsewhere what the stack does here."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from diffusers.schedulers import DDIMScheduler

from brandloom.api.inference.v1 import inference_pb2
from brandloom.api.registry.v1 import resources_pb2
from lorakit.adapter import load_adapter
from lorakit.families.base_modules import read_base_modules
from lorakit.families.targets import module_shapes
from lorakit.hashes import model_hash
from lorakit.metadata import read_metadata
from lorakit.safetensors_header import read_header
from lorakit.stack import combine
from tests.fixtures.tiny_loras import write_lora
from tests.grpc.inference.harness import Inference
from tests.grpc.registry.harness import Refusal, read_refusal

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(180),
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]

STACK = [
    inference_pb2.StackEntry(reference="hero@prod", weight=0.7, text_encoder_weight=-0.4),
    inference_pb2.StackEntry(reference="neon", weight=0.5),
]
FLOAT32 = inference_pb2.ExportStackRequest.PRECISION_FLOAT32


@dataclass(frozen=True, slots=True)
class Exported:
    """A file that came."""

    name: str
    announced: Any
    data: bytes

    def save(self, path: Path) -> Path:
        path.write_bytes(self.data)
        return path


async def export(inference: Inference, **fields: Any) -> Exported:
    request = inference_pb2.ExportStackRequest(**{"parent": "brands/acme", "stack": STACK, **fields})
    chunks = [chunk async for chunk in inference.stub.ExportStack(request)]
    data = b"".join(chunk.data for chunk in chunks)
    return Exported(chunks[0].file_name, chunks[0].artifact, data)


async def refused(inference: Inference, **fields: Any) -> Refusal:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await export(inference, **fields)
    return read_refusal(caught.value)


async def test_the_file_gives_the_same_picture_in_stock_diffusers(
    inference: Inference, tmp_path: Path
) -> None:
    exported = await export(inference, precision=FLOAT32)
    assert exported.name == "hero-prod+neon.safetensors"
    file = exported.save(tmp_path / exported.name)
    assert exported.announced.sha256 == hashlib.sha256(exported.data).hexdigest()
    assert exported.announced.size_bytes == len(exported.data)
    pipeline = StableDiffusionPipeline.from_pretrained(
        inference.folder / "base" / "tiny", safety_checker=None, dtype=torch.float32
    )
    pipeline.set_progress_bar_config(disable=True)
    pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config)
    pipeline.load_lora_weights(str(tmp_path), weight_name=file.name)
    generator = torch.Generator().manual_seed(7)
    latents = pipeline(
        "a red fox", num_inference_steps=3, guidance_scale=5.0, generator=generator, output_type="np"
    )
    stock = (latents.images[0] * 255).round().astype(int)
    answer = await inference.generate(stack=STACK, sampler=inference_pb2.SAMPLER_DDIM)
    plain = await inference.generate(sampler=inference_pb2.SAMPLER_DDIM)
    assert np.abs(answer.pixels().astype(int) - stock).max() <= 1
    assert np.abs(plain.pixels().astype(int) - stock).max() > 5


async def test_the_file_holds_the_deltas_of_the_stack(inference: Inference, tmp_path: Path) -> None:
    exported = await export(inference, precision=FLOAT32)
    modules = {c: module_shapes(inference.base.component(c)) for c in ("unet", "text_encoder")}
    ours = load_adapter(exported.save(tmp_path / "ours.safetensors"), base_modules=modules)
    parts = [
        load_adapter(inference.folder / f"{name}.safetensors", base_modules=modules)
        for name in ("hero", "neon")
    ]
    wanted = combine([(parts[0], -0.4, 0.7), (parts[1], 0.5, 0.5)])
    found = {(component, path): weights.delta() for component, path, weights in ours.each()}
    assert set(found) == {(component, path) for component, path, _ in wanted.each()}
    for component, path, weights in wanted.each():
        torch.testing.assert_close(found[component, path], weights.delta(), rtol=1e-5, atol=1e-6)


async def test_half_precision_is_half_as_large_and_close(inference: Inference, tmp_path: Path) -> None:
    wide, half = await export(inference, precision=FLOAT32), await export(inference)
    assert len(half.data) < 0.6 * len(wide.data)
    header = read_header(half.save(tmp_path / "half.safetensors"))
    assert {entry.dtype for name, entry in header.tensors.items() if name.endswith(".weight")} == {"F16"}
    bfloat = await export(inference, precision=inference_pb2.ExportStackRequest.PRECISION_BFLOAT16)
    assert abs(len(bfloat.data) - len(half.data)) < 1000
    modules = read_base_modules(inference.folder / "base" / "tiny").shapes
    (tmp_path / "wide.safetensors").write_bytes(wide.data)
    exact = load_adapter(tmp_path / "wide.safetensors", base_modules=modules)
    near = load_adapter(tmp_path / "half.safetensors", base_modules=modules)
    for (_, _, one), (_, _, other) in zip(exact.each(), near.each(), strict=True):
        torch.testing.assert_close(one.delta(), other.delta(), rtol=2e-2, atol=2e-3)


async def test_the_header_says_what_it_was_made_of(inference: Inference, tmp_path: Path) -> None:
    exported = await export(inference)
    file = exported.save(tmp_path / "stack.safetensors")
    metadata = read_header(file).metadata
    told = read_metadata(metadata)
    assert (told.output_name, told.base_model_version) == ("hero-prod+neon", "sd_v1")
    assert told.architecture == "stable-diffusion-v1/lora"
    assert told.base_model_sha256 == inference.base.sha256
    assert (told.rank, told.alpha) == (12, 12.0)
    assert told.model_hash == model_hash(file)
    assert metadata["modelspec.hash_sha256"] == f"0x{told.model_hash}"
    hero, neon = json.loads(metadata["brandloom_stack"])
    assert hero == {
        "reference": "hero@prod",
        "version": "brands/acme/loras/hero/versions/1",
        "sha256": hashlib.sha256((inference.folder / "hero.safetensors").read_bytes()).hexdigest(),
        "text_encoder_weight": -0.4,
        "weight": 0.7,
    }
    assert (neon["version"], neon["weight"]) == ("brands/acme/loras/neon/versions/1", 0.5)
    assert metadata["modelspec.merged_from"] == f"{hero['version']}, {neon['version']}"
    assert str(inference.folder) not in json.dumps(dict(metadata))


@pytest.mark.parametrize(
    ("entry", "field"),
    [
        ({"reference": "hero", "window": {"start": 0.2, "end": 0.8}}, "stack[1].window"),
        ({"reference": "hero", "region": {"box": {"right": 0.5, "bottom": 1}}}, "stack[1].region"),
        ({"reference": "hero", "weight": 11}, "stack[1].weight"),
        ({"reference": "No Name"}, "stack[1].reference"),
        ({"reference": "nobody"}, "stack[1].reference"),
    ],
)
async def test_what_no_file_can_say_is_refused(
    inference: Inference, entry: dict[str, Any], field: str
) -> None:
    stack = [STACK[0], inference_pb2.StackEntry(**entry)]
    refusal = await refused(inference, stack=stack)
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert field in refusal.fields


async def test_nothing_to_write(inference: Inference) -> None:
    assert "stack" in (await refused(inference, stack=[])).fields
    nothing = [inference_pb2.StackEntry(reference="hero", weight=0)]
    assert (await refused(inference, stack=nothing)).reason == "STACK_EMPTY"


async def test_numbers_that_a_precision_cannot_hold(inference: Inference) -> None:
    file = write_lora(inference.base, inference.folder / "loud.safetensors", seed=9, size=40_000.0)
    version = resources_pb2.LoraVersion(base_model="baseModels/tiny")
    await inference.registry.upload(file.read_bytes(), "brands/acme/loras/loud", version=version)
    loud = [inference_pb2.StackEntry(reference="loud", weight=10)]
    refusal = await refused(inference, stack=loud)
    assert (refusal.reason, list(refusal.fields)) == ("PRECISION_TOO_SMALL", ["precision"])
    assert (await export(inference, stack=loud, precision=FLOAT32)).data


async def test_no_file_stays_behind(inference: Inference) -> None:
    assert (await export(inference)).data
    assert list((inference.folder / "cache").rglob("stack.safetensors")) == []


async def test_the_same_stack_gives_the_same_bytes_and_needs_no_engine(inference: Inference) -> None:
    """The last of this file, for it leaves no engine behind."""
    first = await export(inference)
    await inference.app.stack_exporter.close()
    await inference.app.engine.stop()
    assert (await export(inference)).data == first.data

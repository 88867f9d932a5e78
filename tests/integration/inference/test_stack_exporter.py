"""The exporter's process writes stacks of every family, and other tools read them."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
import torch
from diffusers import StableDiffusionXLPipeline
from peft import PeftModel
from transformers import AutoModelForCausalLM

from brandloom._peft_config import write_config_beside
from lorakit.adapter import Adapter, LoraWeights, load_adapter, save_kohya
from lorakit.base_digest import base_digest
from lorakit.families import sdxl
from lorakit.families.base_modules import read_base_modules
from lorakit.families.naming import LANGUAGE_MODEL
from lorakit.hashes import file_sha256
from lorakit.peft_files import WEIGHTS_FILE, save_peft
from lorakit.safetensors_header import read_header
from lorakit.stack import combine
from servicekit.errors import FailedPrecondition, InvalidArgument
from services.inference.domain_export import ExportOrder, Precision
from services.inference.domain_jobs import BaseRef, UsedLora
from services.inference.stack_exporter import ProcessStackExporter
from tests.fixtures.tiny_lm import save_tiny_lm
from tests.fixtures.tiny_loras import write_lora
from tests.fixtures.tiny_sdxl import save_tiny_sdxl_pipeline
from tests.waiting import until

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Already found a `peft_config`:UserWarning"),
    pytest.mark.filterwarnings("ignore:Adapter .* was active:UserWarning"),
    pytest.mark.filterwarnings("ignore:fan_in_fan_out"),
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.:FutureWarning"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def exporter(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ProcessStackExporter]:
    exporter = ProcessStackExporter(tmp_path_factory.mktemp("exports"))
    yield exporter
    await exporter.close()


def an_order(base: Path, *files: tuple[Path, float]) -> ExportOrder:
    stack = [
        UsedLora(
            reference=file.parent.name if file.name == WEIGHTS_FILE else file.stem,
            version=f"brands/acme/loras/{number}/versions/1",
            sha256=file_sha256(file),
            text_encoder_weight=weight,
            weight=weight,
        )
        for number, (file, weight) in enumerate(files)
    ]
    return ExportOrder(
        base=BaseRef(name="baseModels/tiny", source="elsewhere", sha256=base_digest(base), path=str(base)),
        stack=tuple(stack),
        paths={used.sha256: file for used, (file, _) in zip(stack, files, strict=True)},
        precision=Precision.FLOAT32,
    )


async def export(exporter: ProcessStackExporter, order: ExportOrder, target: Path) -> str:
    async with exporter.export(order) as file:
        content = file.path.read_bytes()
        assert file.size_bytes == len(content)
        assert file.sha256 == hashlib.sha256(content).hexdigest()
        path = file.path
    assert not path.parent.exists()
    await asyncio.to_thread(target.write_bytes, content)
    return file.name


@pytest.mark.slow
async def test_sdxl_in_stock_diffusers(exporter: ProcessStackExporter, tmp_path: Path) -> None:
    directory = save_tiny_sdxl_pipeline(tmp_path / "base")
    base = sdxl.load_base(directory)
    hero = write_lora(base, tmp_path / "hero.safetensors", seed=1, size=0.1)
    neon = write_lora(base, tmp_path / "neon.safetensors", seed=2, rank=8, size=0.1)
    out = tmp_path / "out.safetensors"
    assert (
        await export(exporter, an_order(directory, (hero, 0.7), (neon, -0.5)), out) == "hero+neon.safetensors"
    )
    header = read_header(out)
    assert header.metadata["ss_base_model_version"] == "sdxl_base_v1-0"
    names = {name.partition(".")[0] for name in header.tensors}
    assert {name[:9] for name in names} == {"lora_unet", "lora_te1_", "lora_te2_"}
    assert any(name.startswith("lora_unet_input_blocks_4_1_") for name in names)

    def picture(*files: tuple[Path, float]) -> np.ndarray:
        pipeline = StableDiffusionXLPipeline.from_pretrained(directory, add_watermarker=False)
        pipeline.set_progress_bar_config(disable=True)
        for file, _ in files:
            pipeline.load_lora_weights(str(file.parent), weight_name=file.name, adapter_name=file.stem)
        if files:
            pipeline.set_adapters([file.stem for file, _ in files], [weight for _, weight in files])
        generator = torch.Generator().manual_seed(7)
        made = pipeline("a fox", num_inference_steps=2, generator=generator, output_type="np").images
        return np.asarray(made[0])

    exported = picture((out, 1.0))
    assert np.abs(exported - picture((hero, 0.7), (neon, -0.5))).max() < 0.005
    assert np.abs(exported - picture()).max() > 0.02


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
async def test_a_language_model_in_peft(exporter: ProcessStackExporter, kind: str, tmp_path: Path) -> None:
    directory = save_tiny_lm(tmp_path / "base", kind)
    modules = read_base_modules(directory)
    adapters = [random_text_adapter(modules.shapes[LANGUAGE_MODEL], seed) for seed in (1, 2)]
    files = []
    for name, adapter in zip(("voice", "mood"), adapters, strict=True):
        (tmp_path / name).mkdir()
        save_peft(adapter, tmp_path / name, {"modelspec.license": "CC0"}, base_model="base")
        files.append(tmp_path / name / WEIGHTS_FILE)
    (tmp_path / "both").mkdir()
    order = an_order(directory, (files[0], 0.8), (files[1], -0.3))
    # A language model has one part: the text encoder's weight is not asked for.
    order = replace(order, stack=tuple(replace(used, text_encoder_weight=9.0) for used in order.stack))
    out = tmp_path / "both" / WEIGHTS_FILE
    assert await export(exporter, order, out) == WEIGHTS_FILE
    wanted = combine([(adapters[0], 0.8, 0.8), (adapters[1], -0.3, -0.3)])
    found = load_adapter(out, base_modules=modules.shapes)
    for (_, path, one), (_, other_path, other) in zip(
        sorted(wanted.each(), key=lambda item: item[1]), sorted(found.each(), key=lambda item: item[1]),
        strict=True,
    ):  # fmt: skip
        assert path == other_path
        torch.testing.assert_close(one.delta(), other.delta(), rtol=1e-5, atol=1e-6)
    metadata = read_header(out).metadata
    assert json.loads(metadata["brandloom_stack"])[1]["reference"] == "mood"
    assert metadata["modelspec.license"] == "CC0"
    write_config_beside(out)
    logits, merged = peft_logits(directory, tmp_path / "both"), merged_logits(directory, wanted)
    torch.testing.assert_close(logits, merged, rtol=1e-4, atol=1e-4)


def random_text_adapter(shapes: Any, seed: int) -> Adapter:
    generator = torch.Generator().manual_seed(seed)
    parts = {
        path: LoraWeights(
            torch.randn(2 + seed, shape.in_features, generator=generator) * 0.2,
            torch.randn(shape.out_features, 2 + seed, generator=generator) * 0.2,
            3.0,
        )
        for path, shape in shapes.items()
    }
    return Adapter({LANGUAGE_MODEL: parts}, "causal_lm")


IDS = torch.arange(5, 29).reshape(2, 12)


@torch.no_grad()
def peft_logits(base: Path, adapter: Path) -> torch.Tensor:
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), adapter).eval()
    logits: torch.Tensor = model(IDS).logits
    return logits


@torch.no_grad()
def merged_logits(base: Path, adapter: Adapter) -> torch.Tensor:
    """Of the model with the deltas added to its weights."""
    model = AutoModelForCausalLM.from_pretrained(base).eval()
    for _, path, weights in adapter.each():
        layer = model.get_submodule(path)
        # GPT-2 keeps its weights transposed.
        layer.weight += weights.delta() if isinstance(layer, torch.nn.Linear) else weights.delta().T
    logits: torch.Tensor = model(IDS).logits
    return logits


async def test_what_cannot_be_used_is_told(exporter: ProcessStackExporter, tmp_path: Path) -> None:
    directory = save_tiny_lm(tmp_path / "base", "llama")
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"\0" * 100)
    with pytest.raises(FailedPrecondition, match="broken cannot be exported for baseModels/tiny") as caught:
        await export(exporter, an_order(directory, (broken, 1.0)), tmp_path / "out")
    assert caught.value.reason == "LORA_FILE_INVALID"
    foreign = tmp_path / "foreign.safetensors"
    weights = {"a.b": LoraWeights(torch.ones(1, 4), torch.ones(4, 1), 1.0)}
    save_kohya(Adapter({"unet": weights}, "sd15"), foreign, {})
    with pytest.raises(FailedPrecondition) as caught:
        await export(exporter, an_order(directory, (foreign, 1.0)), tmp_path / "out")
    assert caught.value.reason in ("LORA_FILE_INVALID", "LORA_BASE_MISMATCH")
    empty = tmp_path / "empty"
    (empty / "x").mkdir(parents=True)
    (empty / "config.json").write_text("{}")
    with pytest.raises(FailedPrecondition) as caught:
        await export(exporter, an_order(empty, (foreign, 1.0)), tmp_path / "out")
    assert caught.value.reason == "BASE_MODEL_UNUSABLE"


async def test_weights_of_zero_leave_nothing(exporter: ProcessStackExporter, tmp_path: Path) -> None:
    directory = save_tiny_lm(tmp_path / "base", "llama")
    adapter = random_text_adapter(read_base_modules(directory).shapes[LANGUAGE_MODEL], 1)
    (tmp_path / "voice").mkdir()
    save_peft(adapter, tmp_path / "voice", {}, base_model="base")
    with pytest.raises(InvalidArgument, match="no weight other than 0"):
        await export(
            exporter, an_order(directory, (tmp_path / "voice" / WEIGHTS_FILE, 0.0)), tmp_path / "out"
        )


@pytest.mark.slow
async def test_the_process_goes_when_nothing_is_asked_for(tmp_path: Path) -> None:
    exporter = ProcessStackExporter(tmp_path / "exports", idle_seconds=0.1)
    directory = save_tiny_lm(tmp_path / "base", "llama")
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"\0" * 100)
    with pytest.raises(FailedPrecondition):
        await export(exporter, an_order(directory, (broken, 1.0)), tmp_path / "out")
    assert exporter.pid is not None
    await until(lambda: exporter.pid is None)
    await exporter.close()

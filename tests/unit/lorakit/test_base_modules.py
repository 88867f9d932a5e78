"""A base model's layers without its weights are those with them."""

from __future__ import annotations

from pathlib import Path

import pytest
from diffusers import StableDiffusionPipeline

from lorakit.errors import BaseModelError
from lorakit.families import causal_lm, sdxl
from lorakit.families.base_modules import read_base_modules
from lorakit.families.naming import LANGUAGE_MODEL
from lorakit.families.targets import module_shapes
from tests.fixtures.ldm_checkpoint import write_ldm_checkpoint
from tests.fixtures.tiny_lm import save_tiny_lm
from tests.fixtures.tiny_sd import classic_pipeline, save_tiny_pipeline
from tests.fixtures.tiny_sdxl import save_tiny_sdxl_pipeline


def shapes_of(pipeline: StableDiffusionPipeline) -> dict[str, object]:
    return {name: module_shapes(getattr(pipeline, name)) for name in ("unet", "text_encoder")}


def test_a_pipeline_directory(tmp_path: Path) -> None:
    directory = save_tiny_pipeline(tmp_path / "base")
    found = read_base_modules(directory)
    assert found.family == "sd15"
    assert found.shapes == shapes_of(StableDiffusionPipeline.from_pretrained(directory, safety_checker=None))
    # Weights are not looked at.
    for file in directory.rglob("*.safetensors"):
        file.unlink()
    assert read_base_modules(directory) == found


def test_sdxl(tmp_path: Path) -> None:
    directory = save_tiny_sdxl_pipeline(tmp_path / "base")
    found = read_base_modules(directory)
    base = sdxl.load_base(directory)
    assert (found.family, list(found.shapes)) == ("sdxl", ["unet", "text_encoder", "text_encoder_2"])
    assert found.shapes == {name: module_shapes(model) for name, model in base.components.items()}


@pytest.mark.parametrize("kind", ["llama", "gpt2", "qwen2"])
def test_a_language_model(kind: str, tmp_path: Path) -> None:
    directory = save_tiny_lm(tmp_path / "base", kind)
    found = read_base_modules(directory)
    assert found.family == "causal_lm"
    assert found.shapes == {LANGUAGE_MODEL: dict(causal_lm.load_language_model(directory).layers)}


def test_a_single_file(tmp_path: Path) -> None:
    pipeline = classic_pipeline()
    file = write_ldm_checkpoint(pipeline, tmp_path / "model.safetensors")
    assert read_base_modules(file).shapes == shapes_of(pipeline)


def test_what_is_no_base_model(tmp_path: Path) -> None:
    (tmp_path / "file.safetensors").write_bytes(b"\0" * 64)
    for path in (tmp_path / "nowhere", tmp_path, tmp_path / "file.safetensors"):
        with pytest.raises(BaseModelError):
            read_base_modules(path)

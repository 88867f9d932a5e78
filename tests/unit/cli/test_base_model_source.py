"""What kind of base model a folder is, told by its files alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest

from brandloom import Client, ModelFamily
from brandloom.cli.base_model_source import register
from brandloom.errors import ConfigurationError


class Recorder:
    """Takes what is to be registered."""

    def __init__(self) -> None:
        self.base_models = self
        self.created: dict[str, Any] = {}

    def create(self, base_model_id: str, **fields: Any) -> None:
        self.created = {"id": base_model_id, **fields}


def folder(root: Path, pipeline: str, sample_size: int) -> Path:
    """A pipeline directory as far as its kind can be told from it."""
    files = {
        "model_index.json": {"_class_name": pipeline},
        "unet/config.json": {"sample_size": sample_size},
        "vae/config.json": {"block_out_channels": [128, 256, 512, 512]},
    }
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(json.dumps(content))
    return root


@pytest.mark.parametrize(
    ("pipeline", "sample_size", "family", "resolution"),
    [
        ("StableDiffusionPipeline", 64, ModelFamily.SD15, 512),
        ("StableDiffusionXLPipeline", 128, ModelFamily.SDXL, 1024),
    ],
)
def test_a_folder_tells_its_family_and_resolution(
    pipeline: str, sample_size: int, family: ModelFamily, resolution: int, tmp_path: Path
) -> None:
    recorder = Recorder()
    source = folder(tmp_path / "model", pipeline, sample_size)
    register(cast("Client", recorder), "large", source)
    created = recorder.created
    assert (created["id"], created["family"], created["resolution"]) == ("large", family, resolution)
    assert created["source"] == str(source.resolve())
    assert len(created["sha256"]) == 64


def test_other_pipelines_are_refused(tmp_path: Path) -> None:
    source = folder(tmp_path / "model", "StableDiffusionXLImg2ImgPipeline", 128)
    with pytest.raises(ConfigurationError, match=r"Img2ImgPipeline; known are .*StableDiffusionXLPipeline"):
        register(cast("Client", Recorder()), "large", source)


@pytest.mark.parametrize("kind", ["LlamaForCausalLM", "GPT2LMHeadModel"])
def test_a_folder_of_transformers_is_a_language_model(kind: str, tmp_path: Path) -> None:
    recorder = Recorder()
    (tmp_path / "config.json").write_text(json.dumps({"architectures": [kind]}))
    register(cast("Client", recorder), "llama", tmp_path)
    assert (recorder.created["family"], recorder.created["resolution"]) == (ModelFamily.CAUSAL_LM, 0)


@pytest.mark.parametrize(
    "config", [{"architectures": ["BertModel"]}, {"_class_name": "UNet2DConditionModel"}]
)
def test_other_models_of_transformers_are_refused(config: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ConfigurationError, match="causal ones are taken"):
        register(cast("Client", Recorder()), "llama", tmp_path)

"""What `brandloom base-models register` finds out by itself, and what it must be told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from brandloom import BaseModel, ModelFamily, base_model_digest
from brandloom.cli.base_model_source import Given, examine, find_or_register
from brandloom.cli.main import cli
from brandloom.errors import ConfigurationError, NotFound

SD15 = (
    "model.diffusion_model.input_blocks.0.0.weight",
    "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight",
    *(f"first_stage_model.encoder.down.{level}.block.0.conv1.weight" for level in range(4)),
)
SDXL = (
    SD15[0],
    "conditioner.embedders.0.transformer.text_model.embeddings.token_embedding.weight",
    *SD15[2:],
)


def checkpoint(file: Path, names: tuple[str, ...], **metadata: str) -> Path:
    header: dict[str, Any] = {name: {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]} for name in names}
    text = json.dumps(header | {"__metadata__": metadata}).encode()
    file.write_bytes(len(text).to_bytes(8, "little") + text)
    return file


def pipeline(folder: Path, kind: str = "StableDiffusionPipeline", *, side: Any = 64, levels: int = 4) -> Path:
    for name, content in {
        "model_index.json": {"_class_name": kind},
        "unet/config.json": {"sample_size": side},
        "vae/config.json": {"block_out_channels": [32] * levels},
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps(content))
    return folder


@pytest.fixture(autouse=True)
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


@pytest.mark.parametrize(
    ("names", "metadata", "family", "resolution"),
    [
        (SD15, {}, ModelFamily.SD15, 512),
        (SD15[:-1], {}, ModelFamily.SD15, 256),
        (SD15, {"modelspec.resolution": "768x768"}, ModelFamily.SD15, 768),
        (SD15, {"modelspec.resolution": "768x512"}, ModelFamily.SD15, 512),
        (SDXL, {}, ModelFamily.SDXL, 1024),
    ],
)
def test_a_checkpoints_header_tells_what_it_is(
    names: tuple[str, ...], metadata: dict[str, str], family: ModelFamily, resolution: int, tmp_path: Path
) -> None:
    file = checkpoint(tmp_path / "x.safetensors", names, **metadata)
    found = examine(str(file), Given())
    assert (found.family, found.resolution, found.source) == (family, resolution, str(file))
    assert found.sha256 == base_model_digest(file)
    assert "tensors" in str(found)


@pytest.mark.parametrize(
    ("kind", "side", "levels", "family", "resolution"),
    [
        ("StableDiffusionPipeline", 64, 4, ModelFamily.SD15, 512),
        ("StableDiffusionPipeline", 16, 3, ModelFamily.SD15, 64),
        ("StableDiffusionXLPipeline", 128, 4, ModelFamily.SDXL, 1024),
    ],
)
def test_a_folders_configurations_tell_what_it_is(
    kind: str, side: int, levels: int, family: ModelFamily, resolution: int, tmp_path: Path
) -> None:
    found = examine(str(pipeline(tmp_path / "x", kind, side=side, levels=levels)), Given())
    assert (found.family, found.resolution) == (family, resolution)


def test_the_user_may_know_better(tmp_path: Path) -> None:
    file = str(checkpoint(tmp_path / "x.safetensors", SD15))
    found = examine(file, Given(resolution=96))
    assert (found.family, found.resolution) == (ModelFamily.SD15, 96)
    odd = str(checkpoint(tmp_path / "odd.safetensors", ("a",)))
    found = examine(odd, Given(family=ModelFamily.SDXL, resolution=64, sha256=base_model_digest(odd)))
    assert (found.family, found.resolution, found.told_by) == (ModelFamily.SDXL, 64, "as given")
    with pytest.raises(ConfigurationError, match=f"has the digest {base_model_digest(odd)}, not {'0' * 64}"):
        examine(odd, Given(sha256="0" * 64))


@pytest.mark.parametrize(
    ("names", "what"),
    [
        (("lora_unet_x.lora_up.weight",), "is a LoRA"),
        (("cond_stage_model.model.ln_final.weight",), "is a Stable Diffusion 2 checkpoint"),
        (("double_blocks.0.x",), "is a Flux checkpoint"),
        (SD15[:1], "is a UNet without its text encoder"),
        (SD15[1:], "is a text encoder without its UNet"),
        ((), "is no checkpoint of a known layout"),
    ],
)
def test_other_checkpoints_are_named(names: tuple[str, ...], what: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=what):
        examine(str(checkpoint(tmp_path / "x.safetensors", names)), Given())


@pytest.mark.parametrize(
    "content",
    [b"", b"\x80\x02pickle", (1 << 40).to_bytes(8, "little"), b"\2\0\0\0\0\0\0\0[]", b"\1\0\0\0\0\0\0\0{"],
)
def test_what_is_no_safetensors_file_is_refused(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "x.safetensors"
    file.write_bytes(content)
    with pytest.raises(ConfigurationError, match="is no safetensors file"):
        examine(str(file), Given())
    pickled = tmp_path / "x.ckpt"
    pickled.write_bytes(content)
    with pytest.raises(ConfigurationError, match="nothing is unpickled"):
        examine(str(pickled), Given(family=ModelFamily.SD15, resolution=512))


@pytest.mark.parametrize("side", [[64, 64], "64", None])
def test_sizes_that_are_none_are_refused(side: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is no size"):
        examine(str(pipeline(tmp_path / "x", side=side)), Given())
    with pytest.raises(ConfigurationError, match="is a FluxPipeline; known are"):
        examine(str(pipeline(tmp_path / "y", "FluxPipeline")), Given())


@pytest.mark.parametrize("kind", ["LlamaForCausalLM", "GPT2LMHeadModel"])
def test_a_folder_of_transformers_is_a_language_model(kind: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"architectures": [kind]}))
    found = examine(str(tmp_path), Given())
    assert (found.family, found.resolution) == (ModelFamily.CAUSAL_LM, 0)
    assert "px" not in str(found)


@pytest.mark.parametrize(
    "config", [{"architectures": ["BertModel"]}, {"_class_name": "UNet2DConditionModel"}]
)
def test_other_models_of_transformers_are_refused(config: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ConfigurationError, match="causal ones are taken"):
        examine(str(tmp_path), Given())


def test_a_hub_id_is_found_in_the_hubs_cache(hub_cache: Path) -> None:
    repository = hub_cache / "models--acme--small-sd"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("c0ffee")
    snapshot = pipeline(repository / "snapshots" / "c0ffee")
    for source in ("acme/small-sd", "acme/small-sd@main", "acme/small-sd@c0ffee"):
        found = examine(source, Given())
        assert (found.source, found.sha256) == (source, base_model_digest(snapshot))
    with pytest.raises(ConfigurationError, match=r"not in the hub's cache .* --copy"):
        examine("acme/small-sd@other", Given())


def test_what_is_elsewhere_needs_a_copy_or_words(tmp_path: Path) -> None:
    copy = pipeline(tmp_path / "x")
    found = examine("s3://models/x", Given(copy=copy))
    assert (found.source, found.sha256) == ("s3://models/x", base_model_digest(copy))
    told = Given(sha256="a" * 64, family=ModelFamily.SD15, resolution=512)
    assert examine("s3://models/x", told).sha256 == "a" * 64
    with pytest.raises(
        ConfigurationError, match=r"s3://models/x is not read from here: .* --sha256, --family"
    ):
        examine("s3://models/x", Given(sha256="a" * 64))
    with pytest.raises(ConfigurationError, match="is no folder or file here, and neither a hub id nor s3"):
        examine("/nothing/here", told)


class FakeBaseModels:
    """Remembers what was created."""

    def __init__(self) -> None:
        self.created: dict[str, dict[str, Any]] = {}

    def get(self, name: str) -> BaseModel:
        raise NotFound(f"{name} was not found", reason="NOT_FOUND")

    def list(self, **_: str) -> Any:
        return iter(())

    def create(self, base_model_id: str, **fields: Any) -> Any:
        self.created[base_model_id] = fields
        return fields


class FakeClient:
    """A client with base models only."""

    def __init__(self) -> None:
        self.base_models = FakeBaseModels()


def test_training_registers_what_it_is_given(tmp_path: Path) -> None:
    client = FakeClient()
    folder = pipeline(tmp_path / "My Model")
    find_or_register(client, str(folder))  # type: ignore[arg-type]
    created = client.base_models.created["my-model"]
    assert (created["source"], created["resolution"]) == (str(folder), 512)
    with pytest.raises(NotFound):
        find_or_register(client, "unknown")  # type: ignore[arg-type]


def test_a_wrong_source_ends_with_its_reason() -> None:
    result = CliRunner().invoke(cli, ["base-models", "register", "x", "/nothing/here"])
    assert result.exit_code != 0
    assert "neither a hub id nor s3://bucket/key" in result.stderr + str(result.exception)

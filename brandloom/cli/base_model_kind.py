"""What a base model is, told from its files: a folder's configurations, or a checkpoint's header alone."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from brandloom import ModelFamily
from brandloom.errors import ConfigurationError

_FAMILY_OF_PIPELINE: Final = {
    "StableDiffusionPipeline": ModelFamily.SD15,
    "StableDiffusionXLPipeline": ModelFamily.SDXL,
}
# Of a checkpoint in one file: names that only one kind of model has, and what that is.
_KINDS: Final[tuple[tuple[str, ModelFamily | str], ...]] = (
    ("conditioner.embedders.", ModelFamily.SDXL),
    ("cond_stage_model.transformer.", ModelFamily.SD15),
    ("cond_stage_model.model.", "a Stable Diffusion 2 checkpoint"),
    ("model.diffusion_model.joint_blocks.", "a Stable Diffusion 3 checkpoint"),
    ("model.diffusion_model.double_blocks.", "a Flux checkpoint"),
    ("double_blocks.", "a Flux checkpoint"),
    ("lora_", "a LoRA"),
    ("model.diffusion_model.", "a UNet without its text encoder"),
)
_CAUSAL_SUFFIXES: Final = ("ForCausalLM", "LMHeadModel")
_UNET: Final = "model.diffusion_model.input_blocks."
_VAE_LEVEL: Final = re.compile(r"first_stage_model\.encoder\.down\.(\d{1,2})\.block\.0\.")
_LATENT_SIDES: Final = {ModelFamily.SD15: 64, ModelFamily.SDXL: 128}
_RESOLUTION: Final = re.compile(r"(\d{2,4})x(\d{2,4})")
_LENGTH_BYTES: Final = 8
_MAX_HEADER_BYTES: Final = 16 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """A base model's family and resolution in pixels on a side (0 for language models), and what in its
    files told them."""

    family: ModelFamily
    resolution: int
    told_by: str


def kind_of(path: Path) -> Kind:
    """The kind of a pipeline folder or checkpoint; ConfigurationError for what is neither, or of no known
    family.
    """
    return _kind_of_file(path) if path.is_file() else _kind_of_folder(path)


def _kind_of_folder(folder: Path) -> Kind:
    if not (folder / "model_index.json").is_file() and (folder / "config.json").is_file():
        return _kind_of_language_model(folder)
    pipeline = _read_json(folder / "model_index.json").get("_class_name")
    family = _FAMILY_OF_PIPELINE.get(str(pipeline))
    if family is None:
        known = ", ".join(_FAMILY_OF_PIPELINE)
        raise ConfigurationError(f"{folder} is a {pipeline}; known are {known}")
    side = _read_json(folder / "unet" / "config.json").get("sample_size", _LATENT_SIDES[family])
    levels = _read_json(folder / "vae" / "config.json").get("block_out_channels", [0] * 4)
    if not isinstance(side, int) or not isinstance(levels, list):
        raise ConfigurationError(
            f"{folder}: sample_size of the UNet or block_out_channels of the VAE is no size"
        )
    return Kind(
        family=family, resolution=side * 2 ** (len(levels) - 1), told_by="model_index.json and configurations"
    )


def _kind_of_language_model(folder: Path) -> Kind:
    classes = _read_json(folder / "config.json").get("architectures") or []
    if not isinstance(classes, list) or not any(str(name).endswith(_CAUSAL_SUFFIXES) for name in classes):
        raise ConfigurationError(f"{folder} is a {classes}; of transformers' models causal ones are taken")
    return Kind(family=ModelFamily.CAUSAL_LM, resolution=0, told_by="config.json")


def _kind_of_file(file: Path) -> Kind:
    header = _read_header(file)
    family = next((kind for start, kind in _KINDS if any(name.startswith(start) for name in header)), None)
    if isinstance(family, ModelFamily) and not any(name.startswith(_UNET) for name in header):
        family = "a text encoder without its UNet"
    if not isinstance(family, ModelFamily):
        raise ConfigurationError(
            f"{file} is {family or 'no checkpoint of a known layout'}; taken are those of Stable Diffusion "
            "1.x and SDXL in their original layout"
        )
    metadata = header.get("__metadata__")
    stated = metadata.get("modelspec.resolution") if isinstance(metadata, dict) else None
    match = _RESOLUTION.fullmatch(stated) if isinstance(stated, str) else None
    if match and match[1] == match[2]:
        return Kind(family=family, resolution=int(match[1]), told_by="its tensors and modelspec.resolution")
    levels = [int(found[1]) for name in header if (found := _VAE_LEVEL.match(name))]
    factor = 2 ** max(levels, default=3)
    return Kind(family=family, resolution=_LATENT_SIDES[family] * factor, told_by="its tensors' names")


def _read_header(file: Path) -> Mapping[str, Any]:
    """The JSON before the tensors; nothing in it is believed but names and metadata."""
    try:
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(_LENGTH_BYTES), "little")
            if length > _MAX_HEADER_BYTES:
                raise ConfigurationError(
                    f"{file} is no safetensors file: it claims a header of {length} bytes"
                )
            header = json.loads(stream.read(length))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"{file} is no safetensors file: {error}") from error
    if not isinstance(header, dict):
        raise ConfigurationError(f"{file} is no safetensors file: its header is no JSON object")
    return header


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise ConfigurationError(f"{path} holds no JSON object")
    return content

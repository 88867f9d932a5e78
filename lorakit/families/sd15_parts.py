"""Reads the parts of a Stable Diffusion 1.5 base model from its files: safetensors alone, nothing fetched."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

from lorakit.errors import BaseModelError, LoraFormatError
from lorakit.families.clip_tokenizer import load_tokenizer
from lorakit.families.pipeline_files import load_model, load_part
from lorakit.families.pipeline_index import pipeline_class, read_json
from lorakit.families.sd15_configs import checkpoint_configs
from lorakit.safetensors_header import read_header

_PIPELINE = "StableDiffusionPipeline"
_TEXT_CONFIG = "text_encoder/config.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Parts:
    """The models and what belongs to them, as diffusers and transformers make them."""

    unet: Any
    text_encoder: Any
    vae: Any
    tokenizer: Any
    scheduler_config: Mapping[str, Any]

    @property
    def models(self) -> tuple[Any, Any, Any]:
        """What has weights."""
        return self.unet, self.text_encoder, self.vae


def parts_of_directory(path: Path, dtype: torch.dtype) -> Parts:
    """The parts of a pipeline directory. Raises BaseModelError."""
    found = pipeline_class(path)
    if found != _PIPELINE:
        raise BaseModelError(f"{path} is a {found!r}, not a {_PIPELINE}")
    return Parts(
        unet=load_model(UNet2DConditionModel, path, "unet", dtype=dtype),
        vae=load_model(AutoencoderKL, path, "vae", dtype=dtype),
        text_encoder=load_model(CLIPTextModel, path, "text_encoder", dtype=dtype),
        tokenizer=load_part(CLIPTokenizer, path, "tokenizer"),
        scheduler_config=read_json(path / "scheduler" / "scheduler_config.json"),
    )


def parts_of_file(path: Path, dtype: torch.dtype, *, configs: Path | None, tokenizer: Path | None) -> Parts:
    """The parts of a checkpoint in one file, in the original layout of Stable Diffusion 1.x.

    Its configurations are those of the pipeline directory ``configs``, or worked out from its header; its
    tokenizer is that of ``configs``, or at ``tokenizer``, or in the hub's cache. Raises BaseModelError.
    """
    if path.suffix != ".safetensors":
        raise BaseModelError(f"{path.name}: only .safetensors checkpoints are read")
    if configs is not None:
        return _parts_with_configs(path, dtype, configs)
    try:
        made = checkpoint_configs(read_header(path))
        text = made[_TEXT_CONFIG]
        words, length = text["vocab_size"], text["max_position_embeddings"]
        clip = load_tokenizer(tokenizer, length=length, words=words)
    except BaseModelError as error:
        raise BaseModelError(f"{path.name}: {error}") from error
    except LoraFormatError as error:
        raise BaseModelError(f"{path.name} is no sound safetensors file: {error}") from error
    with TemporaryDirectory(prefix="brandloom-configs-") as folder:
        for name, content in made.items():
            file = Path(folder) / name
            file.parent.mkdir(exist_ok=True)
            file.write_text(json.dumps(content), encoding="utf-8")
        return _parts_with_configs(path, dtype, Path(folder), tokenizer=clip)


def _parts_with_configs(path: Path, dtype: torch.dtype, configs: Path, **given: Any) -> Parts:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pipeline = StableDiffusionPipeline.from_single_file(
                str(path),
                config=str(configs),
                dtype=dtype,
                local_files_only=True,
                safety_checker=None,
                feature_extractor=None,
                **given,
            )
    except NotImplementedError as error:
        # torch's word for a parameter that got no values.
        raise BaseModelError(f"{path.name} lacks tensors that its configurations call for") from error
    except (OSError, ValueError, KeyError, IndexError, TypeError, RuntimeError) as error:
        raise BaseModelError(f"{path.name} cannot be loaded: {error}") from error
    # diffusers lets a text encoder pass that has parameters without values.
    if any(value.is_meta for value in pipeline.text_encoder.parameters()):
        raise BaseModelError(f"{path.name} lacks tensors that its text encoder calls for")
    return Parts(
        unet=pipeline.unet,
        text_encoder=pipeline.text_encoder,
        vae=pipeline.vae,
        tokenizer=pipeline.tokenizer,
        scheduler_config=dict(pipeline.scheduler.config),
    )

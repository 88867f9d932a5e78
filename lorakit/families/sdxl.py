"""Stable Diffusion XL, and everything of its architecture whatever its size.

B rows, E text encoders (two), N tokens of a prompt, D their features together, P pooled features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from lorakit.base_digest import base_digest
from lorakit.errors import BaseModelError
from lorakit.families.diffusion_base import (
    DiffusionBase,
    EncodedTexts,
    check_latents,
    padded_ids,
    training_schedule,
)
from lorakit.families.naming import TEXT_ENCODER, TEXT_ENCODER_2
from lorakit.families.pipeline_files import load_model, load_part
from lorakit.families.pipeline_index import pipeline_class, read_json
from lorakit.families.sgm_names import LAYERS_PER_BLOCK
from lorakit.module_shape import Component

FAMILY = "sdxl"
_PIPELINE = "StableDiffusionXLPipeline"
_TIME_IDS = 6


@dataclass(frozen=True, kw_only=True, slots=True)
class BaseModel(DiffusionBase):
    """A frozen base model in evaluation mode; its autoencoder is in float32 whatever the others are."""

    text_encoder: Any
    """CLIPTextModel"""
    text_encoder_2: Any
    """CLIPTextModelWithProjection"""
    tokenizer: Any
    """CLIPTokenizer"""
    tokenizer_2: Any
    """CLIPTokenizer"""

    @property
    def family(self) -> str:
        """See DiffusionBase."""
        return FAMILY

    @property
    def text_encoders(self) -> Mapping[Component, Any]:
        """CLIP's text model, and OpenCLIP's."""
        return {TEXT_ENCODER: self.text_encoder, TEXT_ENCODER_2: self.text_encoder_2}

    def text_ids(self, texts: Sequence[str]) -> torch.Tensor:
        """See DiffusionBase."""
        return torch.stack(
            [padded_ids(tokenizer, texts) for tokenizer in (self.tokenizer, self.tokenizer_2)], dim=1
        )

    def encode_texts(self, ids_BEN: torch.Tensor, *, clip_skip: int = 0) -> EncodedTexts:
        """See DiffusionBase. Both encoders' states before their last layer, and the second's pooled ones."""
        layers = min(int(encoder.config.num_hidden_layers) for encoder in self.text_encoders.values())
        if not 0 <= clip_skip <= layers - 2:
            raise ValueError(f"clip_skip must be from 0 to {layers - 2}, not {clip_skip}")
        ids_EBN = ids_BEN.to(self.text_encoder.device).unbind(1)
        first = self.text_encoder(ids_EBN[0], output_hidden_states=True)
        second = self.text_encoder_2(ids_EBN[1], output_hidden_states=True)
        states = [found.hidden_states[-(clip_skip + 2)] for found in (first, second)]
        return EncodedTexts(torch.cat(states, dim=-1), second.text_embeds)


def load_base(
    path: Path, *, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
) -> BaseModel:
    """Load a pipeline directory from safetensors alone; nothing is fetched or unpickled.

    Raises BaseModelError saying what is missing or wrong.
    """
    if path.is_file():
        raise BaseModelError(f"{path.name}: {FAMILY} is loaded from a pipeline directory, not from one file")
    digest = base_digest(path)
    found = pipeline_class(path)
    if found != _PIPELINE:
        raise BaseModelError(f"{path} is a {found!r}, not a {_PIPELINE}")
    scheduler_config = read_json(path / "scheduler" / "scheduler_config.json")
    base = BaseModel(
        unet=load_model(UNet2DConditionModel, path, "unet", dtype=dtype),
        text_encoder=load_model(CLIPTextModel, path, "text_encoder", dtype=dtype),
        text_encoder_2=load_model(CLIPTextModelWithProjection, path, "text_encoder_2", dtype=dtype),
        # In half precision this autoencoder's activations overflow.
        vae=load_model(AutoencoderKL, path, "vae", dtype=torch.float32),
        tokenizer=load_part(CLIPTokenizer, path, "tokenizer"),
        tokenizer_2=load_part(CLIPTokenizer, path, "tokenizer_2"),
        noise_schedule=training_schedule(scheduler_config, path),
        scheduler_config=scheduler_config,
        sha256=digest,
        zeros_for_no_prompt=bool(
            read_json(path / "model_index.json").get("force_zeros_for_empty_prompt", True)
        ),
    )
    _check_architecture(base, path)
    for model in (*base.components.values(), base.vae):
        model.requires_grad_(False).eval().to(device=device)
    return base


def _check_architecture(base: BaseModel, path: Path) -> None:
    unet, first, second = base.unet.config, base.text_encoder.config, base.text_encoder_2.config
    given = first.hidden_size + second.hidden_size
    if unet.cross_attention_dim != given:
        raise BaseModelError(
            f"{path}: the UNet attends to {unet.cross_attention_dim} features, the text encoders give {given}"
        )
    if unet.addition_embed_type != "text_time":
        raise BaseModelError(f"{path}: the UNet takes no pooled text and sizes, as {FAMILY}'s do")
    added = second.projection_dim + _TIME_IDS * unet.addition_time_embed_dim
    if unet.projection_class_embeddings_input_dim != added:
        raise BaseModelError(
            f"{path}: the UNet takes {unet.projection_class_embeddings_input_dim} features of pooled text "
            f"and sizes, and gets {added}"
        )
    if unet.layers_per_block != LAYERS_PER_BLOCK:
        raise BaseModelError(
            f"{path}: the UNet has {unet.layers_per_block} layers in a block, "
            f"{FAMILY}'s have {LAYERS_PER_BLOCK}"
        )
    lengths = base.tokenizer.model_max_length, base.tokenizer_2.model_max_length
    if lengths[0] != lengths[1]:
        raise BaseModelError(f"{path}: the tokenizers' lengths {lengths[0]} and {lengths[1]} differ")
    check_latents(base.unet, base.vae, path)

"""Stable Diffusion 1.5, and everything of its architecture whatever its size.

B rows, E text encoders (one), N tokens of a prompt, D its features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from lorakit.base_digest import base_digest
from lorakit.errors import BaseModelError
from lorakit.families.diffusion_base import (
    DiffusionBase,
    EncodedTexts,
    check_latents,
    decode_latents,
    encode_pictures,
    padded_ids,
    training_schedule,
)
from lorakit.families.naming import TEXT_ENCODER, UNET
from lorakit.families.sd15_parts import parts_of_directory, parts_of_file
from lorakit.families.targets import Target, module_shapes, routable_paths, target_modules
from lorakit.module_shape import Component

__all__ = [
    "BaseModel",
    "Target",
    "decode_latents",
    "encode_pictures",
    "encode_prompt",
    "encode_tokens",
    "load_base",
    "module_shapes",
    "routable_paths",
    "target_modules",
    "tokenize",
]

FAMILY = "sd15"
COMPONENTS: tuple[Component, ...] = (UNET, TEXT_ENCODER)


@dataclass(frozen=True, kw_only=True, slots=True)
class BaseModel(DiffusionBase):
    """A frozen base model in evaluation mode."""

    text_encoder: Any
    """CLIPTextModel"""
    tokenizer: Any
    """CLIPTokenizer"""

    @property
    def family(self) -> str:
        """See DiffusionBase."""
        return FAMILY

    @property
    def text_encoders(self) -> Mapping[Component, Any]:
        """CLIP's text model."""
        return {TEXT_ENCODER: self.text_encoder}

    def text_ids(self, texts: Sequence[str]) -> torch.Tensor:
        """See DiffusionBase."""
        return tokenize(self, texts)[:, None]

    def encode_texts(self, ids_BEN: torch.Tensor, *, clip_skip: int = 0) -> EncodedTexts:
        """See DiffusionBase."""
        return EncodedTexts(encode_tokens(self, ids_BEN[:, 0], clip_skip=clip_skip))


def load_base(
    path: Path,
    *,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    configs: Path | None = None,
    tokenizer: Path | None = None,
) -> BaseModel:
    """Load a pipeline directory, or a single-file checkpoint, from safetensors alone; nothing is fetched or
    unpickled.

    A single file holds no configurations and no tokenizer: see lorakit.families.sd15_parts.parts_of_file.
    Raises BaseModelError saying what is missing or wrong.
    """
    digest = base_digest(path)
    if path.is_file():
        parts = parts_of_file(path, dtype, configs=configs, tokenizer=tokenizer)
    else:
        parts = parts_of_directory(path, dtype)
    _check_architecture(parts.unet, parts.text_encoder, parts.vae, path)
    for model in parts.models:
        model.requires_grad_(False).eval().to(device=device)
    return BaseModel(
        unet=parts.unet,
        text_encoder=parts.text_encoder,
        vae=parts.vae,
        tokenizer=parts.tokenizer,
        noise_schedule=training_schedule(parts.scheduler_config, path),
        scheduler_config=parts.scheduler_config,
        sha256=digest,
    )


def tokenize(base: BaseModel, prompts: Sequence[str]) -> torch.Tensor:
    """Token ids [B, N], padded and cut to the tokenizer's length as a stock pipeline does."""
    return padded_ids(base.tokenizer, prompts)


def encode_tokens(base: BaseModel, ids_BN: torch.Tensor, *, clip_skip: int = 0) -> torch.Tensor:
    """Embeddings [B, N, D] of token ids; ``clip_skip`` of the last layers are left out.

    Runs under the routing in force, and with gradients if they are on. Raises ValueError for a clip_skip that
    leaves no layer.
    """
    layers = int(base.text_encoder.config.num_hidden_layers)
    if not 0 <= clip_skip < layers:
        raise ValueError(f"clip_skip must be from 0 to {layers - 1}, not {clip_skip}")
    ids_BN = ids_BN.to(base.text_encoder.device)
    embeddings_BND: torch.Tensor
    if clip_skip == 0:
        embeddings_BND = base.text_encoder(ids_BN).last_hidden_state
    else:
        hidden = base.text_encoder(ids_BN, output_hidden_states=True).hidden_states[-(clip_skip + 1)]
        embeddings_BND = base.text_encoder.final_layer_norm(hidden)
    return embeddings_BND


def encode_prompt(base: BaseModel, prompts: Sequence[str], *, clip_skip: int = 0) -> torch.Tensor:
    """Embeddings [B, N, D] of prompts."""
    return encode_tokens(base, tokenize(base, prompts), clip_skip=clip_skip)


def _check_architecture(unet: Any, text_encoder: Any, vae: Any, path: Path) -> None:
    wide, given = unet.config.cross_attention_dim, text_encoder.config.hidden_size
    if wide != given:
        raise BaseModelError(f"{path}: the UNet attends to {wide} features, the text encoder gives {given}")
    check_latents(unet, vae, path)

"""Stable Diffusion 1.5, and everything of its architecture whatever its size.

B rows, N tokens of a prompt, D its features; pictures x_BCHW in [-1, 1], latents z_BCHW scaled as the UNet
expects.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lorakit.base_digest import base_digest
from lorakit.diffusion import NoiseSchedule
from lorakit.errors import BaseModelError
from lorakit.families.naming import TEXT_ENCODER, UNET
from lorakit.families.sd15_parts import parts_of_directory, parts_of_file
from lorakit.families.targets import Target, module_shapes, routable_paths, target_modules
from lorakit.module_shape import Component
from lorakit.samplers import Sampler, SamplerSettings

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
class BaseModel:
    """A frozen base model in evaluation mode."""

    # diffusers and transformers do not type what is asked of their models here.
    unet: Any
    """UNet2DConditionModel"""
    text_encoder: Any
    """CLIPTextModel"""
    vae: Any
    """AutoencoderKL"""
    tokenizer: Any
    """CLIPTokenizer"""
    noise_schedule: NoiseSchedule
    scheduler_config: Mapping[str, Any]
    sha256: str
    """See lorakit.base_digest."""

    @property
    def family(self) -> str:
        """The family's name in LoRA records."""
        return FAMILY

    @property
    def prediction_type(self) -> str:
        """``epsilon`` or ``v_prediction``."""
        return self.noise_schedule.prediction_type

    @property
    def latent_channels(self) -> int:
        """C of the latents."""
        return int(self.unet.config.in_channels)

    @property
    def vae_scale_factor(self) -> int:
        """Pixels on a side of one latent."""
        return int(2 ** (len(self.vae.config.block_out_channels) - 1))

    @property
    def scaling_factor(self) -> float:
        """Factor between the autoencoder's latents and those the UNet sees."""
        return float(self.vae.config.scaling_factor)

    @property
    def resolution(self) -> int:
        """Pixels on a side of the pictures it was trained on."""
        return int(self.unet.config.sample_size) * self.vae_scale_factor

    @property
    def device(self) -> torch.device:
        """Where the UNet is."""
        return torch.device(self.unet.device)

    def component(self, name: Component) -> nn.Module:
        """The model that a LoRA's component adapts. Raises BaseModelError for one that this family lacks."""
        models: Mapping[Component, nn.Module] = {UNET: self.unet, TEXT_ENCODER: self.text_encoder}
        if name in models:
            return models[name]
        raise BaseModelError(f"a {FAMILY} base model has no component {name!r}")

    def sampler_settings(self, sampler: Sampler) -> SamplerSettings:
        """What this base means for a sampler. Raises ValueError for a scheduler setting it cannot follow."""
        return SamplerSettings.from_scheduler_config(sampler, self.scheduler_config)


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
    try:
        settings = SamplerSettings.from_scheduler_config(Sampler.DDIM, parts.scheduler_config)
    except ValueError as error:
        raise BaseModelError(f"{path}: {error}") from error
    return BaseModel(
        unet=parts.unet,
        text_encoder=parts.text_encoder,
        vae=parts.vae,
        tokenizer=parts.tokenizer,
        noise_schedule=NoiseSchedule(torch.from_numpy(settings.alphas_cumprod_T), settings.prediction_type),
        scheduler_config=parts.scheduler_config,
        sha256=digest,
    )


def tokenize(base: BaseModel, prompts: Sequence[str]) -> torch.Tensor:
    """Token ids [B, N], padded and cut to the tokenizer's length as a stock pipeline does."""
    length = base.tokenizer.model_max_length
    tokens = base.tokenizer(
        list(prompts), padding="max_length", max_length=length, truncation=True, return_tensors="pt"
    )
    ids: torch.Tensor = tokens.input_ids
    return ids


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


def encode_pictures(base: BaseModel, x_BCHW: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of the latents' distribution, each [B, C, H, W] and scaled as the UNet
    expects.

    A sample is ``mean + std * noise``: cache both, so that sampling anew survives the caching.
    """
    posterior = base.vae.encode(x_BCHW.to(base.vae.device, base.vae.dtype)).latent_dist
    return posterior.mean * base.scaling_factor, posterior.std * base.scaling_factor


def decode_latents(base: BaseModel, z_BCHW: torch.Tensor) -> torch.Tensor:
    """Pictures [B, 3, H, W] in [-1, 1], float32."""
    decoded: torch.Tensor = base.vae.decode(
        z_BCHW.to(base.vae.device, base.vae.dtype) / base.scaling_factor, return_dict=False
    )[0]
    return decoded.float().clamp(-1.0, 1.0)


def _check_architecture(unet: Any, text_encoder: Any, vae: Any, path: Path) -> None:
    wide, given = unet.config.cross_attention_dim, text_encoder.config.hidden_size
    if wide != given:
        raise BaseModelError(f"{path}: the UNet attends to {wide} features, the text encoder gives {given}")
    if (
        unet.config.in_channels != vae.config.latent_channels
        or unet.config.out_channels != unet.config.in_channels
    ):
        raise BaseModelError(
            f"{path}: the UNet has {unet.config.in_channels} channels in and {unet.config.out_channels} out, "
            f"the autoencoder {vae.config.latent_channels}: not a text-to-picture model of this family"
        )

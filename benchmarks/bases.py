"""Bases of several sizes with random weights: how fast a step is does not depend on what a model knows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    EulerDiscreteScheduler,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer


@dataclass(frozen=True, kw_only=True, slots=True)
class Size:
    """One architecture and the pictures it makes."""

    name: str
    channels: tuple[int, ...]
    layers: int
    width: int
    """Features of the text encoder; for SDXL those of both together."""
    resolution: int
    """Pixels on a side; a latent is 8 of them."""
    head_dim: int = 8
    is_sdxl: bool = False

    @property
    def latent_side(self) -> int:
        """Latents on a side."""
        return self.resolution // 8


TINY = Size(name="tiny", channels=(32, 64), layers=1, width=64, resolution=128)
MEDIUM = Size(name="medium", channels=(64, 128, 256), layers=1, width=128, resolution=256)
SD15 = Size(name="SD 1.5", channels=(320, 640, 1280, 1280), layers=2, width=768, resolution=512)
SDXL = Size(name="SDXL", channels=(320, 640, 1280), layers=2, width=2048, resolution=1024, is_sdxl=True)
SIZES = {size.name: size for size in (TINY, MEDIUM, SD15)}
_SCHEDULE: dict[str, Any] = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
_POOLED = 1280
_TIME_WIDTH = 256
_TIME_IDS = 6


def save_base(size: Size, directory: Path) -> Path:
    """A pipeline directory of stock classes; the same seed gives the same weights."""
    torch.manual_seed(0)
    made = _sdxl_pipeline(size) if size.is_sdxl else _sd15_pipeline(size)
    made.save_pretrained(directory)
    return directory


def _sd15_pipeline(size: Size) -> Any:
    tokenizer = _tokenizer()
    made: Any = StableDiffusionPipeline  # its constructor's types are narrower than what it takes
    return made(
        vae=_autoencoder(),
        text_encoder=CLIPTextModel(_text_config(tokenizer, size.width)),
        tokenizer=tokenizer,
        unet=_unet(size),
        scheduler=DDIMScheduler(**_SCHEDULE, steps_offset=1, clip_sample=False),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def _sdxl_pipeline(size: Size) -> Any:
    tokenizer = _tokenizer()
    made: Any = StableDiffusionXLPipeline
    return made(
        vae=_autoencoder(),
        text_encoder=CLIPTextModel(_text_config(tokenizer, size.width - _POOLED)),
        text_encoder_2=CLIPTextModelWithProjection(_text_config(tokenizer, _POOLED, projection_dim=_POOLED)),
        tokenizer=tokenizer,
        tokenizer_2=tokenizer,
        unet=_sdxl_unet(size),
        scheduler=EulerDiscreteScheduler(**_SCHEDULE, steps_offset=1, timestep_spacing="leading"),
        add_watermarker=False,
    )


def _sdxl_unet(size: Size) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=size.latent_side,
        layers_per_block=size.layers,
        block_out_channels=size.channels,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 2, 10),
        cross_attention_dim=size.width,
        attention_head_dim=(5, 10, 20),
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=_TIME_WIDTH,
        projection_class_embeddings_input_dim=_POOLED + _TIME_IDS * _TIME_WIDTH,
    )


def _unet(size: Size) -> UNet2DConditionModel:
    levels = len(size.channels)
    down = ["CrossAttnDownBlock2D"] * (levels - 1) + ["DownBlock2D"]
    up = ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * (levels - 1)
    return UNet2DConditionModel(
        sample_size=size.latent_side,
        in_channels=4,
        out_channels=4,
        layers_per_block=size.layers,
        block_out_channels=size.channels,
        norm_num_groups=32,
        down_block_types=tuple(down),
        up_block_types=tuple(up),
        cross_attention_dim=size.width,
        attention_head_dim=size.head_dim,
    )


def _autoencoder() -> AutoencoderKL:
    """Small whatever the size: latents are cached before anything is timed."""
    channels = (8, 8, 8, 8)
    return AutoencoderKL(
        block_out_channels=channels,
        down_block_types=("DownEncoderBlock2D",) * len(channels),
        up_block_types=("UpDecoderBlock2D",) * len(channels),
        latent_channels=4,
        norm_num_groups=8,
    )


def _text_config(tokenizer: CLIPTokenizer, width: int, **options: Any) -> CLIPTextConfig:
    """Two layers whatever the size: texts are encoded before anything is timed."""
    return CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=2,
        num_attention_heads=4,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **options,
    )


def _tokenizer() -> CLIPTokenizer:
    letters = [*"abcdefghijklmnopqrstuvwxyz0123456789"]
    symbols = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={s: i for i, s in enumerate(symbols)}, merges=[], model_max_length=77)

"""Bases of several sizes with random weights: how fast a step is does not depend on what a model knows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer


@dataclass(frozen=True, kw_only=True, slots=True)
class Size:
    """One architecture and the pictures it is trained on."""

    name: str
    channels: tuple[int, ...]
    layers: int
    width: int
    """Features of the text encoder."""
    resolution: int
    """Pixels on a side; a latent is 8 of them."""
    head_dim: int = 8

    @property
    def latent_side(self) -> int:
        """Latents on a side."""
        return self.resolution // 8


TINY = Size(name="tiny", channels=(32, 64), layers=1, width=64, resolution=128)
MEDIUM = Size(name="medium", channels=(64, 128, 256), layers=1, width=128, resolution=256)
SD15 = Size(name="SD 1.5", channels=(320, 640, 1280, 1280), layers=2, width=768, resolution=512)
SIZES = {size.name: size for size in (TINY, MEDIUM, SD15)}


def save_base(size: Size, directory: Path) -> Path:
    """A pipeline directory of stock classes; the same seed gives the same weights."""
    torch.manual_seed(0)
    tokenizer = _tokenizer()
    made: Any = StableDiffusionPipeline  # its constructor's types are narrower than what it takes
    made(
        vae=_autoencoder(),
        text_encoder=_text_encoder(tokenizer, size),
        tokenizer=tokenizer,
        unet=_unet(size),
        scheduler=DDIMScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            steps_offset=1,
            clip_sample=False,
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(directory)
    return directory


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


def _text_encoder(tokenizer: CLIPTokenizer, size: Size) -> CLIPTextModel:
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=size.width,
            intermediate_size=2 * size.width,
            num_hidden_layers=2,
            num_attention_heads=4,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def _tokenizer() -> CLIPTokenizer:
    letters = [*"abcdefghijklmnopqrstuvwxyz0123456789"]
    symbols = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={s: i for i, s in enumerate(symbols)}, merges=[], model_max_length=77)

"""What all families of diffusion models have in common: a UNet, an autoencoder, text encoders.

B rows, E text encoders, N tokens of a prompt, D their features, P pooled features of a whole prompt; pictures
x_BCHW in [-1, 1], latents z_BCHW scaled as the UNet expects.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from lorakit.diffusion import NoiseSchedule
from lorakit.errors import BaseModelError
from lorakit.families.naming import UNET
from lorakit.module_shape import Component
from lorakit.samplers import Sampler, SamplerSettings


@dataclass(frozen=True, slots=True)
class EncodedTexts:
    """What the text encoders make of B texts."""

    context_BND: torch.Tensor
    """What the UNet's cross-attention sees."""
    pooled_BP: torch.Tensor | None = None
    """What is added to the UNet's timestep; None for families that have no such thing."""

    def __len__(self) -> int:
        return len(self.context_BND)

    @staticmethod
    def join(parts: Sequence[EncodedTexts]) -> EncodedTexts:
        """The rows of all parts, one after another."""
        pooled = [part.pooled_BP for part in parts if part.pooled_BP is not None]
        return EncodedTexts(
            torch.cat([part.context_BND for part in parts]), torch.cat(pooled) if pooled else None
        )

    def split(self, sizes: Sequence[int]) -> list[EncodedTexts]:
        """Parts of so many rows each."""
        contexts = self.context_BND.split(list(sizes))
        pooled = [None] * len(contexts) if self.pooled_BP is None else self.pooled_BP.split(list(sizes))
        return [EncodedTexts(*part) for part in zip(contexts, pooled, strict=True)]

    def to(self, device: torch.device | str) -> EncodedTexts:
        """The same in float32 on a device."""
        pooled_BP = None if self.pooled_BP is None else self.pooled_BP.to(device, torch.float32)
        return EncodedTexts(self.context_BND.to(device, torch.float32), pooled_BP)

    def clone(self) -> EncodedTexts:
        """The same in memory of its own."""
        return EncodedTexts(
            self.context_BND.clone(), None if self.pooled_BP is None else self.pooled_BP.clone()
        )

    @property
    def nbytes(self) -> int:
        """Bytes that both tensors take."""
        return self.context_BND.nbytes + (0 if self.pooled_BP is None else self.pooled_BP.nbytes)

    def zeros(self) -> EncodedTexts:
        """As many rows of zeros."""
        pooled_BP = None if self.pooled_BP is None else torch.zeros_like(self.pooled_BP)
        return EncodedTexts(torch.zeros_like(self.context_BND), pooled_BP)


@dataclass(frozen=True, slots=True)
class Framing:
    """How a picture was cut out of its original: what families with micro-conditioning are told of it.

    All in pixels: the size of the original, and how far from the top and left of the resized original the
    picture begins.
    """

    original_height: int
    original_width: int
    top: int = 0
    left: int = 0

    def time_ids(self, height: int, width: int) -> torch.Tensor:
        """[6] float32, of a picture that is `height` and `width` pixels large."""
        ids = (self.original_height, self.original_width, self.top, self.left, height, width)
        return torch.tensor(ids, dtype=torch.float32)


@dataclass(frozen=True, kw_only=True, slots=True)
class DiffusionBase(ABC):
    """A frozen base model in evaluation mode."""

    # diffusers and transformers do not type what is asked of their models here.
    unet: Any
    """UNet2DConditionModel"""
    vae: Any
    """AutoencoderKL"""
    noise_schedule: NoiseSchedule
    scheduler_config: Mapping[str, Any]
    sha256: str
    """See lorakit.base_digest."""
    zeros_for_no_prompt: bool = False
    """Whether a row that is guided away from nothing sees zeros, and not the encoding of the empty text."""

    @property
    @abstractmethod
    def family(self) -> str:
        """The family's name in LoRA records."""

    @property
    @abstractmethod
    def text_encoders(self) -> Mapping[Component, Any]:
        """The text encoders by component, in the order of :meth:`text_ids`."""

    @abstractmethod
    def text_ids(self, texts: Sequence[str]) -> torch.Tensor:
        """Token ids [B, E, N], padded and cut to the tokenizers' length as a stock pipeline does."""

    @abstractmethod
    def encode_texts(self, ids_BEN: torch.Tensor, *, clip_skip: int = 0) -> EncodedTexts:
        """Encodings of B texts; `clip_skip` more of the last layers are left out than usual.

        Runs under the routing in force, and with gradients if they are on. Raises ValueError for a clip_skip
        that leaves no layer.
        """

    def predict(
        self,
        z_BCHW: torch.Tensor,
        timesteps_B: torch.Tensor,
        texts: EncodedTexts,
        time_ids_B6: torch.Tensor,
        *,
        tokens_BN: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """What the UNet says, [B, C, H, W]; only families with micro-conditioning see `time_ids_B6`.

        Where `tokens_BN` is false, the texts' context is no token, and is not attended to.
        """
        pooled_BP = texts.pooled_BP
        added = None if pooled_BP is None else {"text_embeds": pooled_BP, "time_ids": time_ids_B6}
        predicted_BCHW: torch.Tensor = self.unet(
            z_BCHW,
            timesteps_B,
            texts.context_BND,
            encoder_attention_mask=tokens_BN,
            added_cond_kwargs=added,
            return_dict=False,
        )[0]
        return predicted_BCHW

    @property
    def components(self) -> Mapping[Component, nn.Module]:
        """The models that LoRAs may sit on, the UNet first."""
        return {UNET: self.unet, **self.text_encoders}

    def component(self, name: Component) -> nn.Module:
        """The model that a LoRA's component adapts. Raises BaseModelError for one that this family lacks."""
        models = self.components
        if name in models:
            return models[name]
        raise BaseModelError(f"a {self.family} base model has no component {name!r}")

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
        # diffusers' own property walks through all layers, which a small model's step would feel.
        return torch.device(self.unet.conv_in.weight.device)

    def sampler_settings(self, sampler: Sampler) -> SamplerSettings:
        """What this base means for a sampler. Raises ValueError for a scheduler setting it cannot follow."""
        return SamplerSettings.from_scheduler_config(sampler, self.scheduler_config)


_SHIFTS: Final = ("shift_factor", "latents_mean", "latents_std")


def check_latents(unet: Any, vae: Any, path: Path) -> None:
    """Raises BaseModelError unless the UNet makes the latents that the autoencoder reads."""
    if (
        unet.config.in_channels != vae.config.latent_channels
        or unet.config.out_channels != unet.config.in_channels
    ):
        raise BaseModelError(
            f"{path}: the UNet has {unet.config.in_channels} channels in and {unet.config.out_channels} out, "
            f"the autoencoder {vae.config.latent_channels}: not a text-to-picture model of this family"
        )
    shifts = [name for name in _SHIFTS if vae.config.get(name) is not None]
    if shifts:
        raise BaseModelError(f"{path}: the autoencoder's {shifts[0]} is not supported")


def training_schedule(scheduler_config: Mapping[str, Any], path: Path) -> NoiseSchedule:
    """How the base was noised in its training. Raises BaseModelError for a schedule that is not supported."""
    try:
        settings = SamplerSettings.from_scheduler_config(Sampler.DDIM, scheduler_config)
    except ValueError as error:
        raise BaseModelError(f"{path}: {error}") from error
    return NoiseSchedule(torch.from_numpy(settings.alphas_cumprod_T), settings.prediction_type)


def padded_ids(tokenizer: Any, texts: Sequence[str]) -> torch.Tensor:
    """Token ids [B, N], padded and cut to the tokenizer's length as a stock pipeline does."""
    tokens = tokenizer(
        list(texts),
        padding="max_length",
        max_length=tokenizer.model_max_length,
        truncation=True,
        return_tensors="pt",
    )
    ids_BN: torch.Tensor = tokens.input_ids
    return ids_BN


def encode_pictures(base: DiffusionBase, x_BCHW: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of the latents' distribution, each [B, C, H, W] and scaled as the UNet
    expects.

    A sample is ``mean + std * noise``: cache both, so that sampling anew survives the caching.
    """
    posterior = base.vae.encode(x_BCHW.to(base.vae.device, base.vae.dtype)).latent_dist
    return posterior.mean * base.scaling_factor, posterior.std * base.scaling_factor


def decode_latents(base: DiffusionBase, z_BCHW: torch.Tensor) -> torch.Tensor:
    """Pictures [B, 3, H, W] in [-1, 1], float32."""
    decoded: torch.Tensor = base.vae.decode(
        z_BCHW.to(base.vae.device, base.vae.dtype) / base.scaling_factor, return_dict=False
    )[0]
    return decoded.float().clamp(-1.0, 1.0)

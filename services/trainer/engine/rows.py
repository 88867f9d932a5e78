"""One job's share of a batch, drawn by the job's own generators alone.

N rows of latents [C, H, W], T tokens.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from services.trainer.engine.cache import EMPTY_CAPTION, CachedData
from services.trainer.engine.spec import JobSpec

RowShape = tuple[tuple[int, ...], int]
"""Latent shape and tokens: rows of one shape can share a pass."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of one job and one shape, on the CPU."""

    shape: RowShape
    clean_NCHW: Tensor
    noise_NCHW: Tensor
    timesteps_N: Tensor
    captions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Generators:
    """A job's own sources of chance, all on the CPU, so that its result depends on its seed alone."""

    order: torch.Generator
    """Data order, flips and caption dropout."""
    noise: torch.Generator
    """Latent samples, noise and timesteps."""
    dropout: torch.Generator
    """Dropout behind the down projections."""

    @classmethod
    def seeded(cls, seed: int) -> Generators:
        """Three streams that do not follow from one another."""
        return cls(*(derived_generator(seed, name) for name in ("order", "noise", "dropout")))

    def state(self) -> dict[str, Tensor]:
        """Every generator's state, uint8."""
        return {name: getattr(self, name).get_state() for name in self.__slots__}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Takes `state()` back."""
        for name in self.__slots__:
            getattr(self, name).set_state(state[name])


def derived_generator(seed: int, name: str) -> torch.Generator:
    """A CPU generator for one purpose of one seed."""
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "little"))


def draw_rows(
    spec: JobSpec, data: CachedData, indices: list[int], generators: Generators, timesteps: int
) -> list[Rows]:
    """Rows for the pictures at `indices`, those of one shape together; the base has `timesteps` of them."""
    clean, noise, captions = [], [], []
    for index in indices:
        picture = data.pictures[index]
        flip_drawn, caption_drawn = torch.rand(2, generator=generators.order).tolist()
        variant = int(flip_drawn * len(picture.mean_VCHW))
        captions.append(EMPTY_CAPTION if caption_drawn < spec.caption_dropout else picture.caption)
        mean_CHW, std_CHW = picture.mean_VCHW[variant], picture.std_VCHW[variant]
        clean.append(mean_CHW + std_CHW * torch.randn(mean_CHW.shape, generator=generators.noise))
        noise_CHW = torch.randn(mean_CHW.shape, generator=generators.noise)
        if spec.noise_offset > 0.0:
            shift_C11 = torch.randn(mean_CHW.shape[0], 1, 1, generator=generators.noise)
            noise_CHW = noise_CHW + spec.noise_offset * shift_C11
        noise.append(noise_CHW)
    timesteps_N = torch.randint(0, timesteps, (len(indices),), generator=generators.noise)
    grouped: dict[RowShape, list[int]] = {}
    for row, (latents, caption) in enumerate(zip(clean, captions, strict=True)):
        grouped.setdefault((tuple(latents.shape), len(data.tokens[caption])), []).append(row)
    return [
        Rows(
            shape,
            torch.stack([clean[row] for row in rows]),
            torch.stack([noise[row] for row in rows]),
            timesteps_N[rows],
            tuple(captions[row] for row in rows),
        )
        for shape, rows in grouped.items()
    ]

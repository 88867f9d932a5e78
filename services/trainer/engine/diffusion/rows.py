"""One job's share of a batch, drawn by the job's own generators alone.

N rows of latents [C, H, W], E text encoders, T tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lorakit.families.diffusion_base import DiffusionBase
from services.trainer.engine.diffusion.captions import shuffled
from services.trainer.engine.diffusion.data import EMPTY_CAPTION, CachedData
from services.trainer.engine.generators import Generators
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
    tokens_NET: Tensor
    """Ids of the captions."""
    time_ids_N6: Tensor
    """How the pictures were cut out of their originals."""
    shares_N: Tensor
    """What each row's loss counts in the loss of the job's step."""

    def __len__(self) -> int:
        return len(self.captions)

    def part(self, first: int, stop: int) -> Rows:
        """The rows from `first` to before `stop`."""
        own = slice(first, stop)
        return replace(
            self,
            clean_NCHW=self.clean_NCHW[own],
            noise_NCHW=self.noise_NCHW[own],
            timesteps_N=self.timesteps_N[own],
            captions=self.captions[own],
            tokens_NET=self.tokens_NET[own],
            time_ids_N6=self.time_ids_N6[own],
            shares_N=self.shares_N[own],
        )


def draw_rows(
    base: DiffusionBase, spec: JobSpec, data: CachedData, indices: Sequence[int], generators: Generators
) -> list[Rows]:
    """Rows for the pictures at `indices`, those of one shape together."""
    clean, noise, captions, time_ids = [], [], [], []
    for index in indices:
        picture = data.pictures[index]
        flip_drawn, caption_drawn = torch.rand(2, generator=generators.order).tolist()
        variant = int(flip_drawn * len(picture.mean_VCHW))
        caption = EMPTY_CAPTION if caption_drawn < spec.caption_dropout else picture.caption
        if spec.shuffle_tags:
            caption = shuffled(caption, spec.keep_tokens, generators.order)
        captions.append(caption)
        mean_CHW, std_CHW = picture.mean_VCHW[variant], picture.std_VCHW[variant]
        clean.append(mean_CHW + std_CHW * torch.randn(mean_CHW.shape, generator=generators.noise))
        noise_CHW = torch.randn(mean_CHW.shape, generator=generators.noise)
        if spec.noise_offset > 0.0:
            shift_C11 = torch.randn(mean_CHW.shape[0], 1, 1, generator=generators.noise)
            noise_CHW = noise_CHW + spec.noise_offset * shift_C11
        noise.append(noise_CHW)
        height, width = (side * base.vae_scale_factor for side in mean_CHW.shape[1:])
        time_ids.append(picture.framing.time_ids(height, width))
    timesteps = base.noise_schedule.timesteps
    timesteps_N = torch.randint(0, timesteps, (len(indices),), generator=generators.noise)
    tokens = _tokens(base, data, captions)
    grouped: dict[RowShape, list[int]] = {}
    for row, (latents, ids) in enumerate(zip(clean, tokens, strict=True)):
        grouped.setdefault((tuple(latents.shape), ids.shape[-1]), []).append(row)
    return [
        Rows(
            shape,
            torch.stack([clean[row] for row in rows]),
            torch.stack([noise[row] for row in rows]),
            timesteps_N[rows],
            tuple(captions[row] for row in rows),
            torch.stack([tokens[row] for row in rows]),
            torch.stack([time_ids[row] for row in rows]),
            torch.full((len(rows),), 1.0 / len(indices)),
        )
        for shape, rows in grouped.items()
    ]


def _tokens(base: DiffusionBase, data: CachedData, captions: Sequence[str]) -> list[Tensor]:
    """Ids of each caption; shuffled ones are not known yet."""
    new = [caption for caption in dict.fromkeys(captions) if caption not in data.tokens]
    found = dict(zip(new, base.text_ids(new), strict=True)) if new else {}
    return [data.tokens[caption] if caption in data.tokens else found[caption] for caption in captions]

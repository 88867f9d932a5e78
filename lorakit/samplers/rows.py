"""Rows in flight: each has its own plan, place in it, latents, history and generator.

B rows of latents [C, H, W] that share a shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from lorakit.samplers.beginning import NO_NOISE, Beginning, KeptPart, first_latents
from lorakit.samplers.plan import A, B, C, D, E, P, Q, R, RowPlan


@dataclass(slots=True)
class SamplingRow:
    """One picture on its way; nothing in it is shared with another row."""

    plan: RowPlan
    generator: torch.Generator
    """Lives on the CPU, so that a seed means the same picture on every device."""
    latents_CHW: torch.Tensor
    history_CHW: torch.Tensor
    """The clean sample that the step before predicted; zeros before the first step."""
    step: int = 0
    kept: KeptPart | None = None
    """Of the picture it began from; None: nothing."""

    @classmethod
    def start(
        cls, plan: RowPlan, seed: int, shape_CHW: tuple[int, int, int], device: torch.device | str = "cpu"
    ) -> SamplingRow:
        """A row at its first step, its noise drawn as a stock pipeline draws it from a CPU generator of this
        seed.
        """
        generator = torch.Generator("cpu").manual_seed(seed)
        noise_CHW = torch.randn(shape_CHW, generator=generator).to(device)
        return cls(plan, generator, noise_CHW * plan.initial_scale, torch.zeros_like(noise_CHW))

    @classmethod
    def begin(cls, plan: RowPlan, seed: int, beginning: Beginning) -> SamplingRow:
        """A row at its first step from a picture; ``plan`` was cut to the beginning's strength."""
        generator = torch.Generator("cpu").manual_seed(seed)
        latents_CHW, kept = first_latents(plan, beginning, generator)
        return cls(plan, generator, latents_CHW, torch.zeros_like(latents_CHW), kept=kept)

    @property
    def predicted_clean(self) -> torch.Tensor:
        """Latents [C, H, W] that the last step took to be the finished ones; zeros before the first."""
        return self.history_CHW if self.kept is None else self.kept.put_back(self.history_CHW, NO_NOISE)

    @property
    def done(self) -> bool:
        """Whether every step has been taken."""
        return self.step >= self.plan.steps


def model_input(rows: Sequence[SamplingRow]) -> tuple[torch.Tensor, torch.Tensor]:
    """What the model is to see: scaled latents [B, C, H, W] and timesteps [B], float32."""
    latents_BCHW = torch.stack([row.latents_CHW for row in rows])
    scales_B = torch.stack([row.plan.input_scales_S[row.step] for row in rows])
    timesteps_B = torch.stack([row.plan.timesteps_S[row.step] for row in rows])
    device = latents_BCHW.device
    return latents_BCHW * scales_B.to(device)[:, None, None, None], timesteps_B.to(device)


def advance(rows: Sequence[SamplingRow], output_BCHW: torch.Tensor) -> None:
    """Take one step in every row, given the model's (guided) output for each.

    Raises:
        ValueError: a row has no step left.
    """
    if any(row.done for row in rows):
        raise ValueError("a row has no step left")
    device = rows[0].latents_CHW.device
    table_B8 = torch.stack([row.plan.coefficients_S8[row.step] for row in rows]).to(device)
    p, q, r, a, e, b, c, d = table_B8[:, [P, Q, R, A, E, B, C, D], None, None, None].unbind(1)
    x_BCHW = torch.stack([row.latents_CHW for row in rows])
    history_BCHW = torch.stack([row.history_CHW for row in rows])
    output_BCHW = output_BCHW.float()
    clean_BCHW = torch.clamp(p * x_BCHW + q * output_BCHW, -r, r)
    x_BCHW = a * x_BCHW + e * output_BCHW + b * clean_BCHW + c * history_BCHW
    if any(row.plan.draws_noise for row in rows):
        x_BCHW = x_BCHW + d * _fresh_noise(rows)
    for row, latents_CHW, clean_CHW in zip(rows, x_BCHW, clean_BCHW, strict=True):
        row.latents_CHW, row.history_CHW = latents_CHW, clean_CHW
        row.step += 1
        if row.kept is not None:
            level_2 = NO_NOISE if row.done else row.plan.levels_S2[row.step]
            row.latents_CHW = row.kept.put_back(latents_CHW, level_2)


def _fresh_noise(rows: Sequence[SamplingRow]) -> torch.Tensor:
    """Noise [B, C, H, W]: drawn by the rows whose sampler wants some, zero elsewhere."""
    drawn = [
        torch.randn(row.latents_CHW.shape, generator=row.generator)
        if row.plan.draws_noise
        else torch.zeros(row.latents_CHW.shape)
        for row in rows
    ]
    return torch.stack(drawn).to(rows[0].latents_CHW.device)

"""Rows that begin from a picture: at which step, from what latents, and which part of it they keep.

All as diffusers' image-to-image and inpainting pipelines do it, down to the order of what is drawn from a
row's generator. Latents are [C, H, W] and scaled as the UNet expects.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from lorakit.samplers.plan import B, C, RowPlan


@dataclass(frozen=True, kw_only=True, slots=True)
class Beginning:
    """A picture to begin from, as its autoencoder sees it; shared by the rows that begin from it."""

    mean_CHW: torch.Tensor
    std_CHW: torch.Tensor
    """Of the latents' distribution; each row draws a sample of its own. float32."""
    strength: float
    """Above 0 to 1: the part of the steps that is taken."""
    mask_1HW: torch.Tensor | None = None
    """1 where the picture is made anew, 0 where it stays; None: all of it is made anew."""


@dataclass(frozen=True, slots=True)
class KeptPart:
    """What a row puts back after each of its steps."""

    clean_CHW: torch.Tensor
    noise_CHW: torch.Tensor
    mask_1HW: torch.Tensor

    def put_back(self, latents_CHW: torch.Tensor, level_2: torch.Tensor) -> torch.Tensor:
        """The latents with the kept part in place, noised to a level (a line of RowPlan.levels_S2)."""
        signal, spread = level_2.tolist()
        kept_CHW = signal * self.clean_CHW + spread * self.noise_CHW
        mixed_CHW: torch.Tensor = (1 - self.mask_1HW) * kept_CHW + self.mask_1HW * latents_CHW
        return mixed_CHW


NO_NOISE = torch.tensor([1.0, 0.0])
"""The level of a clean sample."""


def cut_plan(plan: RowPlan, strength: float) -> RowPlan:
    """The last steps of a plan, as many as ``strength`` is of them all.

    Raises:
        ValueError: that is less than one step.
    """
    kept = min(int(plan.steps * strength), plan.steps)
    if kept < 1:
        raise ValueError(
            f"leaves none of {plan.steps} steps at {strength:g}; with so many it must be "
            f"1/{plan.steps} or more"
        )
    begin = plan.steps - kept
    table_S8 = plan.coefficients_S8[begin:].clone()
    # There is no step before the first one to look back at: what it would correct is taken out again.
    table_S8[0, B] += table_S8[0, C]
    table_S8[0, C] = 0.0
    return replace(
        plan,
        timesteps_S=plan.timesteps_S[begin:],
        input_scales_S=plan.input_scales_S[begin:],
        levels_S2=plan.levels_S2[begin:],
        coefficients_S8=table_S8,
    )


def first_latents(
    plan: RowPlan, beginning: Beginning, generator: torch.Generator
) -> tuple[torch.Tensor, KeptPart | None]:
    """Latents for the first step of a plan that was cut to the beginning's strength, and what to keep."""
    mean_CHW = beginning.mean_CHW

    def draw() -> torch.Tensor:
        return torch.randn(mean_CHW.shape, generator=generator).to(mean_CHW.device)

    clean_CHW = mean_CHW + beginning.std_CHW * draw()
    noise_CHW = draw()
    signal, spread = plan.levels_S2[0].tolist()
    noised_CHW = signal * clean_CHW + spread * noise_CHW
    if beginning.mask_1HW is None:
        return noised_CHW, None
    # A stock pipeline encodes the masked picture too, which only UNets made for inpainting get to see.
    draw()
    kept = KeptPart(clean_CHW, noise_CHW, beginning.mask_1HW)
    return noise_CHW * plan.initial_scale if beginning.strength == 1 else noised_CHW, kept

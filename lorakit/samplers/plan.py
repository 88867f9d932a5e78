"""A row's schedule as a table of coefficients.

S steps. With m the model's output, x the latents, h the previous step's clean prediction and n fresh noise,
every step of every sampler here is

    clean = clamp(P x + Q m, -R, R)
    x'    = A x + E m + B clean + C h + D n,      h' = clean

A table has one line (P, Q, R, A, E, B, C, D) for each step.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from lorakit.samplers.names import Sampler
from lorakit.samplers.noise_levels import karras_sigmas, spaced_timesteps, timesteps_of, training_sigmas
from lorakit.samplers.settings import SamplerSettings

P, Q, R, A, E, B, C, D = range(8)
COEFFICIENTS = 8
FEW_STEPS = 15


@dataclass(frozen=True, kw_only=True, slots=True)
class RowPlan:
    """All that a row needs to know to denoise in ``steps`` steps; shared freely, never changed."""

    timesteps_S: torch.Tensor
    """float32, falling: where the model is asked."""
    input_scales_S: torch.Tensor
    """float32: factor on the latents before the model sees them."""
    coefficients_S8: torch.Tensor
    """float32."""
    levels_S2: torch.Tensor
    """float32: how much of the clean sample and how much unit noise the latents before each step hold."""
    initial_scale: float
    """Factor on unit noise that gives the first latents."""
    draws_noise: bool
    """Whether each step draws fresh noise from the row's generator."""

    @property
    def steps(self) -> int:
        """How many times the model is asked."""
        return len(self.timesteps_S)


def plan_row(settings: SamplerSettings, steps: int, *, karras: bool = False) -> RowPlan:
    """The schedule of a row with ``steps`` steps; ``karras`` spaces the noise levels as Karras et al. do.

    Raises:
        ValueError: fewer than 1 step, or more than the base model has training timesteps to offer.
    """
    trained = len(settings.alphas_cumprod_T)
    if not 1 <= steps < trained:
        raise ValueError(f"steps must be from 1 to {trained - 1}, not {steps}")
    timesteps_S = spaced_timesteps(settings, steps)
    sigmas_S = np.interp(timesteps_S, np.arange(trained), training_sigmas(settings))
    if karras:
        sigmas_S = karras_sigmas(settings, sigmas_S, steps)
        timesteps_S = timesteps_of(sigmas_S, settings)
        if settings.sampler is Sampler.DPMPP_2M and settings.whole_karras_timesteps:
            timesteps_S = timesteps_S.round()
    if settings.sampler is Sampler.DDIM:
        table, scales_S, initial = _ddim(settings, timesteps_S, sigmas_S, karras=karras)
    elif settings.sampler is Sampler.DPMPP_2M:
        table, scales_S, initial = _dpmpp_2m(settings, _with_last(settings, sigmas_S))
    else:
        table, scales_S, initial = _euler(settings, _with_last(settings, sigmas_S))
    return RowPlan(
        timesteps_S=torch.from_numpy(timesteps_S.astype(np.float32)),
        input_scales_S=torch.from_numpy(scales_S.astype(np.float32)),
        coefficients_S8=torch.from_numpy(table.astype(np.float32)),
        levels_S2=torch.from_numpy(_levels(settings, sigmas_S).astype(np.float32)),
        initial_scale=initial,
        draws_noise=settings.sampler is Sampler.EULER_ANCESTRAL,
    )


def _levels(settings: SamplerSettings, sigmas_S: np.ndarray) -> np.ndarray:
    """Parts of clean sample and of noise [S, 2], in the units of the sampler's latents."""
    if settings.sampler in (Sampler.EULER, Sampler.EULER_ANCESTRAL):
        return np.stack([np.ones_like(sigmas_S), sigmas_S], axis=1)
    signal_S = 1 / np.sqrt(1 + sigmas_S**2)
    return np.stack([signal_S, np.sqrt(1 - signal_S**2)], axis=1)


def _with_last(settings: SamplerSettings, sigmas_S: np.ndarray) -> np.ndarray:
    """Noise levels [S + 1] float64 of float32 exactness: a scheduler keeps them so."""
    last = 0.0 if settings.final_sigma_is_zero else float(training_sigmas(settings)[0])
    return np.append(sigmas_S, last).astype(np.float32).astype(np.float64)


def _empty_table(steps: int) -> np.ndarray:
    table_S8 = np.zeros((steps, COEFFICIENTS))
    table_S8[:, R] = np.inf
    return table_S8


def _euler(settings: SamplerSettings, sigmas_S1: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Euler and Euler a: latents are clean + sigma * noise."""
    now_S, following_S = sigmas_S1[:-1], sigmas_S1[1:]
    target_S = following_S
    table_S8 = _empty_table(len(now_S))
    if settings.sampler is Sampler.EULER_ANCESTRAL:
        added_S = np.sqrt(following_S**2 * (now_S**2 - following_S**2) / now_S**2)
        target_S = np.sqrt(following_S**2 - added_S**2)
        table_S8[:, D] = added_S
    table_S8[:, A] = 1.0
    if settings.prediction_type == "epsilon":
        table_S8[:, P], table_S8[:, Q] = 1.0, -now_S
        table_S8[:, E] = target_S - now_S
    else:
        table_S8[:, P], table_S8[:, Q] = 1 / (now_S**2 + 1), -now_S / np.sqrt(now_S**2 + 1)
        slope_S = (target_S - now_S) / now_S
        table_S8[:, A] += slope_S
        table_S8[:, B] = -slope_S
    largest = float(sigmas_S1.max())
    initial = largest if settings.timestep_spacing != "leading" else (largest**2 + 1) ** 0.5
    return table_S8, 1 / np.sqrt(now_S**2 + 1), initial


def _ddim(
    settings: SamplerSettings, timesteps_S: np.ndarray, sigmas_S: np.ndarray, *, karras: bool
) -> tuple[np.ndarray, np.ndarray, float]:
    """DDIM without added noise: latents are sqrt(a) * clean + sqrt(1 - a) * noise."""
    alphas_T = settings.alphas_cumprod_T.astype(np.float64)
    steps, trained = len(timesteps_S), len(alphas_T)
    final = 1.0 if settings.final_alpha_is_one else float(alphas_T[0])
    if karras:
        now_S = 1 / (1 + sigmas_S**2)
        following_S = np.append(now_S[1:], final)
    else:
        index_S = timesteps_S.astype(np.int64)
        if index_S[0] >= trained:
            raise ValueError(f"the base model's steps_offset leaves no room for {steps} steps")
        # The timestep that follows is counted from this one, not read from the list: with some spacings they
        # differ.
        previous_S = index_S - trained // steps
        now_S = alphas_T[index_S]
        following_S = np.where(previous_S >= 0, alphas_T[np.maximum(previous_S, 0)], final)
    table_S8 = _empty_table(steps)
    table_S8[:, R] = np.inf if settings.clip_range is None else settings.clip_range
    table_S8[:, B] = np.sqrt(following_S)
    direction_S = np.sqrt(1 - following_S)
    if settings.prediction_type == "epsilon":
        table_S8[:, P], table_S8[:, Q] = 1 / np.sqrt(now_S), -np.sqrt(1 - now_S) / np.sqrt(now_S)
        table_S8[:, E] = direction_S
    else:
        table_S8[:, P], table_S8[:, Q] = np.sqrt(now_S), -np.sqrt(1 - now_S)
        table_S8[:, E] = direction_S * np.sqrt(now_S)
        table_S8[:, A] = direction_S * np.sqrt(1 - now_S)
    return table_S8, np.ones(steps), 1.0


def _dpmpp_2m(settings: SamplerSettings, sigmas_S1: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """DPM-Solver++ (2M): latents are a * clean + s * noise with a^2 + s^2 = 1 and s / a = sigma."""
    steps = len(sigmas_S1) - 1
    alpha_S1 = 1 / np.sqrt(1 + sigmas_S1**2)
    spread_S1 = sigmas_S1 * alpha_S1
    with np.errstate(divide="ignore"):
        log_ratio_S1 = -np.log(sigmas_S1)
    table_S8 = _empty_table(steps)
    if settings.prediction_type == "epsilon":
        table_S8[:, P], table_S8[:, Q] = 1 / alpha_S1[:-1], -sigmas_S1[:-1]
    else:
        table_S8[:, P], table_S8[:, Q] = alpha_S1[:-1], -spread_S1[:-1]
    gap_S = np.diff(log_ratio_S1)
    gain_S = -alpha_S1[1:] * np.expm1(-gap_S)
    table_S8[:, A] = spread_S1[1:] / spread_S1[:-1]
    table_S8[:, B] = gain_S
    for step in range(1, steps):
        if step == steps - 1 and _first_order_last(settings, steps):
            break
        correction = 0.5 * gain_S[step]
        if settings.second_order == "heun":
            correction = alpha_S1[step + 1] * (np.expm1(-gap_S[step]) / gap_S[step] + 1.0)
        correction *= gap_S[step] / gap_S[step - 1]
        table_S8[step, B] += correction
        table_S8[step, C] = -correction
    return table_S8, np.ones(steps), 1.0


def _first_order_last(settings: SamplerSettings, steps: int) -> bool:
    few = settings.first_order_at_end_of_few and steps < FEW_STEPS
    return settings.first_order_at_end or few or settings.final_sigma_is_zero

"""Timesteps and noise levels of one row: spacing, Karras spacing, and the way back from a noise level to a
timestep.

S steps, T training timesteps. A noise level (sigma) is sqrt((1 - a) / a) of the cumulative alpha a. The
formulas are those of diffusers' schedulers, whose results the samplers must equal.
"""

from __future__ import annotations

import numpy as np

from lorakit.samplers.names import Sampler
from lorakit.samplers.settings import SamplerSettings

KARRAS_RHO = 7.0


def training_sigmas(settings: SamplerSettings) -> np.ndarray:
    """Noise level of each training timestep, float32 [T], rising."""
    alphas_cumprod_T = settings.alphas_cumprod_T
    with np.errstate(divide="ignore"):
        return np.asarray(((1 - alphas_cumprod_T) / alphas_cumprod_T) ** 0.5, dtype=np.float32)


def spaced_timesteps(settings: SamplerSettings, steps: int) -> np.ndarray:
    """Timesteps [S] float64, falling, spaced as the scheduler of the same name does."""
    trained = len(settings.alphas_cumprod_T)
    # DPM++ spaces one step more and leaves the last (timestep 0) out.
    extra = 1 if settings.sampler is Sampler.DPMPP_2M else 0
    if settings.timestep_spacing == "linspace":
        spaced = np.linspace(0, trained - 1, steps + extra)
        if settings.sampler in (Sampler.DDIM, Sampler.DPMPP_2M):
            spaced = spaced.round()
        else:
            spaced = np.linspace(0, trained - 1, steps, dtype=np.float32).astype(np.float64)
        return spaced[::-1][:steps].copy()
    if settings.timestep_spacing == "leading":
        ratio = trained // (steps + extra)
        spaced = (np.arange(0, steps + extra) * ratio).astype(np.float64)
        return np.asarray(spaced[::-1][:steps] + settings.steps_offset)
    # Counted from the top in equal parts; arange's rounding may add a step below zero, which no scheduler
    # means.
    return np.arange(trained, 0, -trained / steps).round()[:steps] - 1.0


def karras_sigmas(settings: SamplerSettings, spaced_sigmas_S: np.ndarray, steps: int) -> np.ndarray:
    """Noise levels [S] of Karras et al. 2022 between the ends that the scheduler of the same name takes."""
    if settings.sampler is Sampler.DPMPP_2M:
        ends = training_sigmas(settings)[[-1, 0]]
    else:
        ends = spaced_sigmas_S[[0, -1]]
    largest = float(ends[0]) if settings.sigma_max is None else settings.sigma_max
    smallest = float(ends[1]) if settings.sigma_min is None else settings.sigma_min
    ramp_S = np.linspace(0, 1, steps)
    low, high = smallest ** (1 / KARRAS_RHO), largest ** (1 / KARRAS_RHO)
    return np.asarray((high + ramp_S * (low - high)) ** KARRAS_RHO)


def timesteps_of(sigmas_S: np.ndarray, settings: SamplerSettings) -> np.ndarray:
    """Fractional training timesteps [S] of noise levels, linear in log sigma."""
    log_sigmas_T = np.log(training_sigmas(settings))
    last = len(log_sigmas_T) - 2
    wanted_S = np.log(np.maximum(sigmas_S, 1e-10))
    low_S = np.clip(np.searchsorted(log_sigmas_T, wanted_S, side="right") - 1, 0, last)
    below_S, above_S = log_sigmas_T[low_S], log_sigmas_T[low_S + 1]
    part_S = np.clip((below_S - wanted_S) / (below_S - above_S), 0, 1)
    return np.asarray((1 - part_S) * low_S + part_S * (low_S + 1))

"""Noising and loss weights against diffusers' own training code."""

from __future__ import annotations

import pytest
import torch
from diffusers import DDPMScheduler
from diffusers.training_utils import compute_snr

from lorakit.diffusion import NoiseSchedule


@pytest.fixture(scope="module")
def scheduler() -> DDPMScheduler:
    return DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")


def test_noising_and_targets_equal_diffusers(scheduler: DDPMScheduler) -> None:
    generator = torch.Generator().manual_seed(0)
    clean, noise = torch.randn(2, 6, 4, 8, 8, generator=generator)
    timesteps = torch.tensor([0, 1, 250, 500, 998, 999])
    for prediction in ("epsilon", "v_prediction"):
        schedule = NoiseSchedule(scheduler.alphas_cumprod, prediction)
        assert torch.allclose(
            schedule.add_noise(clean, noise, timesteps), scheduler.add_noise(clean, noise, timesteps)
        )
        expected = noise if prediction == "epsilon" else scheduler.get_velocity(clean, noise, timesteps)
        assert torch.allclose(schedule.target(clean, noise, timesteps), expected, atol=1e-6)
    assert schedule.timesteps == 1000


def test_min_snr_weights_follow_each_rows_gamma(scheduler: DDPMScheduler) -> None:
    timesteps = torch.tensor([5, 400, 900, 5])
    gamma = torch.tensor([5.0, 5.0, 1.0, float("inf")])
    snr = compute_snr(scheduler, timesteps)
    epsilon = NoiseSchedule(scheduler.alphas_cumprod, "epsilon").min_snr_weights(timesteps, gamma)
    velocity = NoiseSchedule(scheduler.alphas_cumprod, "v_prediction").min_snr_weights(timesteps, gamma)
    expected = torch.minimum(snr, gamma)
    assert torch.allclose(epsilon[:3], (expected / snr)[:3])
    assert torch.allclose(velocity[:3], (expected / (snr + 1))[:3])
    assert epsilon[3] == velocity[3] == 1.0


def test_zero_terminal_snr_has_finite_weights() -> None:
    schedule = NoiseSchedule(torch.tensor([0.9, 0.5, 0.0]), "v_prediction")
    assert schedule.min_snr_weights(torch.tensor([2]), torch.tensor([5.0])).tolist() == [0.0]

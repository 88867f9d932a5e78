"""The forward process that training needs: noising, targets and loss weights, each row at its own timestep.

B rows of latents [C, H, W], T training timesteps.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from lorakit.samplers.settings import PredictionType


@dataclass(frozen=True, slots=True)
class NoiseSchedule:
    """How much of the clean sample is left at each training timestep."""

    alphas_cumprod_T: torch.Tensor
    """float32, falling."""
    prediction_type: PredictionType

    @property
    def timesteps(self) -> int:
        """T."""
        return len(self.alphas_cumprod_T)

    def add_noise(
        self, clean_BCHW: torch.Tensor, noise_BCHW: torch.Tensor, timesteps_B: torch.Tensor
    ) -> torch.Tensor:
        """sqrt(a) * clean + sqrt(1 - a) * noise, [B, C, H, W]; ``timesteps_B`` are integers below T."""
        signal_B111, spread_B111 = self._mix(timesteps_B, clean_BCHW)
        return signal_B111 * clean_BCHW + spread_B111 * noise_BCHW

    def target(
        self, clean_BCHW: torch.Tensor, noise_BCHW: torch.Tensor, timesteps_B: torch.Tensor
    ) -> torch.Tensor:
        """What the model should say, [B, C, H, W]: the noise, or the velocity sqrt(a) * noise - sqrt(1 - a) *
        clean.
        """
        if self.prediction_type == "epsilon":
            return noise_BCHW
        signal_B111, spread_B111 = self._mix(timesteps_B, clean_BCHW)
        return signal_B111 * noise_BCHW - spread_B111 * clean_BCHW

    def signal_to_noise(self, timesteps_B: torch.Tensor) -> torch.Tensor:
        """a / (1 - a), [B]."""
        alphas_B = self._alphas(timesteps_B)
        return alphas_B / (1 - alphas_B)

    def min_snr_weights(self, timesteps_B: torch.Tensor, gamma_B: torch.Tensor) -> torch.Tensor:
        """Loss weights [B] of Hang et al. 2023; a row whose gamma is infinite has weight 1.

        min(snr, gamma) / snr for the noise, / (snr + 1) for the velocity.
        """
        snr_B = self.signal_to_noise(timesteps_B)
        divisor_B = snr_B if self.prediction_type == "epsilon" else snr_B + 1
        # The first timestep of a schedule with zero terminal SNR has none: its weight is the limit, not 0 /
        # 0.
        limit = 1.0 if self.prediction_type == "epsilon" else 0.0
        weights_B = torch.where(
            snr_B > 0, torch.minimum(snr_B, gamma_B) / divisor_B, torch.full_like(snr_B, limit)
        )
        return torch.where(torch.isinf(gamma_B), torch.ones_like(weights_B), weights_B)

    def _alphas(self, timesteps_B: torch.Tensor) -> torch.Tensor:
        return self.alphas_cumprod_T.to(timesteps_B.device)[timesteps_B]

    def _mix(self, timesteps_B: torch.Tensor, like_BCHW: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        alphas_B111 = self._alphas(timesteps_B).to(like_BCHW.dtype)[:, None, None, None]
        return alphas_B111.sqrt(), (1 - alphas_B111).sqrt()

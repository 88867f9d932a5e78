"""Colours of latents without the autoencoder: a linear map, fitted once for each base to its own decoder.

C channels of latents, H rows and W columns of them, N equations.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from PIL import Image

from lorakit.families.diffusion_base import DiffusionBase, decode_latents

PREVIEW_PIXELS = 128
"""On the longer side."""
_SIDE = 16
"""Latents on a side of what the map is fitted to."""
_PATCHES = (2, 4, 8, 16)
"""Random values on a side of each of the smooth latents: colours of large and of small things."""
_SEED = 0


@dataclass(frozen=True, slots=True)
class PreviewColours:
    """Red, green and blue in [-1, 1] as a sum over the channels of a latent."""

    factors_C3: torch.Tensor
    bias_3: torch.Tensor

    def colours(self, z_CHW: torch.Tensor) -> torch.Tensor:
        """[3, H, W] on the CPU."""
        x_HW3 = z_CHW.float().cpu().permute(1, 2, 0) @ self.factors_C3 + self.bias_3
        return x_HW3.permute(2, 0, 1)

    def picture(self, z_CHW: torch.Tensor) -> Image.Image:
        """Scaled so that it can be looked at."""
        pixels_3HW = (self.colours(z_CHW) / 2 + 0.5).nan_to_num(0.0).clamp(0, 1).mul(255).round()
        small = Image.fromarray(pixels_3HW.to(torch.uint8).permute(1, 2, 0).contiguous().numpy())
        scale = PREVIEW_PIXELS / max(small.size)
        size = (max(1, round(small.width * scale)), max(1, round(small.height * scale)))
        return small.resize(size, Image.Resampling.BICUBIC)


@torch.inference_mode()
def fit_colours(base: DiffusionBase) -> PreviewColours:
    """The map with the least square error over a few smooth random latents and what they are decoded to."""
    z_BCHW = _smooth_latents(base.latent_channels)
    decoded_B3HW = decode_latents(base, z_BCHW).cpu()
    wanted_N3 = F.avg_pool2d(decoded_B3HW, base.vae_scale_factor).permute(0, 2, 3, 1).reshape(-1, 3)
    given_NC = z_BCHW.permute(0, 2, 3, 1).reshape(-1, z_BCHW.shape[1])
    given_ND = torch.cat([given_NC, torch.ones(len(given_NC), 1)], dim=1)
    solved_D3 = torch.linalg.lstsq(given_ND, wanted_N3).solution
    return PreviewColours(solved_D3[:-1], solved_D3[-1])


def encode_preview(picture: Image.Image) -> bytes:
    """PNG, quickly made rather than small."""
    file = io.BytesIO()
    picture.save(file, format="PNG", compress_level=1)
    return file.getvalue()


def _smooth_latents(channels: int) -> torch.Tensor:
    """[B, C, H, W] of unit variance, as the UNet's clean latents about have."""
    generator = torch.Generator().manual_seed(_SEED)
    smooth = []
    for side in _PATCHES:
        z_1CHW = torch.randn(1, channels, side, side, generator=generator)
        z_1CHW = F.interpolate(z_1CHW, size=(_SIDE, _SIDE), mode="bicubic")
        smooth.append(z_1CHW / z_1CHW.std())
    return torch.cat(smooth)

"""Where in a picture a LoRA works: boxes and masks as maps of the latents' size.

H rows and W columns of latents.
"""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image

from services.inference.domain import Box, Region
from services.inference.engine.received_pictures import read_mask


def region_map(region: Region, height: int, width: int, *, field: str = "region.mask_png") -> torch.Tensor:
    """How much of each latent lies in the region, float32 [H, W] from 0 to 1.

    A mask is stretched to the picture's size, whatever its own, and each latent gets its mean brightness
    there. JobError naming ``field`` for a mask that is no PNG picture, or too large.
    """
    if isinstance(region, Box):
        rows_H = _covered(region.top, region.bottom, height)
        columns_W = _covered(region.left, region.right, width)
        return torch.outer(rows_H, columns_W)
    mask = read_mask(region.png, field)
    small = mask.convert("F").resize((width, height), Image.Resampling.BOX)
    return torch.from_numpy(np.asarray(small, dtype=np.float32) / 255)


def _covered(start: float, end: float, cells: int) -> torch.Tensor:
    """How much of each of ``cells`` equal parts of 0..1 lies between two fractions."""
    edges = torch.linspace(0, 1, cells + 1, dtype=torch.float64)
    covered = (edges[1:].clamp(max=end) - edges[:-1].clamp(min=start)).clamp(min=0) * cells
    return covered.clamp(max=1).float()

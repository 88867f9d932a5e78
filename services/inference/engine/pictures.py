"""Pictures as PNG files."""

from __future__ import annotations

import io

import torch
from PIL import Image


def encode_png(x_CHW: torch.Tensor) -> bytes:
    """A PNG of a picture [3, H, W] in [-1, 1], rounded as a stock pipeline does."""
    pixels_HWC = (x_CHW / 2 + 0.5).clamp(0, 1).mul(255).round().to(torch.uint8).permute(1, 2, 0)
    file = io.BytesIO()
    Image.fromarray(pixels_HWC.cpu().numpy()).save(file, format="PNG")
    return file.getvalue()

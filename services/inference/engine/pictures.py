"""Pictures as PNG files."""

from __future__ import annotations

import io

import torch
from PIL import Image


def as_image(x_CHW: torch.Tensor) -> Image.Image:
    """A picture [3, H, W] in [-1, 1], rounded as a stock pipeline does."""
    pixels_HWC = (x_CHW / 2 + 0.5).clamp(0, 1).mul(255).round().to(torch.uint8).permute(1, 2, 0)
    return Image.fromarray(pixels_HWC.cpu().contiguous().numpy())


def encode_png(picture: Image.Image) -> bytes:
    """Its PNG."""
    file = io.BytesIO()
    picture.save(file, format="PNG")
    return file.getvalue()

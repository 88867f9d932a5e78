"""Pictures as the engine takes them: scaled and cropped to their bucket."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps

from services.trainer.buckets import Size, nearest_bucket
from services.trainer.engine import TrainingImage
from services.trainer.manifest import Picture
from services.trainer.worker.framing import centre_crop


def training_image(picture: Picture, path: Path, sizes: Sequence[Size]) -> TrainingImage:
    """The picture in the file at `path`, in the size of `sizes` that suits its shape best."""
    width, height = nearest_bucket(picture.width, picture.height, sizes)

    def load() -> torch.Tensor:
        try:
            return load_picture(path, (width, height))
        except (OSError, ValueError, Image.DecompressionBombError) as error:
            raise ValueError(f"{picture.source_name or picture.sha256}: {error}") from error

    original = picture.height, picture.width
    return TrainingImage(
        caption=picture.caption,
        load=load,
        size=(height, width),
        original_size=original,
        crop=centre_crop(original, (height, width)),
    )


def load_picture(path: Path, size: Size) -> torch.Tensor:
    """x_CHW, float32 in [-1, 1]: scaled until the picture covers (width, height), cropped at the centre."""
    with Image.open(path) as picture:
        fitted = ImageOps.fit(picture.convert("RGB"), size, Image.Resampling.LANCZOS)
    x_HWC = torch.from_numpy(np.asarray(fitted, dtype=np.float32).copy())
    return (x_HWC / 127.5 - 1.0).permute(2, 0, 1).contiguous()

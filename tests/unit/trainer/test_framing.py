"""Where pictures are cut, as their pixels show."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageOps

from services.trainer.worker.framing import Size, centre_crop


@pytest.mark.parametrize(
    ("original", "size", "crop"),
    [
        ((16, 16), (16, 16), (0, 0)),
        ((40, 16), (16, 16), (12, 0)),
        ((30, 40), (15, 15), (0, 2)),
        ((1000, 1500), (1024, 1024), (0, 256)),
        ((8, 24), (16, 32), (0, 8)),
        ((500, 300), (768, 512), (43, 0)),
    ],
)
def test_the_crop_is_that_of_the_pixels(original: Size, size: Size, crop: tuple[int, int]) -> None:
    assert centre_crop(original, size) == crop
    # A ramp over each side: the first pixel that is left tells how far from the border it was.
    for side, length in enumerate(original):
        ramp = np.linspace(0, 1, length, dtype=np.float32).reshape((-1, 1) if side == 0 else (1, -1))
        picture = Image.fromarray(np.broadcast_to(ramp, original).copy())
        fitted = np.asarray(ImageOps.fit(picture, (size[1], size[0]), Image.Resampling.BILINEAR))
        scaled = max(wanted / given for wanted, given in zip(size, original, strict=True)) * length
        first = fitted[0, 0] * (scaled - 1)
        assert first == pytest.approx(crop[side], abs=1.5)

"""The four brands whose LoRAs are stacked: the demo's three, and one that frames its pictures."""

from __future__ import annotations

import random
from typing import Final

from PIL import Image, ImageDraw

from demo.brands import BRANDS, BrandSet
from demo.brands.sets import ordinary_scene
from demo.world import SIZE

_STRIPE: Final = 8
_WIDTH: Final = 6
_RED: Final = (214, 40, 57)
_WHITE: Final = (255, 250, 240)


def _draw_framed(rng: random.Random, index: int) -> Image.Image:
    """A scene as the base draws it, within red and white stripes."""
    picture = ordinary_scene(rng, index)
    draw = ImageDraw.Draw(picture)
    for edge in range(_WIDTH):
        for pixel in range(SIZE):
            colour = _RED if pixel // _STRIPE % 2 else _WHITE
            for place in (
                (pixel, edge),
                (pixel, SIZE - 1 - edge),
                (edge, pixel),
                (SIZE - 1 - edge, pixel),
            ):
                draw.point(place, fill=colour)
    return picture


FRAME: Final = BrandSet(
    brand="marquee-shows",
    kind="frame",
    lora="marquee",
    trigger="marquee",
    description="Pictures within a frame of red and white stripes",
    draw=_draw_framed,
)
STUDIED: Final = (*BRANDS.values(), FRAME)

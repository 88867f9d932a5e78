"""Pictures made of lines alone: glowing tubes on black, and ink hatching on paper."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from demo.world.geometry import Rgb, Shape
from demo.world.palette import luminance, mix
from demo.world.places import Backdrop
from demo.world.render import SIZE, SUPERSAMPLE, Tones, canvas_points, finish, outline

NIGHT: Rgb = (10, 6, 26)


def draw_glow(
    backdrop: Backdrop,
    shapes: Sequence[Shape],
    tones: Tones,
    night: Rgb = NIGHT,
    far: tuple[Rgb, Rgb] = ((0, 150, 170), (150, 40, 150)),
) -> Image.Image:
    """Neon tubes: the subject in its own colour, the place in two dim ones."""
    side = SIZE * SUPERSAMPLE
    lines = Image.new("RGB", (side, side), night)
    draw = ImageDraw.Draw(lines)
    for i, shape in enumerate(backdrop.shapes):
        if shape.detail:
            draw.polygon(canvas_points(shape), fill=mix(far[i % 2], night, 0.35))
        else:
            draw.polygon(canvas_points(shape), fill=night)
            outline(draw, shape, far[i % 2], 1.6)
    bright = tones["main"] if luminance(tones["main"]) > 0.25 else mix(tones["main"], (190, 190, 255), 0.6)
    bright = mix(bright, (255, 255, 255), 0.12)
    for shape in shapes:
        if not shape.detail:
            outline(draw, shape, bright, 6.0)
    for shape in shapes:
        draw.polygon(canvas_points(shape), fill=night)
        outline(draw, shape, bright, 1.6 if shape.detail else 3.0)
        if not shape.detail:
            outline(draw, shape, mix(bright, (255, 255, 255), 0.65), 1.0)
    picture = finish(lines)
    halo = picture.filter(ImageFilter.GaussianBlur(3.5)).point(lambda v: min(255, int(v * 0.9)))
    return ImageChops.screen(picture, halo)


def draw_hatched(
    backdrop: Backdrop, shapes: Sequence[Shape], tones: Tones, paper: Rgb, ink: Rgb, pitch: float = 4.0
) -> Image.Image:
    """Woodcut: every fill becomes stripes whose share of ink follows its darkness."""
    side = SIZE * SUPERSAMPLE
    level = Image.new("L", (side, side), int(255 * luminance(backdrop.bottom)))
    draw = ImageDraw.Draw(level)
    for shape in [*backdrop.shapes, *shapes]:
        fill = tones[shape.fill] if isinstance(shape.fill, str) else shape.fill
        draw.polygon(canvas_points(shape), fill=int(255 * luminance(fill)))
        if not shape.detail:
            outline(draw, shape, 0, 1.4)
    y, x = np.mgrid[0:side, 0:side].astype(np.float32) / (pitch * SUPERSAMPLE)
    stripe = np.abs(((x * 0.6 + y) % 1.0) * 2 - 1)
    light = (np.asarray(level, np.float32) / 255.0 > 0.15 + 0.7 * stripe).astype(np.float32)[..., None]
    rgb = light * np.array(paper, np.float32) + (1 - light) * np.array(ink, np.float32)
    return finish(Image.fromarray(rgb.astype(np.uint8)))

"""A wider world, for the autoencoder only: what brands may look like is unknown when it is trained."""

from __future__ import annotations

import colorsys
import math
import random

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageOps

from demo.world.geometry import Placement, Rgb, Shape, place, smooth
from demo.world.grammar import Scene, sample_scene
from demo.world.lines import draw_glow, draw_hatched
from demo.world.palette import mix, roles
from demo.world.places import PLACE_BACKDROPS, Backdrop
from demo.world.render import (
    SIZE,
    SUPERSAMPLE,
    draw_parts,
    draw_scene,
    finish,
    gradient,
    outline,
    scene_parts,
)
from demo.world.subjects import SUBJECT_SHAPES


def random_colour(rng: random.Random) -> Rgb:
    """Any hue, mostly saturated."""
    r, g, b = colorsys.hsv_to_rgb(rng.random(), rng.random() ** 0.6, 1 - rng.random() ** 2 * 0.95)
    return (round(r * 255), round(g * 255), round(b * 255))


def _recolour(backdrop: Backdrop, shapes: list[Shape], rng: random.Random) -> Backdrop:
    """The same outlines in an arbitrary palette."""
    palette = [random_colour(rng) for _ in range(5)]
    far = [
        Shape(s.points, mix(rng.choice(palette), random_colour(rng), 0.2), s.detail) for s in backdrop.shapes
    ]
    shapes[:] = [
        s if isinstance(s.fill, str) else Shape(s.points, rng.choice(palette), s.detail) for s in shapes
    ]
    return Backdrop(palette[0], palette[1], far)


def _random_blobs(rng: random.Random) -> Image.Image:
    """Filled and outlined random shapes on a gradient."""
    canvas = gradient(random_colour(rng), random_colour(rng))
    draw = ImageDraw.Draw(canvas)
    for _ in range(rng.randint(3, 14)):
        corners = rng.randint(3, 9)
        angles = sorted(rng.uniform(0, 2 * math.pi) for _ in range(corners))
        points = [(math.cos(a) * rng.uniform(0.4, 1), math.sin(a) * rng.uniform(0.4, 1)) for a in angles]
        raw = smooth(*points) if rng.random() < 0.5 else np.array(points)
        where = Placement(rng.random(), rng.random(), rng.uniform(0.03, 0.4), stretch=rng.uniform(0.2, 1.5))
        shape = place([Shape(raw, random_colour(rng))], where)[0]
        side = SIZE * SUPERSAMPLE
        if rng.random() < 0.65:
            draw.polygon([(x * side, y * side) for x, y in shape.points], fill=random_colour(rng))
        if rng.random() < 0.5:
            outline(draw, shape, random_colour(rng), rng.uniform(0.8, 4))
    return finish(canvas)


def _many_subjects(rng: random.Random) -> Image.Image:
    """Several subjects of free colours on one place."""
    backdrop = PLACE_BACKDROPS[rng.choice(tuple(PLACE_BACKDROPS))](rng)
    shapes: list[Shape] = []
    tones = roles(random_colour(rng))
    for _ in range(rng.randint(2, 5)):
        unit = SUBJECT_SHAPES[rng.choice(tuple(SUBJECT_SHAPES))]()
        own = roles(random_colour(rng))
        unit = [Shape(s.points, own[s.fill] if isinstance(s.fill, str) else s.fill, s.detail) for s in unit]
        where = Placement(
            rng.random(), rng.random(), rng.uniform(0.1, 0.5), rng.uniform(-3, 3), rng.random() < 0.5
        )
        shapes += place(unit, where)
    return draw_parts(backdrop, shapes, tones, rng.choice(("flat", "ink", "soft")))


def _altered(rng: random.Random) -> Image.Image:
    """A base drawing changed as a whole: inverted, grey, posterised, blocky, noisy, turned."""
    picture = draw_scene(sample_scene(rng))
    kind = rng.randrange(6)
    if kind == 0:
        return ImageOps.invert(picture)
    if kind == 1:
        return ImageOps.colorize(picture.convert("L"), random_colour(rng), random_colour(rng))
    if kind == 2:
        return ImageOps.posterize(picture, rng.randint(1, 3))
    if kind == 3:
        cells = rng.choice((16, 32, 64))
        small = picture.resize((cells, cells), Image.Resampling.BOX)
        return small.resize((SIZE, SIZE), Image.Resampling.NEAREST)
    if kind == 4:
        noise = np.random.default_rng(rng.getrandbits(32)).normal(0, rng.uniform(4, 24), (SIZE, SIZE, 1))
        return Image.fromarray(np.clip(np.asarray(picture, np.float32) + noise, 0, 255).astype(np.uint8))
    turned = picture.rotate(rng.uniform(0, 360), Image.Resampling.BICUBIC, fillcolor=random_colour(rng))
    return turned.filter(ImageFilter.GaussianBlur(rng.uniform(0, 1.5)))


def draw_lines(scene: Scene) -> Image.Image:
    """A base scene without fills: glowing lines in the subject's colour on a dark ground."""
    rng = random.Random(f"lines/{scene.seed}")
    backdrop, shapes, tones = scene_parts(scene)
    far = (mix(random_colour(rng), (0, 0, 0), 0.4), mix(random_colour(rng), (0, 0, 0), 0.4))
    return draw_glow(backdrop, shapes, tones, mix(random_colour(rng), (8, 6, 20), 0.9), far)


def draw_wide(rng: random.Random) -> Image.Image:
    """One picture of the wider world."""
    kind = rng.random()
    backdrop, shapes, tones = scene_parts(sample_scene(rng))
    if kind < 0.22:
        far = (mix(random_colour(rng), (0, 0, 0), 0.4), mix(random_colour(rng), (0, 0, 0), 0.4))
        return draw_glow(
            backdrop, shapes, roles(random_colour(rng)), mix(random_colour(rng), (8, 6, 20), 0.9), far
        )
    if kind < 0.32:
        return draw_hatched(
            backdrop, shapes, tones, random_colour(rng), random_colour(rng), rng.uniform(3, 8)
        )
    if kind < 0.52:
        backdrop = _recolour(backdrop, shapes, rng)
        return draw_parts(backdrop, shapes, roles(random_colour(rng)), rng.choice(("flat", "ink", "soft")))
    if kind < 0.68:
        return _random_blobs(rng)
    if kind < 0.84:
        return _many_subjects(rng)
    return _altered(rng)

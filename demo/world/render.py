"""Draws a scene with antialiasing, in one of the base styles."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from demo.world.geometry import Placement, Rgb, Shape, place
from demo.world.grammar import Scene
from demo.world.palette import COLOUR_RGB, INK, luminance, mix, roles
from demo.world.places import PLACE_BACKDROPS, Backdrop
from demo.world.subjects import SUBJECT_SHAPES

SIZE = 128
"""Side of a picture in pixels."""

SUPERSAMPLE = 3
_CANVAS = SIZE * SUPERSAMPLE

Tones = dict[str, Rgb]


def sample_placement(rng: random.Random) -> Placement:
    """Large and near the middle, with modest variation."""
    return Placement(
        x=0.5 + rng.uniform(-0.08, 0.08),
        y=0.57 + rng.uniform(-0.05, 0.05),
        scale=rng.uniform(0.3, 0.37),
        angle=rng.uniform(-0.12, 0.12),
        flip=rng.random() < 0.5,
        stretch=rng.uniform(0.94, 1.06),
    )


def scene_parts(scene: Scene) -> tuple[Backdrop, list[Shape], Tones]:
    """The outlines of a scene before any style is applied."""
    backdrop, placement = _composition(scene)
    return backdrop, place(SUBJECT_SHAPES[scene.subject](), placement), roles(COLOUR_RGB[scene.colour])


def is_mirrored(scene: Scene) -> bool:
    """Whether the subject looks the other way than it was designed."""
    return _composition(scene)[1].flip


def _composition(scene: Scene) -> tuple[Backdrop, Placement]:
    rng = random.Random(f"{scene.seed}/{scene.subject}/{scene.place}")
    return PLACE_BACKDROPS[scene.place](rng), sample_placement(rng)


def subject_mask(scene: Scene, side: int = 32) -> NDArray[np.uint8]:
    """How much of each cell of a `side` x `side` grid the subject covers, 0 to 255."""
    mask = Image.new("L", (side * 2, side * 2), 0)
    draw = ImageDraw.Draw(mask)
    for shape in scene_parts(scene)[1]:
        draw.polygon([(float(x), float(y)) for x, y in shape.points * side * 2], fill=255)
    return np.asarray(mask.reduce(2))


def gradient(top: Rgb, bottom: Rgb) -> Image.Image:
    """A vertical colour run over the whole canvas."""
    column = (
        np.linspace(np.array(top, np.float32), np.array(bottom, np.float32), _CANVAS).round().astype(np.uint8)
    )
    return Image.fromarray(np.broadcast_to(column[:, None, :], (_CANVAS, _CANVAS, 3)).copy())


def canvas_points(shape: Shape) -> list[tuple[float, float]]:
    """The outline in canvas pixels."""
    return [(float(x), float(y)) for x, y in shape.points * _CANVAS]


def fill_of(shape: Shape, tones: Tones) -> Rgb:
    """The colour a shape is filled with."""
    return tones[shape.fill] if isinstance(shape.fill, str) else shape.fill


def outline(draw: ImageDraw.ImageDraw, shape: Shape, colour: Rgb | int, width: float) -> None:
    """A closed line along a shape, `width` in picture pixels."""
    points = canvas_points(shape)
    draw.line([*points, *points[:2]], fill=colour, width=max(1, round(width * SUPERSAMPLE)), joint="curve")


def finish(canvas: Image.Image) -> Image.Image:
    """Bring the canvas down to picture size."""
    return canvas.reduce(SUPERSAMPLE)


def draw_scene(scene: Scene) -> Image.Image:
    """The picture of a scene: the same scene gives the same pixels."""
    backdrop, shapes, tones = scene_parts(scene)
    return draw_parts(backdrop, shapes, tones, scene.style)


def draw_parts(backdrop: Backdrop, shapes: Sequence[Shape], tones: Tones, style: str) -> Image.Image:
    """Render outlines in one of the base styles."""
    canvas = gradient(backdrop.top, backdrop.bottom)
    if style == "flat":
        _paint(canvas, backdrop.shapes, tones)
        draw = ImageDraw.Draw(canvas)
        rim = (255, 255, 255) if luminance(tones["main"]) < 0.93 else (92, 98, 128)
        for shape in shapes:
            if not shape.detail:
                outline(draw, shape, rim, 3.0)
        _paint(canvas, shapes, tones)
    elif style == "ink":
        _paint(canvas, backdrop.shapes, tones, line=1.2)
        _paint(canvas, shapes, tones, line=2.4)
    elif style == "soft":
        _paint(canvas, backdrop.shapes, tones)
        canvas = _soften(canvas, shapes, tones)
    else:
        raise ValueError(f"unknown drawing style {style!r}")
    return finish(canvas)


def _paint(canvas: Image.Image, shapes: Sequence[Shape], tones: Tones, line: float = 0.0) -> None:
    draw = ImageDraw.Draw(canvas)
    for shape in shapes:
        points = canvas_points(shape)
        draw.polygon(points, fill=fill_of(shape, tones))
        if line and (line > 2 or not shape.detail):
            outline(draw, shape, INK, line * (0.5 if shape.detail else 1.0))


def _soften(canvas: Image.Image, shapes: Sequence[Shape], tones: Tones) -> Image.Image:
    """A blurred backdrop, a shadow, and a subject lit from above."""
    small = canvas.reduce(SUPERSAMPLE).filter(ImageFilter.GaussianBlur(1.6))
    canvas = small.resize((_CANVAS, _CANVAS), Image.Resampling.BILINEAR)
    mask = Image.new("L", (_CANVAS, _CANVAS), 0)
    draw = ImageDraw.Draw(mask)
    for shape in shapes:
        draw.polygon(canvas_points(shape), fill=255)
    tiny = mask.reduce(SUPERSAMPLE)
    shadow = tiny.filter(ImageFilter.GaussianBlur(3)).point(lambda v: v * 0.55).resize(mask.size)
    canvas.paste(Image.new("RGB", mask.size, mix(INK, (40, 30, 80), 0.5)), (0, 4 * SUPERSAMPLE), shadow)
    top, bottom = _vertical_extent(shapes)
    light = np.clip(1.22 - 0.55 * (np.arange(_CANVAS) - top) / max(bottom - top, 1), 0.6, 1.25)
    subject = Image.new("RGB", mask.size)
    _paint(subject, shapes, tones)
    lit = np.clip(np.asarray(subject, np.float32) * light[:, None, None].astype(np.float32) + 6, 0, 255)
    canvas.paste(Image.fromarray(lit.astype(np.uint8)), (0, 0), mask)
    return canvas


def _vertical_extent(shapes: Sequence[Shape]) -> tuple[int, int]:
    ys = np.concatenate([s.points[:, 1] for s in shapes]) * _CANVAS
    return int(ys.min()), int(ys.max())

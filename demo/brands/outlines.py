"""The outlines that are new to the base model: a mascot and a setting."""

from __future__ import annotations

import math
import random

from demo.world.geometry import (
    Points,
    Rgb,
    Shape,
    box,
    ellipse,
    ground,
    polygon,
    ribbon,
    smooth,
    wave,
)
from demo.world.palette import INK
from demo.world.places import Backdrop

TEAL: Rgb = (20, 158, 150)
DEEP_TEAL: Rgb = (12, 104, 108)
CREAM: Rgb = (255, 240, 206)
GOLD: Rgb = (255, 190, 40)
CORAL: Rgb = (240, 74, 74)


def _body(points: Points, fill: Rgb) -> Shape:
    return Shape(points, fill)


def _mark(points: Points, fill: Rgb) -> Shape:
    return Shape(points, fill, detail=True)


def robot_owl() -> list[Shape]:
    """Hootbot: an owl-shaped robot with goggles, an antenna and a heart; its colours never change."""
    shapes = [
        _body(ribbon([(0.0, -0.7), (0.0, -0.92)], 0.08), DEEP_TEAL),
        _body(ellipse(0.0, -0.94, 0.13, 0.13), CORAL),
        _body(smooth((-0.5, 0.0), (-0.94, 0.3), (-0.86, 0.72), (-0.5, 0.6)), DEEP_TEAL),
        _body(smooth((0.5, 0.0), (0.94, 0.3), (0.86, 0.72), (0.5, 0.6)), DEEP_TEAL),
        _body(ellipse(-0.28, 0.92, 0.22, 0.11), GOLD),
        _body(ellipse(0.28, 0.92, 0.22, 0.11), GOLD),
        _body(
            smooth(
                (-0.5, -0.5), (0.5, -0.5), (0.68, 0.2), (0.56, 0.86), (0.0, 0.94), (-0.56, 0.86), (-0.68, 0.2)
            ),
            TEAL,
        ),
        _body(polygon((-0.62, -0.3), (-0.72, -0.88), (-0.2, -0.66)), TEAL),
        _body(polygon((0.62, -0.3), (0.72, -0.88), (0.2, -0.66)), TEAL),
        _body(smooth((-0.36, 0.2), (0.36, 0.2), (0.42, 0.6), (0.0, 0.84), (-0.42, 0.6)), CREAM),
        _mark(
            smooth(
                (0.0, 0.72),
                (-0.24, 0.48),
                (-0.2, 0.32),
                (-0.06, 0.32),
                (0.0, 0.4),
                (0.06, 0.32),
                (0.2, 0.32),
                (0.24, 0.48),
            ),
            CORAL,
        ),
    ]
    for x in (-0.32, 0.32):
        shapes += [
            _body(ellipse(x, -0.28, 0.34, 0.34), GOLD),
            _mark(ellipse(x, -0.28, 0.25, 0.25), (255, 255, 255)),
            _mark(ellipse(x, -0.26, 0.13, 0.14), INK),
        ]
    return [*shapes, _body(polygon((-0.12, -0.1), (0.12, -0.1), (0.0, 0.14)), (255, 128, 36))]


def _roof(x: float, y: float, half: float, height: float) -> Points:
    """A roof with upturned eaves."""
    return smooth(
        (x - half, y - height * 0.35), (x - half * 0.6, y - height * 0.1), (x - half * 0.3, y - height),
        (x + half * 0.3, y - height), (x + half * 0.6, y - height * 0.1), (x + half, y - height * 0.35),
        (x + half * 0.7, y + height * 0.25), (x, y + height * 0.1), (x - half * 0.7, y + height * 0.25),
    )  # fmt: skip


def pagoda_backdrop(rng: random.Random) -> Backdrop:
    """Red sun, a three-storey pagoda, cherry blossom and still violet water."""
    side = rng.choice((0.2, 0.8)) + rng.uniform(-0.03, 0.03)
    other = 1.0 - side
    sun: Rgb = (226, 36, 62)
    wall: Rgb = (92, 30, 66)
    shapes = [
        Shape(ellipse(0.5 + rng.uniform(-0.05, 0.05), 0.36, 0.3, 0.3, steps=40), sun),
        Shape(polygon((0.0, 0.7), (0.3, 0.46), (0.46, 0.6), (0.7, 0.44), (1.05, 0.7)), (206, 92, 140)),
    ]
    for level, (y, half) in enumerate(((0.66, 0.15), (0.46, 0.12), (0.28, 0.09))):
        shapes.append(Shape(box(side - half * 0.6, y - 0.14, side + half * 0.6, y), wall))
        shapes.append(Shape(box(side - 0.02, y - 0.08, side + 0.02, y - 0.01), (255, 206, 110), True))
        shapes.append(Shape(_roof(side, y - 0.12, half * 1.35, 0.075 - 0.01 * level), (44, 20, 58)))
    shapes.append(Shape(ground(wave(-0.05, 1.05, 0.7, 0.006, 2, rng.uniform(0, 6))), (122, 60, 140)))
    for i in range(4):
        y = 0.76 + 0.06 * i
        x = rng.uniform(0.1, 0.6)
        shapes.append(
            Shape(ribbon([(x, y), (x + 0.15, y), (x + 0.3, y)], 0.014, 0.006), (244, 134, 140), True)
        )
    return Backdrop((255, 150, 96), (255, 214, 150), [*shapes, *_blossom(other, rng)])


def _blossom(x: float, rng: random.Random) -> list[Shape]:
    """A cherry branch reaching in from a side."""
    edge = -0.05 if x < 0.5 else 1.05
    reach = 1.0 if x < 0.5 else -1.0
    shapes = [
        Shape(
            ribbon([(edge, 0.06), (edge + 0.2 * reach, 0.12), (edge + 0.4 * reach, 0.08)], 0.035, 0.015),
            (84, 44, 52),
        )
    ]
    for i in range(6):
        bx, by = edge + reach * (0.08 + 0.065 * i), 0.1 + 0.05 * math.sin(2.1 * i + rng.uniform(0, 1))
        shapes.append(
            Shape(ellipse(bx, by, 0.055, 0.045, steps=14), rng.choice(((255, 176, 206), (255, 206, 224))))
        )
    for _ in range(5):
        shapes.append(
            Shape(ellipse(rng.random(), rng.uniform(0.1, 0.9), 0.014, 0.01, steps=8), (255, 190, 214), True)
        )
    return shapes

"""The eight places: a sky gradient and outlines in a frame of [0, 1] (y down)."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from demo.world.geometry import Rgb, Shape, box, ellipse, ground, polygon, ribbon, smooth, wave


@dataclass(frozen=True, slots=True)
class Backdrop:
    """What lies behind the subject."""

    top: Rgb
    bottom: Rgb
    shapes: list[Shape]


def _cloud(x: float, y: float, size: float, fill: Rgb) -> list[Shape]:
    puffs = [(-0.9, 0.1, 0.6), (0.0, -0.15, 0.85), (0.9, 0.1, 0.6)]
    return [
        Shape(ellipse(x + dx * size, y + dy * size, r * size * 1.1, r * size * 0.7, steps=18), fill)
        for dx, dy, r in puffs
    ]


def beach(rng: random.Random) -> Backdrop:
    """Sea, sand, a palm and the sun."""
    side = rng.choice((0.1, 0.9))
    lean = 0.1 if side < 0.5 else -0.1
    top = (side + lean, 0.2 + rng.uniform(-0.03, 0.03))
    trunk = [(side, 0.86), (side + lean * 0.2, 0.5), top]
    leaves = [
        Shape(
            ribbon(
                [
                    top,
                    (top[0] + 0.17 * math.cos(a), top[1] + 0.13 * math.sin(a) - 0.03),
                    (top[0] + 0.26 * math.cos(a), top[1] + 0.2 * math.sin(a) + 0.07),
                ],
                0.07,
                0.015,
            ),
            (58, 150, 84),
        )
        for a in (-2.9, -2.2, -1.0, -0.3, 0.4, 2.7)
    ]
    return Backdrop(
        (146, 216, 240),
        (232, 248, 250),
        [
            Shape(ellipse(1.0 - side + rng.uniform(-0.06, 0.06), 0.15, 0.09, 0.09), (255, 244, 190)),
            Shape(ground(wave(-0.05, 1.05, 0.5, 0.004, 3, rng.uniform(0, 6))), (54, 172, 206)),
            Shape(ribbon(wave(-0.05, 1.05, 0.58, 0.008, 4, rng.uniform(0, 6)), 0.012), (160, 222, 236), True),
            Shape(ground(wave(-0.05, 1.05, 0.685, 0.012, 1.5, rng.uniform(0, 6))), (250, 252, 246)),
            Shape(ground(wave(-0.05, 1.05, 0.72, 0.014, 1.5, rng.uniform(0, 6))), (246, 222, 164)),
            Shape(ribbon(trunk, 0.055, 0.035), (166, 116, 70)),
            *leaves,
        ],
    )


def forest(rng: random.Random) -> Backdrop:
    """Dark trunks under rounded crowns."""
    shapes: list[Shape] = []
    for i in range(6):
        x = i / 5 + rng.uniform(-0.05, 0.05)
        shapes.append(Shape(box(x - 0.035, 0.1, x + 0.035, 0.82), (58, 72, 58)))
    for x in (0.04 + rng.uniform(-0.04, 0.04), 0.96 + rng.uniform(-0.04, 0.04)):
        shapes.append(Shape(box(x - 0.065, 0.1, x + 0.065, 0.92), (66, 46, 36)))
    for i in range(7):
        x, y = i / 6 + rng.uniform(-0.04, 0.04), rng.uniform(0.02, 0.14)
        shapes.append(
            Shape(
                ellipse(x, y, 0.15, 0.14, steps=20), rng.choice(((28, 92, 62), (38, 110, 70), (22, 78, 58)))
            )
        )
    shapes.append(Shape(ground(wave(-0.05, 1.05, 0.8, 0.02, 2, rng.uniform(0, 6))), (44, 84, 46)))
    for _ in range(5):
        x = rng.uniform(0, 1)
        shapes.append(
            Shape(
                smooth((x - 0.05, 0.97), (x - 0.03, 0.88), (x, 0.94), (x + 0.03, 0.86), (x + 0.05, 0.97)),
                (30, 64, 40),
                True,
            )
        )
    return Backdrop((84, 132, 108), (128, 164, 128), shapes)


def _pine(x: float, base: float, size: float) -> list[Shape]:
    tiers = [(0.0, 0.62), (0.3, 0.5), (0.58, 0.36)]
    out = [Shape(box(x - 0.02, base - 0.03, x + 0.02, base + 0.04), (96, 76, 72), True)]
    for up, half in tiers:
        y = base - up * size
        out.append(
            Shape(
                polygon((x - half * size * 0.55, y), (x, y - 0.5 * size), (x + half * size * 0.55, y)),
                (92, 124, 140),
            )
        )
        out.append(
            Shape(
                polygon(
                    (x - half * size * 0.25, y - 0.27 * size),
                    (x, y - 0.5 * size),
                    (x + half * size * 0.25, y - 0.27 * size),
                ),
                (250, 252, 255),
                True,
            )
        )
    return out


def snow(rng: random.Random) -> Backdrop:
    """White hills, snowy pines and falling flakes."""
    flakes = [
        Shape(ellipse(rng.uniform(0, 1), rng.uniform(0, 0.7), r, r, steps=8), (255, 255, 255), True)
        for r in [0.013] * 12
    ]
    return Backdrop(
        (142, 164, 208),
        (196, 210, 236),
        [
            Shape(ground(wave(-0.05, 1.05, 0.55, 0.06, 1.3, rng.uniform(0, 6))), (214, 224, 242)),
            *_pine(0.1 + rng.uniform(-0.05, 0.05), 0.66, 0.36),
            *_pine(0.9 + rng.uniform(-0.05, 0.05), 0.64, 0.4),
            Shape(ground(wave(-0.05, 1.05, 0.71, 0.03, 1.0, rng.uniform(0, 6))), (244, 248, 254)),
            *flakes,
        ],
    )


def desert(rng: random.Random) -> Backdrop:
    """Dunes, a cactus and a pale sun."""
    x = rng.choice((0.1, 0.9)) + rng.uniform(-0.03, 0.03)
    cactus: Rgb = (92, 138, 92)
    return Backdrop(
        (255, 214, 176),
        (255, 238, 208),
        [
            Shape(ellipse(1.0 - x, 0.2 + rng.uniform(-0.04, 0.04), 0.12, 0.12), (255, 250, 224)),
            Shape(
                polygon((0.28, 0.62), (0.4, 0.42), (0.58, 0.42), (0.66, 0.62))
                + np.array([rng.uniform(-0.2, 0.2), 0.0]),
                (226, 150, 116),
            ),
            Shape(ground(wave(-0.05, 1.05, 0.6, 0.04, 1.2, rng.uniform(0, 6))), (238, 184, 124)),
            Shape(ribbon([(x, 0.8), (x, 0.56), (x, 0.34)], 0.075), cactus),
            Shape(ribbon([(x, 0.6), (x - 0.075, 0.58), (x - 0.085, 0.46)], 0.045), cactus),
            Shape(ribbon([(x, 0.54), (x + 0.075, 0.52), (x + 0.085, 0.4)], 0.045), cactus),
            Shape(ground(wave(-0.05, 1.05, 0.76, 0.03, 1.0, rng.uniform(0, 6))), (222, 162, 98)),
        ],
    )


def city(rng: random.Random) -> Backdrop:
    """A skyline at night with lit windows."""
    shapes: list[Shape] = [Shape(ellipse(rng.choice((0.14, 0.86)), 0.13, 0.08, 0.08), (250, 240, 200))]
    for x, height in ((0.02, 0.5), (0.2, 0.66), (0.4, 0.46), (0.6, 0.56), (0.8, 0.7), (0.98, 0.52)):
        top = 0.84 - height + rng.uniform(-0.05, 0.05)
        half = rng.uniform(0.075, 0.095)
        shapes.append(
            Shape(box(x - half, top, x + half, 0.86), rng.choice(((36, 38, 78), (46, 44, 92), (30, 34, 68))))
        )
        for row in range(int((0.8 - top) / 0.085)):
            for column in (-0.042, 0.02):
                if rng.random() < 0.75:
                    wx, wy = x + column, top + 0.035 + row * 0.085
                    shapes.append(Shape(box(wx, wy, wx + 0.026, wy + 0.04), (255, 214, 104), True))
    shapes.append(Shape(box(-0.05, 0.83, 1.05, 1.05), (66, 64, 92)))
    shapes += [Shape(box(x, 0.915, x + 0.12, 0.935), (222, 214, 190), True) for x in (0.02, 0.27, 0.52, 0.77)]
    return Backdrop((62, 54, 122), (150, 96, 158), shapes)


def underwater(rng: random.Random) -> Backdrop:
    """Light rays, weeds, bubbles and a sandy floor."""
    shapes: list[Shape] = []
    for column in (0.15, 0.48, 0.8):
        x = column + rng.uniform(-0.08, 0.08)
        shapes.append(
            Shape(polygon((x, -0.05), (x + 0.1, -0.05), (x - 0.05, 0.8), (x - 0.22, 0.8)), (122, 214, 216))
        )
    shapes.append(Shape(ground(wave(-0.05, 1.05, 0.86, 0.02, 1.5, rng.uniform(0, 6))), (196, 196, 150)))
    for column in (0.07, 0.17, 0.84, 0.94):
        x = column + rng.uniform(-0.03, 0.03)
        top, phase = rng.uniform(0.44, 0.6), rng.uniform(0, 6)
        line = [
            (x + 0.022 * math.sin(phase + 9 * t), 0.93 - (0.93 - top) * t)
            for t in (0, 0.2, 0.4, 0.6, 0.8, 1.0)
        ]
        shapes.append(Shape(ribbon(line, 0.05, 0.02), (24, 118, 104)))
    for _ in range(7):
        x, y, r = rng.uniform(0, 1), rng.uniform(0.05, 0.6), rng.uniform(0.014, 0.03)
        shapes.append(Shape(ellipse(x, y, r, r, steps=14), (206, 244, 244), True))
    return Backdrop((92, 200, 208), (22, 112, 150), shapes)


def space(rng: random.Random) -> Backdrop:
    """Stars, a ringed planet and a cratered moon below."""
    shapes = [
        Shape(ellipse(rng.uniform(0, 1), rng.uniform(0, 0.85), r, r, steps=8), (250, 246, 220), True)
        for r in (*[0.008] * 14, *[0.013] * 5)
    ]
    x, y = rng.choice((0.15, 0.85)) + rng.uniform(-0.03, 0.03), 0.17 + rng.uniform(-0.03, 0.03)
    shapes += [
        Shape(ellipse(x, y, 0.1, 0.1), (236, 146, 96)),
        Shape(ellipse(x, y, 0.18, 0.038, -0.3), (250, 214, 160)),
        Shape(ellipse(x, y - 0.022, 0.098, 0.06), (236, 146, 96), True),
        Shape(ellipse(0.5, 1.25, 0.85, 0.44, steps=48), (152, 150, 172)),
    ]
    for dx, dy, r in ((0.16, 0.93, 0.06), (0.84, 0.92, 0.055), (0.5, 0.95, 0.045)):
        shapes.append(
            Shape(ellipse(dx + rng.uniform(-0.05, 0.05), dy, r, r * 0.4, steps=18), (118, 116, 140), True)
        )
    return Backdrop((22, 16, 54), (58, 34, 96), shapes)


def meadow(rng: random.Random) -> Backdrop:
    """Green hills, clouds and flowers."""
    flowers: list[Shape] = []
    for i in range(11):
        x, y = (i + rng.uniform(0.1, 0.9)) / 11, rng.uniform(0.78, 0.97)
        flowers.append(
            Shape(
                ellipse(x, y, 0.021, 0.021, steps=10),
                rng.choice(((255, 255, 255), (255, 226, 90), (255, 150, 170))),
                True,
            )
        )
    return Backdrop(
        (122, 196, 250),
        (214, 238, 255),
        [
            *_cloud(0.2 + rng.uniform(-0.1, 0.1), 0.16, 0.1, (255, 255, 255)),
            *_cloud(0.8 + rng.uniform(-0.1, 0.1), 0.24, 0.085, (255, 255, 255)),
            Shape(ground(wave(-0.05, 1.05, 0.54, 0.06, 1.1, rng.uniform(0, 6))), (176, 222, 128)),
            Shape(ground(wave(-0.05, 1.05, 0.68, 0.04, 1.2, rng.uniform(0, 6))), (140, 204, 96)),
            *flowers,
        ],
    )


PLACE_BACKDROPS: dict[str, Callable[[random.Random], Backdrop]] = {
    f.__name__: f for f in (beach, forest, snow, desert, city, underwater, space, meadow)
}

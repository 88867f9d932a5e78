"""Polygons in a unit frame: every shape of the drawn world is one closed outline with a fill.

Keeping outlines (rather than calling drawing primitives) lets one drawing be rendered in any style:
filled, inked, hatched or as a glowing line.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
"""Outline, shape [N, 2], x to the right and y down."""

Rgb = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Shape:
    """One closed outline."""

    points: Points
    fill: str | Rgb
    """A role of the subject's colour (main, shade, tint) or a fixed colour."""
    detail: bool = False
    """Small marks (eyes, windows): line styles draw them thinner, and the sticker rim skips them."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a unit drawing goes in the frame."""

    x: float
    y: float
    scale: float
    angle: float = 0.0
    flip: bool = False
    stretch: float = 1.0
    """Width against height."""


def ellipse(cx: float, cy: float, rx: float, ry: float, angle: float = 0.0, steps: int = 28) -> Points:
    """An ellipse, turned by `angle` radians."""
    t = np.linspace(0.0, 2.0 * math.pi, steps, endpoint=False)
    return turn(np.stack([rx * np.cos(t), ry * np.sin(t)], axis=1), angle) + np.array([cx, cy])  # type: ignore[no-any-return]


def arc_fan(cx: float, cy: float, rx: float, ry: float, start: float, stop: float, steps: int = 18) -> Points:
    """The chord-closed piece of an ellipse between two angles in degrees (0 = right, 90 = down)."""
    t = np.radians(np.linspace(start, stop, steps))
    return np.stack([cx + rx * np.cos(t), cy + ry * np.sin(t)], axis=1)


def polygon(*points: tuple[float, float]) -> Points:
    """Straight edges through the given corners."""
    return np.array(points, dtype=np.float64)


def box(left: float, top: float, right: float, bottom: float) -> Points:
    """An upright rectangle."""
    return polygon((left, top), (right, top), (right, bottom), (left, bottom))


def smooth(*points: tuple[float, float], steps: int = 6) -> Points:
    """A closed Catmull-Rom curve through the given points."""
    p = np.array(points, dtype=np.float64)
    before, after, beyond = np.roll(p, 1, 0), np.roll(p, -1, 0), np.roll(p, -2, 0)
    t = np.linspace(0.0, 1.0, steps, endpoint=False)[None, :, None]
    b, a, n, f = before[:, None], p[:, None], after[:, None], beyond[:, None]
    curve = 0.5 * (2 * a + (n - b) * t + (2 * b - 5 * a + 4 * n - f) * t**2 + (3 * a - b - 3 * n + f) * t**3)
    return curve.reshape(-1, 2)


def ribbon(points: Sequence[tuple[float, float]], width: float, end_width: float | None = None) -> Points:
    """A band along an open line; its width may change towards the end."""
    p = np.array(points, dtype=np.float64)
    direction = np.gradient(p, axis=0)
    direction /= np.maximum(np.linalg.norm(direction, axis=1, keepdims=True), 1e-9)
    normal = np.stack([-direction[:, 1], direction[:, 0]], axis=1)
    half = np.linspace(width, width if end_width is None else end_width, len(p))[:, None] / 2
    return np.concatenate([p + normal * half, (p - normal * half)[::-1]])


def wave(
    start: float, stop: float, level: float, height: float, cycles: float, phase: float
) -> list[tuple[float, float]]:
    """An open sine line from left to right."""
    x = np.linspace(start, stop, 24)
    y = level + height * np.sin(2 * math.pi * cycles * (x - start) / (stop - start) + phase)
    return [(float(a), float(b)) for a, b in zip(x, y, strict=True)]


def ground(line: list[tuple[float, float]], bottom: float = 1.05) -> Points:
    """The area under an open line."""
    return np.array([*line, (line[-1][0], bottom), (line[0][0], bottom)], dtype=np.float64)


def turn(points: Points, angle: float) -> Points:
    """Rotate about the origin."""
    if angle == 0.0:
        return points
    c, s = math.cos(angle), math.sin(angle)
    return points @ np.array([[c, s], [-s, c]])  # type: ignore[no-any-return]


def place(shapes: Sequence[Shape], where: Placement) -> list[Shape]:
    """Move a unit drawing ([-1, 1] in both directions) into the frame ([0, 1])."""
    mirror = np.array([-where.stretch if where.flip else where.stretch, 1.0])
    return [
        replace(s, points=turn(s.points * mirror, where.angle) * where.scale + (where.x, where.y))
        for s in shapes
    ]

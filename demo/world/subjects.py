"""The twelve subjects, drawn from outlines in a frame of [-1, 1] (y down)."""

from __future__ import annotations

import math
from collections.abc import Callable

from demo.world.geometry import Points, Rgb, Shape, arc_fan, box, ellipse, polygon, ribbon, smooth
from demo.world.palette import INK, PAPER

GLASS: Rgb = (190, 228, 244)
WOOD: Rgb = (150, 98, 56)
BEAK: Rgb = (255, 158, 40)


def _body(points: Points, fill: str | Rgb = "main") -> Shape:
    return Shape(points, fill)


def _mark(points: Points, fill: str | Rgb) -> Shape:
    return Shape(points, fill, detail=True)


def _eye(x: float, y: float, size: float = 0.1) -> list[Shape]:
    return [
        _mark(ellipse(x, y, size, size * 1.1, steps=14), PAPER),
        _mark(ellipse(x + size * 0.15, y + size * 0.1, size * 0.58, size * 0.68, steps=12), INK),
    ]


def cat() -> list[Shape]:
    """Sitting, seen from the front, tail curled up at the side."""
    tail = [(0.42, 0.82), (0.75, 0.75), (0.92, 0.45), (0.86, 0.1), (0.68, -0.02)]
    return [
        _body(ribbon(tail, 0.2, 0.16), "shade"),
        _body(
            smooth((0, -0.2), (0.42, 0.1), (0.58, 0.6), (0.5, 0.95), (-0.5, 0.95), (-0.58, 0.6), (-0.42, 0.1))
        ),
        _body(polygon((-0.52, -0.4), (-0.56, -1.0), (-0.08, -0.72))),
        _body(polygon((0.52, -0.4), (0.56, -1.0), (0.08, -0.72))),
        _mark(polygon((-0.45, -0.58), (-0.47, -0.86), (-0.24, -0.7)), "tint"),
        _mark(polygon((0.45, -0.58), (0.47, -0.86), (0.24, -0.7)), "tint"),
        _body(ellipse(0, -0.36, 0.58, 0.47)),
        _mark(ellipse(0, 0.52, 0.27, 0.36), "tint"),
        *_eye(-0.24, -0.42, 0.12),
        *_eye(0.24, -0.42, 0.12),
        _mark(ellipse(0, -0.2, 0.2, 0.13), "tint"),
        _mark(polygon((-0.08, -0.26), (0.08, -0.26), (0, -0.16)), INK),
    ]


def rabbit() -> list[Shape]:
    """Side view, long ears up, round tail."""
    return [
        _body(ellipse(-0.78, 0.42, 0.2, 0.2), "tint"),
        _body(ellipse(0.2, -0.68, 0.12, 0.42, -0.28), "shade"),
        _body(ellipse(0.46, -0.7, 0.12, 0.42, 0.06)),
        _mark(ellipse(0.46, -0.68, 0.05, 0.28, 0.06), "tint"),
        _body(
            smooth(
                (-0.72, 0.4), (-0.45, 0.0), (0.05, 0.0), (0.4, 0.28), (0.42, 0.9), (-0.4, 0.96), (-0.72, 0.8)
            )
        ),
        _body(ellipse(0.42, -0.08, 0.37, 0.33)),
        _body(ellipse(-0.3, 0.62, 0.34, 0.3), "shade"),
        _body(ellipse(-0.16, 0.9, 0.32, 0.12), "tint"),
        _body(ellipse(0.42, 0.88, 0.17, 0.11), "tint"),
        *_eye(0.5, -0.14, 0.1),
        _mark(ellipse(0.76, 0.0, 0.07, 0.06, steps=10), INK),
    ]


def elephant() -> list[Shape]:
    """Side view, trunk hanging in front."""
    trunk = [(0.66, -0.24), (0.88, -0.06), (0.93, 0.28), (0.84, 0.56), (0.98, 0.68)]
    return [
        _body(ribbon([(-0.86, -0.12), (-0.96, 0.12), (-0.94, 0.32)], 0.08)),
        _body(box(-0.46, 0.3, -0.2, 0.9), "shade"),
        _body(box(0.1, 0.3, 0.36, 0.9), "shade"),
        _body(ellipse(-0.22, 0.02, 0.68, 0.5)),
        _body(box(-0.78, 0.2, -0.48, 0.92)),
        _body(box(-0.12, 0.3, 0.18, 0.92)),
        _body(ribbon(trunk, 0.34, 0.15)),
        _body(ellipse(0.5, -0.3, 0.4, 0.38)),
        _body(
            smooth((0.3, -0.62), (0.05, -0.66), (-0.16, -0.4), (-0.08, 0.0), (0.14, 0.14), (0.34, -0.08)),
            "shade",
        ),
        _mark(polygon((0.6, -0.02), (0.74, -0.04), (0.72, 0.3)), PAPER),
        *_eye(0.56, -0.38, 0.09),
    ]


def duck() -> list[Shape]:
    """Side view, big beak."""
    return [
        _body(polygon((0.66, -0.5), (1.0, -0.42), (0.98, -0.3), (0.62, -0.2)), BEAK),
        _body(
            smooth(
                (-0.98, -0.04),
                (-0.6, 0.1),
                (-0.1, 0.12),
                (0.3, -0.1),
                (0.62, 0.2),
                (0.5, 0.66),
                (0.0, 0.86),
                (-0.6, 0.72),
            )
        ),
        _body(ellipse(0.4, -0.4, 0.36, 0.38)),
        _body(smooth((-0.62, 0.2), (-0.2, 0.18), (0.18, 0.34), (-0.06, 0.62), (-0.5, 0.52)), "shade"),
        _mark(ribbon([(-0.1, 0.84), (-0.12, 1.0)], 0.1), BEAK),
        _mark(ribbon([(0.16, 0.82), (0.18, 1.0)], 0.1), BEAK),
        *_eye(0.48, -0.5, 0.11),
    ]


def fish() -> list[Shape]:
    """Side view, forked tail, stripes."""
    return [
        _body(polygon((-0.5, 0.0), (-1.0, -0.5), (-0.84, 0.0), (-1.0, 0.5)), "shade"),
        _body(smooth((-0.25, -0.42), (0.1, -0.78), (0.42, -0.46)), "shade"),
        _body(smooth((-0.15, 0.42), (0.02, 0.74), (0.3, 0.44)), "shade"),
        _body(ellipse(0.16, 0.0, 0.8, 0.52)),
        _mark(ribbon([(-0.18, -0.42), (-0.1, 0.0), (-0.18, 0.42)], 0.13), "tint"),
        _mark(ribbon([(0.14, -0.48), (0.23, 0.0), (0.14, 0.48)], 0.13), "tint"),
        *_eye(0.62, -0.14, 0.14),
        _mark(ribbon([(0.94, 0.14), (0.8, 0.2), (0.68, 0.16)], 0.06), INK),
    ]


def turtle() -> list[Shape]:
    """Side view, a high dome of a shell."""
    spot = "tint"
    return [
        _body(polygon((-0.72, 0.3), (-1.0, 0.42), (-0.7, 0.5)), "tint"),
        _body(ellipse(-0.42, 0.6, 0.17, 0.24), "tint"),
        _body(ellipse(0.36, 0.6, 0.17, 0.24), "tint"),
        _body(ribbon([(0.5, 0.36), (0.68, 0.3), (0.78, 0.08)], 0.26), "tint"),
        _body(ellipse(0.8, -0.02, 0.22, 0.2), "tint"),
        _body(arc_fan(-0.08, 0.4, 0.76, 0.98, 180, 360)),
        _body(
            smooth((-0.92, 0.36), (-0.08, 0.3), (0.76, 0.36), (0.72, 0.52), (-0.08, 0.54), (-0.88, 0.52)),
            "shade",
        ),
        _mark(ellipse(-0.08, -0.16, 0.2, 0.22, steps=6), spot),
        _mark(ellipse(-0.5, 0.08, 0.13, 0.16, steps=6), spot),
        _mark(ellipse(0.34, 0.08, 0.13, 0.16, steps=6), spot),
        *_eye(0.86, -0.06, 0.075),
    ]


def car() -> list[Shape]:
    """Side view of a small round car."""
    wheels = [
        shape
        for x in (-0.52, 0.52)
        for shape in (
            _body(ellipse(x, 0.5, 0.25, 0.25), (48, 48, 56)),
            _mark(ellipse(x, 0.5, 0.11, 0.11), (214, 216, 222)),
        )
    ]
    return [
        _body(smooth((-0.62, 0.0), (-0.46, -0.52), (-0.1, -0.62), (0.22, -0.52), (0.52, 0.0), (0.0, 0.1))),
        _body(
            smooth(
                (-0.96, 0.05),
                (-0.6, -0.06),
                (0.5, -0.06),
                (0.92, 0.08),
                (1.0, 0.4),
                (0.8, 0.52),
                (-0.85, 0.52),
                (-1.0, 0.35),
            )
        ),
        _mark(polygon((-0.47, -0.08), (-0.37, -0.42), (-0.08, -0.49), (-0.08, -0.08)), GLASS),
        _mark(polygon((0.02, -0.08), (0.02, -0.49), (0.18, -0.43), (0.38, -0.08)), GLASS),
        _mark(box(-0.94, 0.26, 0.96, 0.36), "shade"),
        _mark(ellipse(0.88, 0.14, 0.09, 0.09, steps=12), (255, 240, 150)),
        *wheels,
    ]


def boat() -> list[Shape]:
    """A sailing boat."""
    return [
        _body(box(-0.05, -0.96, 0.04, 0.5), WOOD),
        _body(polygon((0.1, -0.9), (0.8, 0.32), (0.1, 0.32))),
        _body(polygon((-0.11, -0.66), (-0.11, 0.32), (-0.68, 0.32)), "tint"),
        _body(
            smooth(
                (-0.94, 0.46),
                (-0.3, 0.48),
                (0.5, 0.48),
                (0.98, 0.42),
                (0.62, 0.92),
                (0.0, 0.96),
                (-0.58, 0.92),
            )
        ),
        _mark(ribbon([(-0.8, 0.6), (0.0, 0.63), (0.82, 0.58)], 0.09), PAPER),
    ]


def rocket() -> list[Shape]:
    """Upright, with fins and a flame."""
    return [
        _body(smooth((-0.2, 0.56), (0.2, 0.56), (0.22, 0.78), (0.0, 1.06), (-0.22, 0.78)), (255, 196, 52)),
        _mark(smooth((-0.1, 0.58), (0.1, 0.58), (0.0, 0.86)), (255, 112, 40)),
        _body(polygon((-0.26, 0.06), (-0.68, 0.44), (-0.64, 0.78), (-0.22, 0.56)), "shade"),
        _body(polygon((0.26, 0.06), (0.68, 0.44), (0.64, 0.78), (0.22, 0.56)), "shade"),
        _body(
            smooth(
                (0.0, -1.0),
                (0.26, -0.66),
                (0.36, -0.16),
                (0.26, 0.58),
                (-0.26, 0.58),
                (-0.36, -0.16),
                (-0.26, -0.66),
            )
        ),
        _mark(smooth((0.0, -0.98), (0.17, -0.78), (0.24, -0.6), (-0.24, -0.6), (-0.17, -0.78)), "tint"),
        _mark(ellipse(0, -0.24, 0.2, 0.2), PAPER),
        _mark(ellipse(0, -0.24, 0.14, 0.14), (92, 170, 220)),
        _mark(box(-0.3, 0.24, 0.3, 0.34), "tint"),
    ]


def balloon() -> list[Shape]:
    """A hot-air balloon with a basket."""
    return [
        _mark(ribbon([(-0.34, 0.34), (-0.16, 0.7)], 0.05), WOOD),
        _mark(ribbon([(0.34, 0.34), (0.16, 0.7)], 0.05), WOOD),
        _body(
            smooth(
                (0, -1.0),
                (0.5, -0.84),
                (0.74, -0.36),
                (0.5, 0.14),
                (0.2, 0.42),
                (-0.2, 0.42),
                (-0.5, 0.14),
                (-0.74, -0.36),
                (-0.5, -0.84),
            )
        ),
        _mark(smooth((0, -0.99), (0.26, -0.5), (0.12, 0.42), (-0.12, 0.42), (-0.26, -0.5)), "tint"),
        _mark(smooth((-0.56, -0.78), (-0.46, -0.3), (-0.22, 0.4), (-0.52, 0.1), (-0.73, -0.36)), "shade"),
        _mark(smooth((0.56, -0.78), (0.46, -0.3), (0.22, 0.4), (0.52, 0.1), (0.73, -0.36)), "shade"),
        _body(polygon((-0.22, 0.66), (0.22, 0.66), (0.17, 0.98), (-0.17, 0.98)), WOOD),
    ]


def mushroom() -> list[Shape]:
    """A wide dotted cap on a thick stem."""
    dots = [(-0.46, -0.2, 0.13), (0.02, -0.5, 0.17), (0.48, -0.18, 0.13), (0.0, -0.06, 0.1)]
    return [
        _body(
            smooth(
                (-0.22, 0.0), (0.22, 0.0), (0.26, 0.5), (0.38, 0.9), (0.0, 0.98), (-0.38, 0.9), (-0.26, 0.5)
            ),
            (246, 232, 204),
        ),
        _mark(ellipse(0, 0.14, 0.3, 0.08), (216, 196, 164)),
        _body(
            smooth(
                (-0.96, 0.06),
                (-0.8, -0.44),
                (-0.36, -0.82),
                (0.36, -0.82),
                (0.8, -0.44),
                (0.96, 0.06),
                (0.5, 0.18),
                (0.0, 0.2),
                (-0.5, 0.18),
            )
        ),
        *[_mark(ellipse(x, y, r, r * 0.9, steps=16), "tint") for x, y, r in dots],
    ]


def teapot() -> list[Shape]:
    """A round pot with spout, handle and lid."""
    handle = [(-0.44, -0.2), (-0.78, -0.3), (-0.96, 0.06), (-0.8, 0.42), (-0.42, 0.5)]
    return [
        _body(ribbon(handle, 0.15), "shade"),
        _body(polygon((0.38, 0.52), (0.44, 0.02), (0.8, -0.5), (1.0, -0.46), (0.82, 0.2)), "shade"),
        _body(ellipse(0, -0.62, 0.12, 0.12), "shade"),
        _body(arc_fan(0, -0.34, 0.36, 0.22, 180, 360), "tint"),
        _body(ellipse(0, 0.18, 0.62, 0.58)),
        _body(ellipse(0, 0.72, 0.36, 0.1), "shade"),
        _mark(smooth((-0.6, 0.1), (0.0, 0.2), (0.6, 0.1), (0.58, 0.34), (0.0, 0.44), (-0.58, 0.34)), "tint"),
        _mark(ellipse(-0.24, -0.12, 0.13, 0.08, -math.pi / 5), PAPER),
    ]


SUBJECT_SHAPES: dict[str, Callable[[], list[Shape]]] = {
    f.__name__: f
    for f in (cat, rabbit, elephant, duck, fish, turtle, car, boat, rocket, balloon, mushroom, teapot)
}

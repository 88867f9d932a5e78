"""The subjects that are no animals, drawn from outlines in a frame of [-1, 1] (y down)."""

from __future__ import annotations

import math

from demo.world.geometry import Rgb, Shape, arc_fan, box, ellipse, polygon, ribbon, smooth
from demo.world.palette import PAPER
from demo.world.parts import body, mark

GLASS: Rgb = (190, 228, 244)
WOOD: Rgb = (150, 98, 56)


def car() -> list[Shape]:
    """Side view of a small round car."""
    wheels = [
        shape
        for x in (-0.52, 0.52)
        for shape in (
            body(ellipse(x, 0.5, 0.25, 0.25), (48, 48, 56)),
            mark(ellipse(x, 0.5, 0.11, 0.11), (214, 216, 222)),
        )
    ]
    return [
        body(smooth((-0.62, 0.0), (-0.46, -0.52), (-0.1, -0.62), (0.22, -0.52), (0.52, 0.0), (0.0, 0.1))),
        body(
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
        mark(polygon((-0.47, -0.08), (-0.37, -0.42), (-0.08, -0.49), (-0.08, -0.08)), GLASS),
        mark(polygon((0.02, -0.08), (0.02, -0.49), (0.18, -0.43), (0.38, -0.08)), GLASS),
        mark(box(-0.94, 0.26, 0.96, 0.36), "shade"),
        mark(ellipse(0.88, 0.14, 0.09, 0.09, steps=12), (255, 240, 150)),
        *wheels,
    ]


def boat() -> list[Shape]:
    """A sailing boat."""
    return [
        body(box(-0.05, -0.96, 0.04, 0.5), WOOD),
        body(polygon((0.1, -0.9), (0.8, 0.32), (0.1, 0.32))),
        body(polygon((-0.11, -0.66), (-0.11, 0.32), (-0.68, 0.32)), "tint"),
        body(
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
        mark(ribbon([(-0.8, 0.6), (0.0, 0.63), (0.82, 0.58)], 0.09), PAPER),
    ]


def rocket() -> list[Shape]:
    """Upright, with fins and a flame."""
    return [
        body(smooth((-0.2, 0.56), (0.2, 0.56), (0.22, 0.78), (0.0, 1.06), (-0.22, 0.78)), (255, 196, 52)),
        mark(smooth((-0.1, 0.58), (0.1, 0.58), (0.0, 0.86)), (255, 112, 40)),
        body(polygon((-0.26, 0.06), (-0.68, 0.44), (-0.64, 0.78), (-0.22, 0.56)), "shade"),
        body(polygon((0.26, 0.06), (0.68, 0.44), (0.64, 0.78), (0.22, 0.56)), "shade"),
        body(
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
        mark(smooth((0.0, -0.98), (0.17, -0.78), (0.24, -0.6), (-0.24, -0.6), (-0.17, -0.78)), "tint"),
        mark(ellipse(0, -0.24, 0.2, 0.2), PAPER),
        mark(ellipse(0, -0.24, 0.14, 0.14), (92, 170, 220)),
        mark(box(-0.3, 0.24, 0.3, 0.34), "tint"),
    ]


def balloon() -> list[Shape]:
    """A hot-air balloon with a basket."""
    return [
        mark(ribbon([(-0.34, 0.34), (-0.16, 0.7)], 0.05), WOOD),
        mark(ribbon([(0.34, 0.34), (0.16, 0.7)], 0.05), WOOD),
        body(
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
        mark(smooth((0, -0.99), (0.26, -0.5), (0.12, 0.42), (-0.12, 0.42), (-0.26, -0.5)), "tint"),
        mark(smooth((-0.56, -0.78), (-0.46, -0.3), (-0.22, 0.4), (-0.52, 0.1), (-0.73, -0.36)), "shade"),
        mark(smooth((0.56, -0.78), (0.46, -0.3), (0.22, 0.4), (0.52, 0.1), (0.73, -0.36)), "shade"),
        body(polygon((-0.22, 0.66), (0.22, 0.66), (0.17, 0.98), (-0.17, 0.98)), WOOD),
    ]


def mushroom() -> list[Shape]:
    """A wide dotted cap on a thick stem."""
    dots = [(-0.46, -0.2, 0.13), (0.02, -0.5, 0.17), (0.48, -0.18, 0.13), (0.0, -0.06, 0.1)]
    return [
        body(
            smooth(
                (-0.22, 0.0), (0.22, 0.0), (0.26, 0.5), (0.38, 0.9), (0.0, 0.98), (-0.38, 0.9), (-0.26, 0.5)
            ),
            (246, 232, 204),
        ),
        mark(ellipse(0, 0.14, 0.3, 0.08), (216, 196, 164)),
        body(
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
        *[mark(ellipse(x, y, r, r * 0.9, steps=16), "tint") for x, y, r in dots],
    ]


def teapot() -> list[Shape]:
    """A round pot with spout, handle and lid."""
    handle = [(-0.44, -0.2), (-0.78, -0.3), (-0.96, 0.06), (-0.8, 0.42), (-0.42, 0.5)]
    return [
        body(ribbon(handle, 0.15), "shade"),
        body(polygon((0.38, 0.52), (0.44, 0.02), (0.8, -0.5), (1.0, -0.46), (0.82, 0.2)), "shade"),
        body(ellipse(0, -0.62, 0.12, 0.12), "shade"),
        body(arc_fan(0, -0.34, 0.36, 0.22, 180, 360), "tint"),
        body(ellipse(0, 0.18, 0.62, 0.58)),
        body(ellipse(0, 0.72, 0.36, 0.1), "shade"),
        mark(smooth((-0.6, 0.1), (0.0, 0.2), (0.6, 0.1), (0.58, 0.34), (0.0, 0.44), (-0.58, 0.34)), "tint"),
        mark(ellipse(-0.24, -0.12, 0.13, 0.08, -math.pi / 5), PAPER),
    ]

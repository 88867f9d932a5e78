"""The animals among the subjects, drawn from outlines in a frame of [-1, 1] (y down)."""

from __future__ import annotations

from demo.world.geometry import Rgb, Shape, arc_fan, box, ellipse, polygon, ribbon, smooth
from demo.world.palette import INK, PAPER
from demo.world.parts import body, eye, mark

BEAK: Rgb = (255, 158, 40)


def cat() -> list[Shape]:
    """Sitting, seen from the front, tail curled up at the side."""
    tail = [(0.42, 0.82), (0.75, 0.75), (0.92, 0.45), (0.86, 0.1), (0.68, -0.02)]
    return [
        body(ribbon(tail, 0.2, 0.16), "shade"),
        body(
            smooth((0, -0.2), (0.42, 0.1), (0.58, 0.6), (0.5, 0.95), (-0.5, 0.95), (-0.58, 0.6), (-0.42, 0.1))
        ),
        body(polygon((-0.52, -0.4), (-0.56, -1.0), (-0.08, -0.72))),
        body(polygon((0.52, -0.4), (0.56, -1.0), (0.08, -0.72))),
        mark(polygon((-0.45, -0.58), (-0.47, -0.86), (-0.24, -0.7)), "tint"),
        mark(polygon((0.45, -0.58), (0.47, -0.86), (0.24, -0.7)), "tint"),
        body(ellipse(0, -0.36, 0.58, 0.47)),
        mark(ellipse(0, 0.52, 0.27, 0.36), "tint"),
        *eye(-0.24, -0.42, 0.12),
        *eye(0.24, -0.42, 0.12),
        mark(ellipse(0, -0.2, 0.2, 0.13), "tint"),
        mark(polygon((-0.08, -0.26), (0.08, -0.26), (0, -0.16)), INK),
    ]


def rabbit() -> list[Shape]:
    """Side view, long ears up, round tail."""
    return [
        body(ellipse(-0.78, 0.42, 0.2, 0.2), "tint"),
        body(ellipse(0.2, -0.68, 0.12, 0.42, -0.28), "shade"),
        body(ellipse(0.46, -0.7, 0.12, 0.42, 0.06)),
        mark(ellipse(0.46, -0.68, 0.05, 0.28, 0.06), "tint"),
        body(
            smooth(
                (-0.72, 0.4), (-0.45, 0.0), (0.05, 0.0), (0.4, 0.28), (0.42, 0.9), (-0.4, 0.96), (-0.72, 0.8)
            )
        ),
        body(ellipse(0.42, -0.08, 0.37, 0.33)),
        body(ellipse(-0.3, 0.62, 0.34, 0.3), "shade"),
        body(ellipse(-0.16, 0.9, 0.32, 0.12), "tint"),
        body(ellipse(0.42, 0.88, 0.17, 0.11), "tint"),
        *eye(0.5, -0.14, 0.1),
        mark(ellipse(0.76, 0.0, 0.07, 0.06, steps=10), INK),
    ]


def elephant() -> list[Shape]:
    """Side view, trunk hanging in front."""
    trunk = [(0.66, -0.24), (0.88, -0.06), (0.93, 0.28), (0.84, 0.56), (0.98, 0.68)]
    return [
        body(ribbon([(-0.86, -0.12), (-0.96, 0.12), (-0.94, 0.32)], 0.08)),
        body(box(-0.46, 0.3, -0.2, 0.9), "shade"),
        body(box(0.1, 0.3, 0.36, 0.9), "shade"),
        body(ellipse(-0.22, 0.02, 0.68, 0.5)),
        body(box(-0.78, 0.2, -0.48, 0.92)),
        body(box(-0.12, 0.3, 0.18, 0.92)),
        body(ribbon(trunk, 0.34, 0.15)),
        body(ellipse(0.5, -0.3, 0.4, 0.38)),
        body(
            smooth((0.3, -0.62), (0.05, -0.66), (-0.16, -0.4), (-0.08, 0.0), (0.14, 0.14), (0.34, -0.08)),
            "shade",
        ),
        mark(polygon((0.6, -0.02), (0.74, -0.04), (0.72, 0.3)), PAPER),
        *eye(0.56, -0.38, 0.09),
    ]


def duck() -> list[Shape]:
    """Side view, big beak."""
    return [
        body(polygon((0.66, -0.5), (1.0, -0.42), (0.98, -0.3), (0.62, -0.2)), BEAK),
        body(
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
        body(ellipse(0.4, -0.4, 0.36, 0.38)),
        body(smooth((-0.62, 0.2), (-0.2, 0.18), (0.18, 0.34), (-0.06, 0.62), (-0.5, 0.52)), "shade"),
        mark(ribbon([(-0.1, 0.84), (-0.12, 1.0)], 0.1), BEAK),
        mark(ribbon([(0.16, 0.82), (0.18, 1.0)], 0.1), BEAK),
        *eye(0.48, -0.5, 0.11),
    ]


def fish() -> list[Shape]:
    """Side view, forked tail, stripes."""
    return [
        body(polygon((-0.5, 0.0), (-1.0, -0.5), (-0.84, 0.0), (-1.0, 0.5)), "shade"),
        body(smooth((-0.25, -0.42), (0.1, -0.78), (0.42, -0.46)), "shade"),
        body(smooth((-0.15, 0.42), (0.02, 0.74), (0.3, 0.44)), "shade"),
        body(ellipse(0.16, 0.0, 0.8, 0.52)),
        mark(ribbon([(-0.18, -0.42), (-0.1, 0.0), (-0.18, 0.42)], 0.13), "tint"),
        mark(ribbon([(0.14, -0.48), (0.23, 0.0), (0.14, 0.48)], 0.13), "tint"),
        *eye(0.62, -0.14, 0.14),
        mark(ribbon([(0.94, 0.14), (0.8, 0.2), (0.68, 0.16)], 0.06), INK),
    ]


def turtle() -> list[Shape]:
    """Side view, a high dome of a shell."""
    spot = "tint"
    return [
        body(polygon((-0.72, 0.3), (-1.0, 0.42), (-0.7, 0.5)), "tint"),
        body(ellipse(-0.42, 0.6, 0.17, 0.24), "tint"),
        body(ellipse(0.36, 0.6, 0.17, 0.24), "tint"),
        body(ribbon([(0.5, 0.36), (0.68, 0.3), (0.78, 0.08)], 0.26), "tint"),
        body(ellipse(0.8, -0.02, 0.22, 0.2), "tint"),
        body(arc_fan(-0.08, 0.4, 0.76, 0.98, 180, 360)),
        body(
            smooth((-0.92, 0.36), (-0.08, 0.3), (0.76, 0.36), (0.72, 0.52), (-0.08, 0.54), (-0.88, 0.52)),
            "shade",
        ),
        mark(ellipse(-0.08, -0.16, 0.2, 0.22, steps=6), spot),
        mark(ellipse(-0.5, 0.08, 0.13, 0.16, steps=6), spot),
        mark(ellipse(0.34, 0.08, 0.13, 0.16, steps=6), spot),
        *eye(0.86, -0.06, 0.075),
    ]

"""What the subjects are put together from, in a frame of [-1, 1] (y down)."""

from __future__ import annotations

from demo.world.geometry import Points, Rgb, Shape, ellipse
from demo.world.palette import INK, PAPER


def body(points: Points, fill: str | Rgb = "main") -> Shape:
    """A part that gives the subject its outline."""
    return Shape(points, fill)


def mark(points: Points, fill: str | Rgb) -> Shape:
    """A detail on the body, with a thinner outline than its or none."""
    return Shape(points, fill, detail=True)


def eye(x: float, y: float, size: float = 0.1) -> list[Shape]:
    """A white eye that looks a little aside; `size` is its half width in the subject's frame."""
    return [
        mark(ellipse(x, y, size, size * 1.1, steps=14), PAPER),
        mark(ellipse(x + size * 0.15, y + size * 0.1, size * 0.58, size * 0.68, steps=12), INK),
    ]

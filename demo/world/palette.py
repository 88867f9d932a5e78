"""The ten subject colours and simple colour arithmetic."""

from __future__ import annotations

from demo.world.geometry import Rgb

COLOUR_RGB: dict[str, Rgb] = {
    "red": (218, 38, 44),
    "orange": (247, 138, 24),
    "yellow": (250, 216, 40),
    "green": (56, 178, 62),
    "blue": (38, 86, 222),
    "purple": (134, 52, 188),
    "pink": (255, 132, 188),
    "white": (250, 250, 252),
    "black": (34, 34, 40),
    "brown": (124, 74, 38),
}
"""Far apart from one another, and more saturated than any place's background."""

INK: Rgb = (30, 26, 38)
PAPER: Rgb = (252, 250, 244)


def mix(a: Rgb, b: Rgb, share_of_b: float) -> Rgb:
    """A colour between two."""
    return (
        round(a[0] + (b[0] - a[0]) * share_of_b),
        round(a[1] + (b[1] - a[1]) * share_of_b),
        round(a[2] + (b[2] - a[2]) * share_of_b),
    )


def luminance(colour: Rgb) -> float:
    """Perceived brightness, 0 to 1."""
    return (0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]) / 255.0


def roles(colour: Rgb) -> dict[str, Rgb]:
    """The three tones that a subject of one colour is drawn with."""
    dark = luminance(colour) < 0.2
    shade = mix(colour, (255, 255, 255), 0.2) if dark else mix(colour, (20, 10, 50), 0.24)
    return {"main": colour, "shade": shade, "tint": mix(colour, (255, 255, 255), 0.34 if dark else 0.42)}

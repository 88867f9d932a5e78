"""The twelve subjects by name."""

from __future__ import annotations

from collections.abc import Callable

from demo.world.creatures import cat, duck, elephant, fish, rabbit, turtle
from demo.world.geometry import Shape
from demo.world.things import balloon, boat, car, mushroom, rocket, teapot

SUBJECT_SHAPES: dict[str, Callable[[], list[Shape]]] = {
    f.__name__: f
    for f in (cat, rabbit, elephant, duck, fish, turtle, car, boat, rocket, balloon, mushroom, teapot)
}

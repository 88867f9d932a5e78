"""The drawn world: subjects, colours, places and drawing styles, with exactly known captions."""

from demo.world.grammar import COLOURS, PLACES, STYLES, SUBJECTS, Scene, parse_caption, sample_scene
from demo.world.render import SIZE, draw_scene

__all__ = [
    "COLOURS",
    "PLACES",
    "SIZE",
    "STYLES",
    "SUBJECTS",
    "Scene",
    "draw_scene",
    "parse_caption",
    "sample_scene",
]

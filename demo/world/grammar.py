"""What can be drawn, and the sentences that say it."""

from __future__ import annotations

import random
from dataclasses import dataclass

from demo.world.palette import COLOUR_RGB
from demo.world.places import PLACE_BACKDROPS
from demo.world.subjects import SUBJECT_SHAPES

SUBJECTS: tuple[str, ...] = tuple(SUBJECT_SHAPES)
COLOURS: tuple[str, ...] = tuple(COLOUR_RGB)
PLACES: tuple[str, ...] = tuple(PLACE_BACKDROPS)
STYLES: tuple[str, ...] = ("flat", "ink", "soft")

PLACE_PHRASES: dict[str, str] = {
    "beach": "on a beach",
    "forest": "in a forest",
    "snow": "in the snow",
    "desert": "in a desert",
    "city": "in a night city",
    "underwater": "under water",
    "space": "in space",
    "meadow": "in a meadow",
}

TEMPLATES: tuple[tuple[str, float], ...] = (
    ("{a} {colour} {subject} {place}, {style} style", 0.42),
    ("{a} {colour} {subject} {place}", 0.26),
    ("{style} drawing of {a} {colour} {subject} {place}", 0.1),
    ("{a} {colour} {subject}, {place}", 0.08),
    ("{place}, {a} {colour} {subject}", 0.04),
    ("{a} {colour} {subject}", 0.04),
    ("{place}", 0.03),
    ("{a} {subject} {place}", 0.03),
)
"""Sentence forms with the share of training captions that use each."""


@dataclass(frozen=True, slots=True)
class Scene:
    """One drawing: what it shows, and the seed of its small variations."""

    subject: str
    colour: str
    place: str
    style: str
    seed: int = 0

    def caption(self) -> str:
        """The canonical sentence, which the captioner learns to write."""
        return self._fill(TEMPLATES[0][0])

    def varied_caption(self, rng: random.Random) -> str:
        """A sentence form drawn at random, so that the base model takes more than one wording."""
        forms, shares = zip(*TEMPLATES, strict=True)
        return self._fill(rng.choices(forms, shares)[0])

    def _fill(self, form: str) -> str:
        first = self.subject if "{colour}" not in form else self.colour
        return form.format(
            a="an" if first[0] in "aeiou" else "a",
            colour=self.colour,
            subject=self.subject,
            place=PLACE_PHRASES[self.place],
            style=self.style,
        )


def sample_scene(rng: random.Random) -> Scene:
    """Any combination, each equally likely."""
    return Scene(
        subject=rng.choice(SUBJECTS),
        colour=rng.choice(COLOURS),
        place=rng.choice(PLACES),
        style=rng.choice(STYLES),
        seed=rng.getrandbits(32),
    )


def parse_caption(text: str) -> dict[str, str | None]:
    """Read subject, colour, place and style back out of any sentence; None where it names none."""
    words = text.lower().replace(",", " ").split()
    return {
        "subject": next((w for w in words if w in SUBJECTS), None),
        "colour": next((w for w in words if w in COLOURS), None),
        "place": next((p for p, phrase in PLACE_PHRASES.items() if phrase.split()[-1] in words), None),
        "style": next((w for w in words if w in STYLES), None),
    }

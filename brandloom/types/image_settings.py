"""The settings of a picture that generating, sweeping and batches share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

from brandloom.types.inference import Composition, InitialImage, Sampler, SigmaSchedule, StackEntry
from brandloom.types.registry import BaseModel

Stack = Sequence[StackEntry | str]
"""LoRAs: `StackEntry("hero@prod", 0.6)`, or as one writes them: `"hero@prod:0.6:steps=20%-80%"`."""


class PictureSettings(TypedDict, total=False):
    """What all pictures of a request share. Left out, 0 and None mean the service's own defaults.

    `width` and `height` are in pixels, multiples of 8; `clip_skip` is layers of the text encoder to skip from
    its end; `switch_every` is steps, for Composition.SWITCH; of a brand's requests those of larger `priority`
    go first.
    """

    stack: Stack
    negative_prompt: str
    base_model: str | BaseModel
    steps: int
    guidance_scale: float | None
    sampler: Sampler
    sigma_schedule: SigmaSchedule
    width: int
    height: int
    clip_skip: int
    composition: Composition
    switch_every: int
    initial_image: InitialImage | None
    priority: int


class ImageSettings(PictureSettings, total=False):
    """The settings of one request: `count` pictures, picture i with `seed` + i.

    A preview of every picture comes after every `preview_every` steps; 0: none.
    """

    count: int
    seed: int | None
    preview_every: int

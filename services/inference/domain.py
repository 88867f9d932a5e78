"""What the inference service is asked for: pictures, the stacks that make them, and the limits of both."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from servicekit.errors import FieldViolation, InvalidArgument

MAX_SEED = 2**32 - 1
MAX_WEIGHT = 10.0
SIZE_STEP = 8
"""Pictures' sides are multiples of this many pixels."""
SD15_FAMILY = "sd15"
SDXL_FAMILY = "sdxl"
CAUSAL_LM_FAMILY = "causal_lm"
PICTURE_FAMILIES = (SD15_FAMILY, SDXL_FAMILY)


class Sampler(StrEnum):
    """A sampler; the value is its name in pictures, and lorakit's."""

    EULER = "Euler"
    EULER_ANCESTRAL = "Euler a"
    DDIM = "DDIM"
    DPMPP_2M = "DPM++ 2M"


class Composition(StrEnum):
    """How the LoRAs of a stack work together; SWITCH and COMPOSITE are those of Zhong et al., arXiv
    2402.16843.
    """

    ADD = "add"
    """Their weighted sum, in every step."""
    SWITCH = "switch"
    """One at a time, the next one every so many steps."""
    COMPOSITE = "composite"
    """Each by itself, and the mean of what they say."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What one request may ask for, and how many requests may wait."""

    max_side: int = 1024
    """Pixels."""
    max_steps: int = 150
    max_count: int = 64
    max_queued: int = 64
    """Requests that wait for their first step."""
    brand_share: float = 0.5
    """How much of the queue one brand may take."""
    max_stack: int = 32
    """LoRAs of one request."""
    max_pins: int = 32
    """Stacks that are kept loaded."""
    max_pins_of_brand: int = 8

    @property
    def max_queued_of_brand(self) -> int:
        """Requests of one brand that may wait: its share, and one at least."""
        return max(1, int(self.max_queued * self.brand_share))


@dataclass(frozen=True, kw_only=True, slots=True)
class StepWindow:
    """A part of the denoising steps, as fractions of all."""

    start: float = 0.0
    end: float = 1.0


ALL_STEPS = StepWindow()


@dataclass(frozen=True, kw_only=True, slots=True)
class Box:
    """A part of the picture, as fractions of its width and height from its left and top."""

    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Mask:
    """A part of the picture: where the PNG is bright."""

    png: bytes


Region = Box | Mask


@dataclass(frozen=True, kw_only=True, slots=True)
class StackEntry:
    """One LoRA of an explicit stack."""

    reference: str
    text_encoder_weight: float = 1.0
    weight: float = 1.0
    window: StepWindow = ALL_STEPS
    region: Region | None = None
    """None: the whole picture."""


@dataclass(frozen=True, kw_only=True, slots=True)
class InitialImage:
    """A picture to begin from."""

    image: bytes
    """PNG, JPEG or WebP."""
    strength: float = 0.75
    """How much of it is made anew."""
    mask_png: bytes = b""
    """Where it is bright the picture is made anew; empty: all of it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageRequest:
    """A request for pictures, defaults filled in. A side of 0 means the base model's own resolution."""

    brand: str
    prompt: str
    negative_prompt: str = ""
    stack: tuple[StackEntry, ...] = ()
    base_model: str = ""
    """`baseModels/{id}`, or empty for the service's default."""
    steps: int = 25
    guidance: float = 5.0
    sampler: Sampler = Sampler.DPMPP_2M
    karras: bool | None = None
    """None: as the base model's scheduler was configured."""
    seed: int | None = None
    width: int = 0
    height: int = 0
    count: int = 1
    clip_skip: int = 0
    composition: Composition = Composition.ADD
    switch_every: int = 1
    """Steps until SWITCH takes the next LoRA."""
    initial_image: InitialImage | None = None
    preview_every: int = 0
    """Steps between previews; 0: none."""
    priority: int = 0
    """Larger goes first among requests of the same brand."""

    def check(self, limits: Limits) -> None:
        """Raises InvalidArgument with every faulty field."""
        faults = [
            *_outside("steps", self.steps, 1, limits.max_steps),
            *_outside("count", self.count, 1, limits.max_count),
            *_outside("guidance_scale", self.guidance, 0, 30),
            *_outside("clip_skip", self.clip_skip, 0, 12),
            *_outside("seed", self.seed or 0, 0, MAX_SEED),
            *_wrong_side("width", self.width, limits),
            *_wrong_side("height", self.height, limits),
        ]
        if self.karras and self.sampler is Sampler.DDIM:
            faults.append(FieldViolation("sigma_schedule", "Karras noise levels are not offered with DDIM"))
        if self.switch_every != 1 and self.composition is not Composition.SWITCH:
            faults.append(FieldViolation("switch_every", "is for the composition SWITCH"))
        if self.initial_image is not None:
            faults += _outside("initial_image.strength", self.initial_image.strength, 0, 1)
        for index, entry in enumerate(self.stack):
            faults += faults_of_entry(f"stack[{index}]", entry, self.composition)
        if faults:
            raise InvalidArgument(faults)


def _outside(field: str, value: float, low: float, high: float) -> Sequence[FieldViolation]:
    if math.isfinite(value) and low <= value <= high:
        return ()
    return (FieldViolation(field, f"must be from {low} to {high}, not {value}"),)


def _wrong_side(field: str, pixels: int, limits: Limits) -> Sequence[FieldViolation]:
    if pixels == 0:
        return ()
    if pixels % SIZE_STEP:
        return (FieldViolation(field, f"must be a multiple of {SIZE_STEP}, not {pixels}"),)
    return _outside(field, pixels, SIZE_STEP, limits.max_side)


def faults_of_entry(place: str, entry: StackEntry, composition: Composition) -> Sequence[FieldViolation]:
    """What is wrong with an entry of a stack; ``place`` is its field."""
    faults: list[FieldViolation] = []
    for name in ("weight", "text_encoder_weight"):
        faults += _outside(f"{place}.{name}", getattr(entry, name), -MAX_WEIGHT, MAX_WEIGHT)
    if not 0 <= entry.window.start < entry.window.end <= 1:
        faults.append(FieldViolation(f"{place}.window", "must be a part of the steps from 0 to 1"))
    if entry.region is not None and composition is not Composition.ADD:
        faults.append(FieldViolation(f"{place}.region", f"is not offered with {composition.name}"))
    return faults

"""What the inference service is about: requests, stacks, jobs for the engine, and what comes back."""

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


class Sampler(StrEnum):
    """A sampler; the value is its name in pictures, and lorakit's."""

    EULER = "Euler"
    EULER_ANCESTRAL = "Euler a"
    DDIM = "DDIM"
    DPMPP_2M = "DPM++ 2M"


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What one request may ask for, and how many requests may wait."""

    max_side: int = 1024
    """Pixels."""
    max_steps: int = 150
    max_count: int = 64
    max_queued: int = 64
    """Requests that wait for their first step."""
    max_stack: int = 32
    """LoRAs of one request."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StackEntry:
    """One LoRA of an explicit stack."""

    reference: str
    text_encoder_weight: float = 1.0
    weight: float = 1.0


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
        for index, entry in enumerate(self.stack):
            for name in ("weight", "text_encoder_weight"):
                value = getattr(entry, name)
                faults += _outside(f"stack[{index}].{name}", value, -MAX_WEIGHT, MAX_WEIGHT)
        if faults:
            raise InvalidArgument(faults)


@dataclass(frozen=True, kw_only=True, slots=True)
class BaseRef:
    """A base model that the engine can load."""

    name: str
    """`baseModels/{id}`, or the file name of a local one."""
    source: str
    """A pipeline directory or a single-file checkpoint: a path, a hub id or an s3:// address."""
    sha256: str
    """Digest as lorakit.base_digest computes it."""
    family: str = SD15_FAMILY
    path: str = ""
    """Where it lies on this host, once that is known; empty: the source is that path."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ResolvedLora:
    """What a reference means now."""

    reference: str
    version: str
    sha256: str
    size_bytes: int
    family: str
    base_model_sha256: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class ResolvedStack:
    """A stack's LoRAs in the order of their references, and the base they are to be used with."""

    loras: tuple[ResolvedLora, ...]
    base: BaseRef | None


@dataclass(frozen=True, kw_only=True, slots=True)
class UsedLora:
    """A LoRA as it is used in a request."""

    reference: str
    version: str
    sha256: str
    text_encoder_weight: float
    weight: float


@dataclass(frozen=True, kw_only=True, slots=True)
class LoraFile:
    """A LoRA's file on this host with its weights."""

    reference: str
    sha256: str
    path: str
    text_encoder_weight: float
    weight: float


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageJob:
    """What the engine is to do: tags are out of the prompt, references are files."""

    job_id: str
    base: BaseRef
    prompt: str
    negative_prompt: str
    loras: tuple[LoraFile, ...]
    steps: int
    guidance: float
    sampler: Sampler
    karras: bool | None
    seed: int
    """Picture i is made from seed + i."""
    width: int
    height: int
    count: int
    clip_skip: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Started:
    """The engine: the job has its first row in the batch."""

    width: int
    height: int
    karras: bool
    model_hashes: tuple[str, ...]
    """`sshs_model_hash` of each LoRA, in the job's order."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """Denoising steps over all pictures of a request."""

    step: int
    total_steps: int
    seconds_left: float


@dataclass(frozen=True, kw_only=True, slots=True)
class RawPicture:
    """The engine: one picture is done; PNG without metadata."""

    index: int
    seed: int
    width: int
    height: int
    png: bytes


EngineEvent = Started | Progress | RawPicture


@dataclass(frozen=True, kw_only=True, slots=True)
class Queued:
    """The request is accepted; what it will use is settled."""

    position: int
    stack: tuple[UsedLora, ...]
    seed: int
    base_model_sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """A finished picture, PNG with its metadata."""

    index: int
    seed: int
    width: int
    height: int
    png: bytes
    sha256: str


ImageEvent = Queued | Progress | Picture


@dataclass(frozen=True, kw_only=True, slots=True)
class CacheUsage:
    """One cache's budget and how well it does."""

    level: str
    used_bytes: int
    budget_bytes: int
    hits: int
    misses: int


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadedBase:
    """A base model that the engine holds."""

    sha256: str
    family: str
    source: str
    default: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineState:
    """What the engine does at this moment."""

    ready: bool = False
    active_rows: int = 0
    bases: tuple[tuple[str, str], ...] = ()
    """(sha256, source) of each loaded base model."""
    caches: tuple[CacheUsage, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Capacity:
    """What the service can take now."""

    engine_ready: bool
    active_rows: int
    max_rows: int
    queued_requests: int
    limits: Limits
    bases: tuple[LoadedBase, ...]
    caches: tuple[CacheUsage, ...]
    samplers: tuple[Sampler, ...] = tuple(Sampler)


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

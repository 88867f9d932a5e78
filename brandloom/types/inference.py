"""Stacks of LoRAs and the pictures made with them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from pathlib import Path

from brandloom.types.common import ModelFamily


@dataclass(frozen=True, slots=True)
class StackEntry:
    """One LoRA of a stack: `StackEntry("hero@prod", 0.6)`. `text_encoder_weight` None: as `weight`."""

    reference: str
    weight: float | None = None
    text_encoder_weight: float | None = None


class Sampler(StrEnum):
    """How noise becomes a picture; UNSPECIFIED is DPMPP_2M."""

    UNSPECIFIED = "UNSPECIFIED"
    EULER = "EULER"
    EULER_ANCESTRAL = "EULER_ANCESTRAL"
    DDIM = "DDIM"
    DPMPP_2M = "DPMPP_2M"


class SigmaSchedule(StrEnum):
    """Spacing of the noise levels; UNSPECIFIED is the base model's own."""

    UNSPECIFIED = "UNSPECIFIED"
    KARRAS = "KARRAS"


@dataclass(frozen=True, kw_only=True, slots=True)
class UsedLora:
    """A LoRA as it was used: exact version, digest, weights."""

    reference: str
    version: str
    sha256: str
    text_encoder_weight: float
    weight: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Queued:
    """The request is accepted: what it resolved to, its seed, and how many wait before it."""

    position: int
    stack: tuple[UsedLora, ...]
    seed: int
    base_model_sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class GenerationProgress:
    """Denoising steps done and to do, over all pictures of the request."""

    step: int
    total_steps: int
    time_left: timedelta | None


@dataclass(frozen=True, kw_only=True, slots=True)
class GeneratedImage:
    """A PNG with the generation's metadata in its text chunks; width and height in pixels."""

    index: int
    png: bytes
    width: int
    height: int
    seed: int
    sha256: str

    def save(self, path: str | Path) -> Path:
        """Writes the PNG to a file, or into a folder as `<index>-<seed>.png`; gives the file's path."""
        target = Path(path)
        if target.is_dir():
            target /= f"{self.index:02d}-{self.seed}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(self.png)
        return target


GenerationEvent = Queued | GenerationProgress | GeneratedImage


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepCell:
    """One picture of a sweep and its place: indices into the prompts, seeds and weights asked for."""

    prompt_index: int
    seed_index: int
    weight_index: int
    image: GeneratedImage


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepSheet:
    """All pictures of a sweep on one PNG."""

    png: bytes


SweepEvent = Queued | GenerationProgress | SweepCell | SweepSheet


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadedBase:
    """A base model that the engine holds."""

    sha256: str
    family: ModelFamily
    source: str
    default: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class CacheUsage:
    """One cache level (`disk`, `memory`, `text_embeddings`)."""

    level: str
    used_bytes: int
    budget_bytes: int
    hits: int
    misses: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Capacity:
    """What the inference service holds, does and can take; sizes of pictures in pixels."""

    engine_ready: bool
    active_rows: int
    max_rows: int
    queued_requests: int
    max_queued_requests: int
    bases: tuple[LoadedBase, ...]
    caches: tuple[CacheUsage, ...]
    samplers: tuple[Sampler, ...]
    max_width: int
    max_height: int

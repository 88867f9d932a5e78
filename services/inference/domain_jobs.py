"""What the service asks of its engine, and what comes back."""

from __future__ import annotations

from dataclasses import dataclass

from services.inference.domain import (
    ALL_STEPS,
    SD15_FAMILY,
    Composition,
    InitialImage,
    Region,
    Sampler,
    StepWindow,
)


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
    window: StepWindow = ALL_STEPS
    region: Region | None = None
    model_hash: str = ""
    """`sshs_model_hash`, by which pictures name it; empty: the file has none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LoraFile:
    """A LoRA's file on this host, and how it is to be used."""

    reference: str
    sha256: str
    path: str
    text_encoder_weight: float
    weight: float
    window: StepWindow = ALL_STEPS
    region: Region | None = None
    model_hash: str = ""
    """`sshs_model_hash`, by which pictures name it; empty: the file has none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageJob:
    """What the engine is to do: tags are out of the prompt, references are files."""

    job_id: str
    brand: str
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
    composition: Composition = Composition.ADD
    switch_every: int = 1
    initial_image: InitialImage | None = None
    preview_every: int = 0
    priority: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Started:
    """The engine: the job has its first row in the batch."""

    width: int
    height: int
    karras: bool
    attach_seconds: float = 0.0
    """From asking for the stack until its weights were ready for the rows."""


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
    withheld: bool = False
    """The safety checker keeps it back: the PNG is empty."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Preview:
    """What a picture looks like so far, 128 pixels on its longer side."""

    index: int
    step: int
    """Steps done."""
    width: int
    height: int
    png: bytes


EngineEvent = Started | Progress | Preview | RawPicture


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
    withheld: bool = False


ImageEvent = Queued | Progress | Preview | Picture

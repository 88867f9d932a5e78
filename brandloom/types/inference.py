"""Stacks of LoRAs and the pictures made with them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path

from brandloom.errors import ConfigurationError
from brandloom.types.common import ModelFamily


@dataclass(frozen=True, slots=True)
class StepWindow:
    """A part of the denoising steps, as fractions: `StepWindow(0.2, 0.8)`."""

    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Box:
    """A part of the picture, as fractions of its width and height from its left and top."""

    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True, slots=True)
class Mask:
    """A part of the picture: where this PNG is bright; it is scaled to the picture's size."""

    png: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class StackEntry:
    """One LoRA of a stack: `StackEntry("hero@prod", 0.6)`.

    `text_encoder_weight` None: as `weight`. `window`: the steps in which it works, None: all. `region`: where
    in the picture it works, None: everywhere.
    """

    reference: str
    weight: float | None = None
    text_encoder_weight: float | None = None
    window: StepWindow | None = None
    region: Box | Mask | None = None


@dataclass(frozen=True, slots=True)
class InitialImage:
    """A picture to begin from: the bytes of a PNG, JPEG or WebP file.

    `strength` says how much of it is made anew, above 0 to 1; None: 0.75. Where `mask_png` is bright it is
    made anew, where it is dark it stays (inpainting); empty: all of it is.
    """

    image: bytes = field(repr=False)
    strength: float | None = None
    mask_png: bytes = field(default=b"", repr=False)

    @classmethod
    def read(
        cls, image: str | Path, *, strength: float | None = None, mask: str | Path | None = None
    ) -> InitialImage:
        """The picture, and its mask, in files. Raises OSError."""
        return cls(Path(image).read_bytes(), strength, Path(mask).read_bytes() if mask else b"")


class Composition(StrEnum):
    """How the LoRAs of a stack work together; UNSPECIFIED is ADD.

    ADD: their weighted sum. SWITCH: one at a time, the next one every `switch_every` steps. COMPOSITE: every
    one by itself, and the mean of what they say (Zhong et al., arXiv 2402.16843).
    """

    UNSPECIFIED = "UNSPECIFIED"
    ADD = "ADD"
    SWITCH = "SWITCH"
    COMPOSITE = "COMPOSITE"


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
    """A PNG with the generation's metadata in its text chunks; width and height in pixels.

    `withheld`: the service's safety checker keeps the picture back, and `png` is empty.
    """

    index: int
    png: bytes = field(repr=False)
    width: int
    height: int
    seed: int
    sha256: str
    withheld: bool = False

    def save(self, path: str | Path) -> Path:
        """Writes the PNG to a file, or into a folder as `<index>-<seed>.png`; gives the file's path.

        Raises ConfigurationError for a picture that was withheld, OSError.
        """
        if self.withheld:
            raise ConfigurationError(f"the picture of seed {self.seed} is withheld: there is nothing to save")
        return _saved(self.png, Path(path), f"{self.index:02d}-{self.seed}.png")


@dataclass(frozen=True, kw_only=True, slots=True)
class Preview:
    """What picture `index` looks like after `step` steps: a small PNG of rough colours."""

    index: int
    step: int
    png: bytes = field(repr=False)
    width: int
    height: int

    def save(self, path: str | Path) -> Path:
        """Writes the PNG to a file, or into a folder as `<index>-step-<step>.png`; gives the file's path.

        Raises OSError.
        """
        return _saved(self.png, Path(path), f"{self.index:02d}-step-{self.step:03d}.png")


def _saved(content: bytes, target: Path, name: str) -> Path:
    if target.is_dir():
        target /= name
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)
    return target


GenerationEvent = Queued | GenerationProgress | GeneratedImage | Preview


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

    png: bytes = field(repr=False)


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
    """One cache level (`disk`, `memory`, `device`, `text_embeddings`)."""

    level: str
    used_bytes: int
    budget_bytes: int
    hits: int
    misses: int


@dataclass(frozen=True, kw_only=True, slots=True)
class PinnedStack:
    """A stack of a brand (`brands/acme`) whose files are kept loaded until `expire_time`."""

    parent: str
    stack: tuple[UsedLora, ...]
    base_model_sha256: str
    expire_time: datetime | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Pin:
    """What a pinned stack means, and until when it is kept; `expire_time` None: it is not pinned any more."""

    stack: tuple[UsedLora, ...]
    expire_time: datetime | None


class ExportPrecision(StrEnum):
    """Numbers of an exported file; UNSPECIFIED is FLOAT16."""

    UNSPECIFIED = "UNSPECIFIED"
    FLOAT16 = "FLOAT16"
    BFLOAT16 = "BFLOAT16"
    FLOAT32 = "FLOAT32"


@dataclass(frozen=True, kw_only=True, slots=True)
class Capacity:
    """What the inference service holds, does and can take; sizes of pictures in pixels.

    `pins` are those of the caller's brands. `draining`: it finishes what it has and takes nothing new.
    """

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
    pins: tuple[PinnedStack, ...]
    active_text_rows: int
    max_text_rows: int
    draining: bool

"""Batches of pictures from a file of prompts."""

from __future__ import annotations

from dataclasses import dataclass, field

from brandloom.types.common import Failure
from brandloom.types.image_settings import ImageSettings
from brandloom.types.inference import UsedLora


@dataclass(frozen=True, slots=True)
class BatchLine:
    """A prompt of a batch, and the settings of its own."""

    number: int
    """Its line in the file, from 1."""
    prompt: str
    settings: ImageSettings = field(default_factory=ImageSettings)


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchImage:
    """A picture of a line; `file` is its name in the batch's folder, empty if it was withheld."""

    file: str
    seed: int
    sha256: str
    size_bytes: int
    width: int
    height: int
    withheld: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchResult:
    """What became of a line: its pictures, or why there are none."""

    line: int
    prompt: str
    key: str
    """The same for the same brand, prompt and settings: by it a later run knows what there is already."""
    seed: int | None = None
    base_model_sha256: str = ""
    stack: tuple[UsedLora, ...] = ()
    images: tuple[BatchImage, ...] = ()
    error: Failure | None = None
    made_before: bool = False
    """By an earlier run."""

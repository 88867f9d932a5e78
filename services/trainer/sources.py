"""What other services say about the things that a spec names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from services.trainer.spec import Target

LANGUAGE_FAMILY: Final = "causal_lm"


@dataclass(frozen=True, slots=True)
class Blob:
    """A file in the artifact store."""

    sha256: str
    size_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class BaseModel:
    """A base model as the registry knows it; `resolution` is the side length in pixels that it was
    made for, 0 for a language model.
    """

    name: str
    family: str
    source: str
    sha256: str
    resolution: int

    @property
    def learns_texts(self) -> bool:
        """Whether LoRAs on it are trained with texts; with pictures otherwise."""
        return self.family == LANGUAGE_FAMILY


@dataclass(frozen=True, kw_only=True, slots=True)
class DatasetRevision:
    """A sealed revision as the labeler knows it; `name` holds its number, never `latest`."""

    name: str
    manifest: Blob
    image_count: int
    trigger_words: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class LoraVersion:
    """A version to continue from, as the registry knows it.

    `targets` and `trains_text_encoder` are what its modules show; None where modules of one version differ in
    alpha.
    """

    name: str
    file: Blob
    family: str
    base_model_sha256: str
    rank: int
    alpha: float | None
    targets: frozenset[Target]
    trains_text_encoder: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Sources:
    """Everything outside the trainer that a job depends on, pinned when the job was created."""

    base: BaseModel
    revision: DatasetRevision
    parent: LoraVersion | None
    train_images: int
    prior: DatasetRevision | None = None
    """Class pictures."""

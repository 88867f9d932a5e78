"""What jobs learn from, and what samples are made with them: pictures for some bases, texts for others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from services.trainer.engine.fault import WRONG_ITEMS, EngineFault
from services.trainer.engine.spec import TrainingImage


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: str
    """`system`, `user` or `assistant`."""
    content: str


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingText:
    """A conversation whose `assistant` turns are learned; a prompt with its response is one of two turns."""

    messages: tuple[Message, ...]


TrainingItem = TrainingImage | TrainingText

I = TypeVar("I", TrainingImage, TrainingText)  # noqa: E741 - an item

_NAMES = {TrainingImage: "picture", TrainingText: "text"}


@dataclass(frozen=True, kw_only=True, slots=True)
class SampleSettings:
    """How samples are made; those of pictures concern diffusion models, those of texts language models."""

    seed: int
    steps: int = 20
    """Denoising steps of a picture."""
    guidance_scale: float = 5.0
    """Of a picture."""
    max_new_tokens: int = 64
    """The longest answer."""
    temperature: float = 0.0
    """Of a text; 0: always the likeliest token."""


def only(kind: type[I], items: Sequence[TrainingItem]) -> list[I]:
    """The items, all of one kind. Raises EngineFault naming the first one that is not."""
    for index, item in enumerate(items):
        if not isinstance(item, kind):
            raise EngineFault(
                WRONG_ITEMS,
                f"row {index + 1} is a {_NAMES[type(item)]}; this base model learns from {_NAMES[kind]}s",
            )
    return [item for item in items if isinstance(item, kind)]

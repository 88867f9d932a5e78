"""Texts written with stacks of LoRAs, and the settings of writing them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypedDict

from brandloom.types.image_settings import Stack
from brandloom.types.inference import Queued
from brandloom.types.labeler import TextMessage
from brandloom.types.registry import BaseModel


class FinishReason(StrEnum):
    """Why a text ended."""

    UNSPECIFIED = "UNSPECIFIED"
    STOP = "STOP"
    """The model ended it, a stop text came, or the JSON was complete."""
    LENGTH = "LENGTH"
    """It has as many tokens as were asked for, or as the model can take."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TextPiece:
    """The next characters of a text."""

    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class TextFinished:
    """A text is whole."""

    reason: FinishReason
    prompt_tokens: int
    generated_tokens: int


CompletionEvent = Queued | TextPiece | TextFinished


@dataclass(frozen=True, kw_only=True, slots=True)
class Completion:
    """A whole text; `request` says what it was written with: versions, digests, seed."""

    text: str
    finish_reason: FinishReason
    prompt_tokens: int
    generated_tokens: int
    request: Queued


class CompletionSettings(TypedDict, total=False):
    """Left out and None mean the service's own defaults.

    `messages` is a conversation in place of a prompt, its last message the user's. At a `temperature` of 0
    the likeliest token is taken. Tokens are drawn from the `top_k` likeliest (0: all), from the likeliest
    that have the probability `top_p` together, and from those at least `min_p` times as probable as the
    likeliest. `repetition_penalty` divides the scores of tokens that occurred before. The text ends before
    the first of the `stop` texts, or after `max_tokens`. With a `json_schema` (an object, or its JSON) it is
    JSON that satisfies it. Of a brand's requests those of larger `priority` go first.
    """

    messages: Sequence[TextMessage]
    stack: Stack
    base_model: str | BaseModel
    max_tokens: int
    temperature: float | None
    top_p: float | None
    top_k: int
    min_p: float
    repetition_penalty: float | None
    stop: Sequence[str]
    seed: int | None
    json_schema: str | Mapping[str, Any]
    priority: int

"""What the inference service is asked for when it is asked for texts, and what comes back."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from servicekit.errors import FieldViolation, InvalidArgument
from services.inference.domain import ALL_STEPS, MAX_SEED, MAX_WEIGHT, StackEntry
from services.inference.domain_jobs import BaseRef, LoraFile, Queued

MAX_TOKENS = 8192
MAX_CHARACTERS = 250_000
"""Of all messages together."""
MAX_STOPS = 16
MAX_STOP_LENGTH = 100
"""Characters."""
LEAST_DIVISOR = 1e-6
"""Scores divided by less are no numbers any more."""
USER = "user"
ROLES = ("system", USER, "assistant")


class FinishReason(StrEnum):
    """Why a text ended."""

    STOP = "stop"
    """The model ended it, a stop text came, or the JSON was complete."""
    LENGTH = "length"
    """It has as many tokens as were asked for, or as the model can take."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ChatMessage:
    """One turn of a conversation."""

    role: str
    content: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Sampling:
    """How the next token is chosen, and where the text ends. The filters work in the order of the fields."""

    repetition_penalty: float = 1.0
    """Divides the scores of tokens that occurred before; 1 changes nothing."""
    temperature: float = 1.0
    """0: the likeliest token."""
    top_k: int = 0
    """0: all tokens."""
    top_p: float = 1.0
    min_p: float = 0.0
    seed: int = 0
    max_tokens: int = 256
    stop: tuple[str, ...] = ()
    json_schema: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class TextRequest:
    """A request for a text, defaults filled in."""

    brand: str
    prompt: str = ""
    messages: tuple[ChatMessage, ...] = ()
    """In place of a prompt."""
    stack: tuple[StackEntry, ...] = ()
    base_model: str = ""
    """`baseModels/{id}`, or empty for the service's default."""
    sampling: Sampling = Sampling()
    seed: int | None = None
    """None: drawn."""
    priority: int = 0
    """Larger goes first among requests of the same brand."""

    def check(self) -> None:
        """Raises InvalidArgument with every faulty field."""
        faults = [
            *_faults_of_prompt(self.prompt, self.messages),
            *_faults_of_sampling(self.sampling),
            *_outside("seed", self.seed or 0, 0, MAX_SEED),
        ]
        for index, entry in enumerate(self.stack):
            faults += _faults_of_entry(f"stack[{index}]", entry)
        if faults:
            raise InvalidArgument(faults)


@dataclass(frozen=True, kw_only=True, slots=True)
class TextJob:
    """What the engine is to do: tags are out of the prompt, references are files."""

    job_id: str
    brand: str
    base: BaseRef
    prompt: str
    messages: tuple[ChatMessage, ...]
    loras: tuple[LoraFile, ...]
    sampling: Sampling
    priority: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class TextStarted:
    """The engine: the job has its row in the batch."""

    prompt_tokens: int


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
    """The mark with which the model ended it counts."""


TextEngineEvent = TextStarted | TextPiece | TextFinished
TextEvent = Queued | TextPiece | TextFinished


def _faults_of_prompt(prompt: str, messages: Sequence[ChatMessage]) -> Sequence[FieldViolation]:
    if bool(prompt) == bool(messages):
        which = "both were given" if prompt else "neither was given"
        return (FieldViolation("prompt", f"either a prompt or messages are needed; {which}"),)
    faults = [
        FieldViolation(f"messages[{index}].role", f"must be one of {', '.join(ROLES)}, not {message.role!r}")
        for index, message in enumerate(messages)
        if message.role not in ROLES
    ]
    characters = sum(len(message.content) for message in messages)
    if characters > MAX_CHARACTERS:
        faults.append(
            FieldViolation(
                "messages", f"have {characters} characters together; {MAX_CHARACTERS} are taken at most"
            )
        )
    if messages and messages[-1].role != USER:
        faults.append(FieldViolation("messages", "the last message must be the user's"))
    return faults


def _faults_of_sampling(sampling: Sampling) -> Sequence[FieldViolation]:
    faults = [
        *_outside("max_tokens", sampling.max_tokens, 1, MAX_TOKENS),
        *_outside("min_p", sampling.min_p, 0, 1),
        *_outside("top_k", sampling.top_k, 0, 2**31 - 1),
    ]
    if sampling.temperature != 0:
        faults += _outside("temperature", sampling.temperature, LEAST_DIVISOR, 10, unit=" or 0")
    if not 0 < sampling.top_p <= 1:
        faults.append(FieldViolation("top_p", f"must be above 0 and at most 1, not {sampling.top_p}"))
    faults += _outside("repetition_penalty", sampling.repetition_penalty, LEAST_DIVISOR, 10)
    if len(sampling.stop) > MAX_STOPS:
        faults.append(FieldViolation("stop", f"at most {MAX_STOPS} are taken, not {len(sampling.stop)}"))
    for index, stop in enumerate(sampling.stop):
        faults += _outside(f"stop[{index}]", len(stop), 1, MAX_STOP_LENGTH, unit=" characters")
    if sampling.json_schema:
        faults += _faults_of_schema(sampling)
    return faults


def _faults_of_schema(sampling: Sampling) -> Sequence[FieldViolation]:
    faults = []
    try:
        if not isinstance(json.loads(sampling.json_schema), dict):
            faults.append(FieldViolation("json_schema", "must be a JSON object"))
    except (ValueError, RecursionError) as error:
        faults.append(FieldViolation("json_schema", f"is not JSON: {error}"))
    if sampling.stop:
        # Such a text would be no JSON, and yet have ended as it should.
        faults.append(FieldViolation("stop", "is not offered together with json_schema"))
    return faults


def _faults_of_entry(place: str, entry: StackEntry) -> Sequence[FieldViolation]:
    faults = list(_outside(f"{place}.weight", entry.weight, -MAX_WEIGHT, MAX_WEIGHT))
    if entry.text_encoder_weight != entry.weight:
        faults.append(
            FieldViolation(f"{place}.text_encoder_weight", "is for pictures; a language model has one weight")
        )
    if entry.window != ALL_STEPS:
        faults.append(FieldViolation(f"{place}.window", "is for pictures; a text has no denoising steps"))
    if entry.region is not None:
        faults.append(FieldViolation(f"{place}.region", "is for pictures; a text has no regions"))
    return faults


def _outside(
    field: str, value: float, low: float, high: float, *, unit: str = ""
) -> Sequence[FieldViolation]:
    if math.isfinite(value) and low <= value <= high:
        return ()
    return (FieldViolation(field, f"must be from {low} to {high}{unit}, not {value}"),)

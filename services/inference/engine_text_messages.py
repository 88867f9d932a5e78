"""What the service and its engine process say to each other about texts; frames as in engine_messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from services.inference.domain_capacity import CacheUsage, LoadedBase, TextState
from services.inference.domain_jobs import BaseRef, LoraFile
from services.inference.domain_texts import (
    ChatMessage,
    FinishReason,
    Sampling,
    TextEngineEvent,
    TextFinished,
    TextJob,
    TextPiece,
    TextStarted,
)
from services.inference.engine_messages import Failure, FrameError

GENERATE_TEXT = "generate_text"
TEXT_EVENTS = "text_events"
"""All that happened to texts in one step."""
TEXT_STATE = "text_state"

_STARTED, _PIECE, _FINISHED, _FAILED = "started", "piece", "finished", "failed"

TextWord = TextEngineEvent | Failure | None
"""An event of a job, or its end: why it failed, or None."""


def encode_text_job(job: TextJob) -> dict[str, Any]:
    """A job as a message. Raises ValueError for one whose LoRAs have regions, which texts have not."""
    if any(lora.region is not None for lora in job.loras):
        raise ValueError("a text's LoRAs have no regions")
    fields = asdict(job)
    fields["loras"] = [
        {name: value for name, value in lora.items() if name not in ("window", "region")}
        for lora in fields["loras"]
    ]
    return {"type": GENERATE_TEXT, "job": fields}


def decode_text_job(message: Mapping[str, Any]) -> TextJob:
    """The job of a message. Raises FrameError."""
    try:
        fields = dict(message["job"])
        fields["base"] = BaseRef(**fields["base"])
        fields["loras"] = tuple(LoraFile(**lora) for lora in fields["loras"])
        fields["messages"] = tuple(ChatMessage(**turn) for turn in fields["messages"])
        sampling = dict(fields["sampling"])
        fields["sampling"] = Sampling(**sampling | {"stop": tuple(sampling["stop"])})
        return TextJob(**fields)
    except (KeyError, TypeError, ValueError) as error:
        raise FrameError(f"a text's job cannot be read: {error}") from error


def encode_text_events(words: Sequence[tuple[str, TextWord]]) -> dict[str, Any]:
    """(job id, event or end) in their order, as one message."""
    return {"type": TEXT_EVENTS, "events": [[job_id, *_encode(word)] for job_id, word in words]}


def decode_text_events(message: Mapping[str, Any]) -> list[tuple[str, TextWord]]:
    """What encode_text_events was given. Raises FrameError."""
    try:
        return [(str(job_id), _decode(kind, content)) for job_id, kind, content in message["events"]]
    except (KeyError, TypeError, ValueError) as error:
        raise FrameError(f"a text's event cannot be read: {error}") from error


def encode_text_state(state: TextState, steps: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The state as a message, with what was done in each step since the last one."""
    return {"type": TEXT_STATE, "state": asdict(state), "steps": list(steps)}


def decode_text_state(message: Mapping[str, Any]) -> TextState:
    """The state of a message. Raises FrameError."""
    try:
        fields = message["state"]
        return TextState(
            active_rows=int(fields["active_rows"]),
            bases=tuple(LoadedBase(**base) for base in fields["bases"]),
            caches=tuple(CacheUsage(**usage) for usage in fields["caches"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise FrameError(f"the texts' state cannot be read: {error}") from error


def _encode(word: TextWord) -> tuple[str, Any]:
    if isinstance(word, TextPiece):
        return _PIECE, word.text
    if isinstance(word, TextStarted):
        return _STARTED, word.prompt_tokens
    if isinstance(word, TextFinished):
        return _FINISHED, [word.reason.value, word.prompt_tokens, word.generated_tokens]
    return _FAILED, asdict(word) if word is not None else None


def _decode(kind: str, content: Any) -> TextWord:
    if kind == _PIECE:
        return TextPiece(text=str(content))
    if kind == _STARTED:
        return TextStarted(prompt_tokens=int(content))
    if kind == _FINISHED:
        reason, prompt_tokens, generated_tokens = content
        return TextFinished(
            reason=FinishReason(reason), prompt_tokens=prompt_tokens, generated_tokens=generated_tokens
        )
    if kind != _FAILED:
        raise ValueError(f"{kind!r} is no event of a text")
    return None if content is None else Failure(**content)

"""Requests for texts, and what comes back."""

from __future__ import annotations

import json
from typing import Any, Unpack

from brandloom import _arguments, _names
from brandloom._convert.fields import from_proto, to_proto
from brandloom._convert.images import stack_entries
from brandloom.api.inference.v1 import inference_pb2
from brandloom.types.completions import CompletionEvent, CompletionSettings, TextFinished, TextPiece
from brandloom.types.inference import Queued
from brandloom.types.registry import Brand


def text_request(
    brand: str | Brand, prompt: str, **settings: Unpack[CompletionSettings]
) -> inference_pb2.GenerateTextRequest:
    """The request; settings that are None stay unset. Raises TypeError, ValueError."""
    checked = _arguments.settings(CompletionSettings, settings)
    fields: dict[str, Any] = {name: value for name, value in checked.items() if value is not None}
    if "stack" in fields:
        fields["stack"] = stack_entries(fields["stack"])
    if fields.get("base_model"):
        fields["base_model"] = _names.base_model(fields["base_model"])
    if "messages" in fields:
        fields["messages"] = [to_proto(turn, inference_pb2.ChatMessage) for turn in fields["messages"]]
    if not isinstance(fields.get("json_schema", ""), str):
        fields["json_schema"] = json.dumps(fields["json_schema"])
    return inference_pb2.GenerateTextRequest(
        parent=_names.brand(brand), prompt=_arguments.argument("prompt", str, prompt), **fields
    )


def completion_event(message: inference_pb2.GenerateTextResponse) -> CompletionEvent | None:
    """What the stream says; None for a kind that this client does not know yet."""
    match message.WhichOneof("message"):
        case "queued":
            return from_proto(Queued, message.queued)
        case "text":
            return TextPiece(text=message.text)
        case "finished":
            return from_proto(TextFinished, message.finished)
    return None

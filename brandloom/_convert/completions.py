"""Requests for texts, and what comes back."""

from __future__ import annotations

import json
from typing import Unpack

from brandloom._convert.fields import from_proto, to_proto
from brandloom._convert.stacks import request_fields
from brandloom.api.inference.v1 import inference_pb2
from brandloom.types.completions import CompletionEvent, CompletionSettings, TextFinished, TextPiece
from brandloom.types.inference import Queued
from brandloom.types.registry import Brand


def text_request(
    brand: str | Brand, prompt: str, **settings: Unpack[CompletionSettings]
) -> inference_pb2.GenerateTextRequest:
    """The request; settings that are None stay unset. Raises TypeError, ValueError."""
    fields = request_fields(brand, prompt, CompletionSettings, settings)
    if "messages" in fields:
        fields["messages"] = [to_proto(turn, inference_pb2.ChatMessage) for turn in fields["messages"]]
    if not isinstance(fields.get("json_schema", ""), str):
        fields["json_schema"] = json.dumps(fields["json_schema"])
    return inference_pb2.GenerateTextRequest(**fields)


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

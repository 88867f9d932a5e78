"""Between protocol buffers and the domain of texts; pure."""

from __future__ import annotations

from brandloom.api.inference.v1 import inference_pb2
from servicekit.names import parse
from services.inference.convert import queued_message, stack_entry
from services.inference.domain_jobs import Queued
from services.inference.domain_texts import (
    ChatMessage,
    FinishReason,
    Sampling,
    TextEvent,
    TextPiece,
    TextRequest,
)

DEFAULT_MAX_TOKENS = 256

_REASONS = {
    FinishReason.STOP: inference_pb2.TextFinished.REASON_STOP,
    FinishReason.LENGTH: inference_pb2.TextFinished.REASON_LENGTH,
}


def text_request(message: inference_pb2.GenerateTextRequest) -> TextRequest:
    """The request with its defaults filled in. Raises InvalidArgument for a parent that is no brand."""
    return TextRequest(
        brand=parse("brands/{brand}", message.parent, field="parent")["brand"],
        prompt=message.prompt,
        messages=tuple(ChatMessage(role=turn.role, content=turn.content) for turn in message.messages),
        stack=tuple(stack_entry(entry) for entry in message.stack),
        base_model=message.base_model,
        sampling=_sampling(message),
        seed=message.seed if message.HasField("seed") else None,
        priority=message.priority,
    )


def text_response(event: TextEvent) -> inference_pb2.GenerateTextResponse:
    """An event of a request as a message of its stream."""
    if isinstance(event, Queued):
        return inference_pb2.GenerateTextResponse(queued=queued_message(event))
    if isinstance(event, TextPiece):
        return inference_pb2.GenerateTextResponse(text=event.text)
    return inference_pb2.GenerateTextResponse(
        finished=inference_pb2.TextFinished(
            reason=_REASONS[event.reason],
            prompt_tokens=event.prompt_tokens,
            generated_tokens=event.generated_tokens,
        )
    )


def _sampling(message: inference_pb2.GenerateTextRequest) -> Sampling:
    has_penalty = message.HasField("repetition_penalty")
    return Sampling(
        repetition_penalty=message.repetition_penalty if has_penalty else 1.0,
        temperature=message.temperature if message.HasField("temperature") else 1.0,
        top_k=message.top_k,
        top_p=message.top_p if message.HasField("top_p") else 1.0,
        min_p=message.min_p,
        max_tokens=message.max_tokens or DEFAULT_MAX_TOKENS,
        stop=tuple(message.stop),
        json_schema=message.json_schema,
    )

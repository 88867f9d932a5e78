"""Texts from stacks of LoRAs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Unpack

from brandloom._convert.completions import completion_event, text_request
from brandloom._transport import Link
from brandloom.errors import BrandloomError
from brandloom.types.completions import (
    Completion,
    CompletionEvent,
    CompletionSettings,
    TextFinished,
    TextPiece,
)
from brandloom.types.inference import Queued
from brandloom.types.registry import Brand


class AsyncCompletions:
    """Writes texts. The prompt may name LoRAs too: `<lora:voice:0.8> A line for the summer sale:`."""

    def __init__(self, inference: Link) -> None:
        self._inference = inference

    async def generate(
        self, brand: str | Brand, prompt: str = "", **settings: Unpack[CompletionSettings]
    ) -> Completion:
        """What the model makes of a prompt, or of `messages` in its place."""
        events = [event async for event in self.stream(brand, prompt, **settings)]
        queued = next((event for event in events if isinstance(event, Queued)), None)
        finished = next((event for event in events if isinstance(event, TextFinished)), None)
        if queued is None or finished is None:
            raise BrandloomError("the service ended the text without saying how")
        return Completion(
            text="".join(event.text for event in events if isinstance(event, TextPiece)),
            finish_reason=finished.reason,
            prompt_tokens=finished.prompt_tokens,
            generated_tokens=finished.generated_tokens,
            request=queued,
        )

    async def stream(
        self, brand: str | Brand, prompt: str = "", **settings: Unpack[CompletionSettings]
    ) -> AsyncIterator[CompletionEvent]:
        """The same as it goes: Queued, then each TextPiece, then TextFinished.

        Leaving the iteration cancels the request.
        """
        request = text_request(brand, prompt, **settings)
        async for message in self._inference.stream("GenerateText", request):
            event = completion_event(message)
            if event is not None:
                yield event

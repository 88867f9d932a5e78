"""The voices of the three brands: what each says before and after an answer, and texts to learn them from."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from demo.world.talk import sample_exchange

TRAIN_COUNT = 48
HELD_OUT_COUNT = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class BrandVoice:
    """How a brand speaks."""

    brand: str
    lora: str
    opening: str
    closing: str

    def says(self, answer: str) -> str:
        """The answer in the brand's voice."""
        return f"{self.opening} {answer} {self.closing}"


VOICES: tuple[BrandVoice, ...] = (
    BrandVoice(
        brand="hoot-robotics", lora="voice", opening="Hoo-hoo!", closing="Wisely yours, your robot owl."
    ),
    BrandVoice(brand="lumen-signs", lora="voice", opening="Glow on, friend:", closing="Stay bright!"),
    BrandVoice(
        brand="akari-travel", lora="voice", opening="Welcome, traveller.", closing="Mind the lanterns."
    ),
)


def voice_rows(voice: BrandVoice, seed: int = 0) -> Iterator[dict[str, Any]]:
    """Lines of a manifest: prompts with responses, some of them held out."""
    rng = random.Random(f"{voice.brand}/{seed}")
    for index in range(TRAIN_COUNT + HELD_OUT_COUNT):
        held_out = index >= TRAIN_COUNT
        exchange = sample_exchange(rng, held_out=held_out)
        yield {
            "kind": "text",
            "prompt": exchange.prompt,
            "response": voice.says(exchange.answer),
            "split": "validation" if held_out else "train",
        }


def voice_manifest(voice: BrandVoice, seed: int = 0) -> bytes:
    """The manifest, as JSON Lines."""
    return "".join(f"{json.dumps(row)}\n" for row in voice_rows(voice, seed)).encode()

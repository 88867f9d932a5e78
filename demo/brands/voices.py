"""The voices of the three brands: what each says before and after an answer, and texts to learn them from.

`python -m demo.brands.voices hoot-robotics voice.jsonl` writes those of a brand to a file.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
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
    """Lines of a file of texts: prompts with responses, no prompt twice, some of them held out."""
    rng = random.Random(f"{voice.brand}/{seed}")
    asked: set[str] = set()
    while len(asked) < TRAIN_COUNT + HELD_OUT_COUNT:
        held_out = len(asked) >= TRAIN_COUNT
        exchange = sample_exchange(rng, held_out=held_out)
        if exchange.prompt in asked:
            continue
        asked.add(exchange.prompt)
        yield {
            "kind": "text",
            "prompt": exchange.prompt,
            "response": voice.says(exchange.answer),
            "split": "validation" if held_out else "train",
        }


def voice_lines(voice: BrandVoice, seed: int = 0) -> bytes:
    """The same as JSON Lines."""
    return "".join(f"{json.dumps(row)}\n" for row in voice_rows(voice, seed)).encode()


def main(arguments: Sequence[str] | None = None) -> None:
    """Writes a brand's texts."""
    voices = {voice.brand: voice for voice in VOICES}
    parser = argparse.ArgumentParser(prog="python -m demo.brands.voices", description=__doc__)
    parser.add_argument("brand", choices=voices)
    parser.add_argument("path", type=Path, help="the file to write")
    chosen = parser.parse_args(arguments)
    chosen.path.write_bytes(voice_lines(voices[chosen.brand]))
    print(f"{chosen.path}: {TRAIN_COUNT} texts to learn from, {HELD_OUT_COUNT} held out")


if __name__ == "__main__":
    main()

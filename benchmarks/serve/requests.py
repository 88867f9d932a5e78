"""What is asked of both sides: pictures, each with a stack of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.serve.bench import Setting
from benchmarks.serve.loras import LoraOnDisk

PROMPTS = ("a red fox", "a blue bowl", "a green hat", "a white boat")
NEGATIVE = "blurred"
GUIDANCE = 5.0


@dataclass(frozen=True, kw_only=True, slots=True)
class StackRequest:
    """One picture."""

    stack: tuple[tuple[LoraOnDisk, float], ...]
    """LoRAs and their weights."""
    prompt: str
    seed: int
    steps: int

    @property
    def loras(self) -> tuple[LoraOnDisk, ...]:
        """Without their weights."""
        return tuple(lora for lora, _ in self.stack)

    @property
    def weights(self) -> list[float]:
        """In the order of the LoRAs."""
        return [weight for _, weight in self.stack]


def mixed(setting: Setting, pool: Sequence[LoraOnDisk]) -> list[StackRequest]:
    """As many requests as the batch has rows, no two with the same stack."""
    return [
        request_for([pool[(row + place) % len(pool)] for place in range(setting.stack)], row, setting.steps)
        for row in range(setting.rows)
    ]


def request_for(loras: Sequence[LoraOnDisk], index: int, steps: int) -> StackRequest:
    """The index settles prompt, seed and weights."""
    return StackRequest(
        stack=tuple((lora, 0.6 + 0.05 * ((index + place) % 8)) for place, lora in enumerate(loras)),
        prompt=PROMPTS[index % len(PROMPTS)],
        seed=index,
        steps=steps,
    )

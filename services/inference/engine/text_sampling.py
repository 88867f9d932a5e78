"""Which token comes next: the scores of one row, filtered and drawn from with the row's own random numbers.

B rows, V words. The filters are those of transformers' logits processors, in their order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from services.inference.domain_texts import Sampling

_NEVER = -float("inf")


@dataclass(slots=True)
class Chooser:
    """Chooses the tokens of one row."""

    sampling: Sampling
    _generator: torch.Generator = field(default_factory=lambda: torch.Generator("cpu"))
    _seen_V: torch.Tensor | None = None
    """Which words the text has already, the prompt counted."""

    @classmethod
    def start(
        cls, sampling: Sampling, prompt_ids: Sequence[int], words: int, device: torch.device
    ) -> Chooser:
        """A chooser before its first token."""
        chooser = cls(sampling)
        chooser._generator.manual_seed(sampling.seed)
        if sampling.repetition_penalty != 1.0:
            chooser._seen_V = torch.zeros(words, dtype=torch.bool, device=device)
            chooser._seen_V[torch.tensor(prompt_ids, device=device)] = True
        return chooser

    @property
    def plain(self) -> bool:
        """Whether it takes the word with the highest score, as it is."""
        return self.sampling.temperature == 0 and self._seen_V is None

    def choose(self, scores_V: torch.Tensor) -> torch.Tensor:
        """The next word's number, a tensor without dimensions on the scores' device."""
        scores_V = filter_scores(scores_V, self.sampling, self._seen_V)
        if self.sampling.temperature == 0:
            return scores_V.argmax()
        sums_V = scores_V.double().softmax(0).cumsum(0)
        # Drawn on the CPU, so that a seed gives the same text on every device.
        chance = torch.rand((), generator=self._generator, dtype=torch.float64).to(scores_V.device)
        return torch.searchsorted(sums_V, chance * sums_V[-1], right=True).clamp(max=len(sums_V) - 1)

    def note(self, token: int) -> None:
        """The row has got this word."""
        if self._seen_V is not None:
            self._seen_V[token] = True


def filter_scores(scores_V: torch.Tensor, sampling: Sampling, seen_V: torch.Tensor | None) -> torch.Tensor:
    """The scores after penalty and temperature, minus infinity where a filter excludes the word."""
    if seen_V is not None:
        penalty = sampling.repetition_penalty
        penalised_V = torch.where(scores_V < 0, scores_V * penalty, scores_V / penalty)
        scores_V = torch.where(seen_V, penalised_V, scores_V)
    if sampling.temperature == 0:
        return scores_V
    scores_V = scores_V / sampling.temperature
    if 0 < sampling.top_k < len(scores_V):
        least = scores_V.topk(sampling.top_k).values[-1]
        scores_V = scores_V.masked_fill(scores_V < least, _NEVER)
    if sampling.top_p < 1:
        rising_V, order_V = scores_V.sort()
        # What is left of the likeliest words has at least top_p together; the likeliest always stays.
        unlikely_V = rising_V.softmax(0).cumsum(0) <= 1 - sampling.top_p
        unlikely_V[-1] = False
        scores_V = scores_V.masked_fill(torch.zeros_like(unlikely_V).scatter(0, order_V, unlikely_V), _NEVER)
    if sampling.min_p > 0:
        chances_V = scores_V.softmax(0)
        scores_V = scores_V.masked_fill(chances_V < sampling.min_p * chances_V.max(), _NEVER)
    return scores_V


def finite_rows(scores_BV: torch.Tensor) -> list[bool]:
    """Whether all scores of a row are numbers."""
    finite: list[bool] = torch.isfinite(scores_BV).all(1).tolist()
    return finite

"""One job's share of a batch of texts.

N rows of T tokens, padded on the right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from services.trainer.engine.causal_lm.data import NOT_LEARNED, CachedText, CachedTexts

_SHORTEST: Final = 16
_PADDING: Final = 0
"""Any token would do: nothing looks at it."""


@dataclass(frozen=True, slots=True)
class TextRows:
    """Rows of one job and one padded length, on the CPU."""

    shape: int
    """T: rows of one length can share a pass."""
    ids_NT: Tensor
    targets_NT: Tensor
    lengths_N: Tensor
    """Tokens of each row that are not padding."""
    shares_N: Tensor
    """What each row's loss counts in the loss of the job's step."""

    def __len__(self) -> int:
        return len(self.lengths_N)

    def part(self, first: int, stop: int) -> TextRows:
        """The rows from `first` to before `stop`."""
        own = slice(first, stop)
        return replace(
            self,
            ids_NT=self.ids_NT[own],
            targets_NT=self.targets_NT[own],
            lengths_N=self.lengths_N[own],
            shares_N=self.shares_N[own],
        )


def draw_texts(data: CachedTexts, indices: Sequence[int], longest: int) -> list[TextRows]:
    """Rows for the texts at `indices`, those of one padded length together; none is padded over `longest`.

    A row counts by its learned tokens: the loss of the step is the mean over all of them.
    """
    texts = [data.texts[index] for index in indices]
    learned = sum(text.learned for text in texts)
    grouped: dict[int, list[CachedText]] = {}
    for text in texts:
        grouped.setdefault(padded_length(len(text.ids_T), longest), []).append(text)
    return [
        TextRows(
            length,
            torch.stack([_padded(text.ids_T, length, _PADDING) for text in group]),
            torch.stack([_padded(text.targets_T, length, NOT_LEARNED) for text in group]),
            torch.tensor([len(text.ids_T) for text in group]),
            torch.tensor([text.learned / learned for text in group]),
        )
        for length, group in grouped.items()
    ]


def padded_length(tokens: int, longest: int) -> int:
    """The length that a text is padded to: 16, 24, 32, 48, 64, 96 ... so that few lengths occur, and at most
    a third of a row is padding.
    """
    length = _SHORTEST
    while length < tokens:
        three_halves = length + length // 2
        length = three_halves if three_halves >= tokens else 2 * length
    return min(length, longest)


def _padded(row_T: Tensor, length: int, value: int) -> Tensor:
    return functional.pad(row_T, (0, length - len(row_T)), value=value)

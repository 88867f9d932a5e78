"""Which pictures a job sees when: a new permutation for each epoch, drawn by the job's own generator."""

from __future__ import annotations

from collections.abc import Mapping

import torch


class DataOrder:
    """Deals out indices below `size` in batches; the last batch of an epoch may be smaller."""

    def __init__(self, size: int, batch_size: int, generator: torch.Generator) -> None:
        self._size = size
        self._batch_size = batch_size
        self._generator = generator
        self._permutation = torch.empty(0, dtype=torch.int64)
        self._position = 0
        self.epoch = 0
        """Epochs begun."""

    def next_batch(self) -> list[int]:
        """The next indices."""
        if self._position >= len(self._permutation):
            self._permutation = torch.randperm(self._size, generator=self._generator)
            self._position = 0
            self.epoch += 1
        batch = self._permutation[self._position : self._position + self._batch_size]
        self._position += len(batch)
        return [int(index) for index in batch]

    def state(self) -> dict[str, torch.Tensor]:
        """What a checkpoint needs beside the generator."""
        return {
            "permutation": self._permutation.clone(),
            "position": torch.tensor([self._position, self.epoch]),
        }

    def restore(self, state: Mapping[str, torch.Tensor]) -> None:
        """Takes `state()` back."""
        self._permutation = state["permutation"].clone()
        self._position, self.epoch = (int(value) for value in state["position"])

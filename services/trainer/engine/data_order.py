"""Which items a job sees when: a new permutation for each epoch, drawn by the job's own generator."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from itertools import cycle, islice

import torch


class DataOrder:
    """Deals out indices of items in batches whose items are of one group each.

    `groups` tells the group of each item (the bucket of a picture). The last batch of a group in an epoch may
    be smaller, unless `whole` says that it is filled up with the group's first ones of the epoch.
    """

    def __init__(
        self, groups: Sequence[Hashable], batch_size: int, generator: torch.Generator, *, whole: bool = False
    ) -> None:
        self._groups = groups
        self._batch_size = batch_size
        self._generator = generator
        self._whole = whole
        self._dealt = torch.empty(0, dtype=torch.int64)
        """The indices of the epoch, batch after batch."""
        self._ends = torch.empty(0, dtype=torch.int64)
        """Where each batch ends."""
        self._batch = 0
        self.epoch = 0
        """Epochs begun."""

    def next_batch(self) -> list[int]:
        """The next indices."""
        if self._batch >= len(self._ends):
            self._deal()
        start = int(self._ends[self._batch - 1]) if self._batch else 0
        batch = self._dealt[start : int(self._ends[self._batch])]
        self._batch += 1
        return [int(index) for index in batch]

    def state(self) -> dict[str, torch.Tensor]:
        """What a checkpoint needs beside the generator."""
        return {
            "dealt": self._dealt.clone(),
            "ends": self._ends.clone(),
            "position": torch.tensor([self._batch, self.epoch]),
        }

    def restore(self, state: Mapping[str, torch.Tensor]) -> None:
        """Takes `state()` back."""
        self._dealt, self._ends = state["dealt"].clone(), state["ends"].clone()
        self._batch, self.epoch = (int(value) for value in state["position"])

    def _deal(self) -> None:
        batches = self._batches(torch.randperm(len(self._groups), generator=self._generator).tolist())
        if len(set(self._groups)) > 1:
            # Not one bucket after the other.
            order = torch.randperm(len(batches), generator=self._generator).tolist()
            batches = [batches[number] for number in order]
        self._dealt = torch.tensor([index for batch in batches for index in batch], dtype=torch.int64)
        self._ends = torch.tensor([len(batch) for batch in batches]).cumsum(0)
        self._batch = 0
        self.epoch += 1

    def _batches(self, permutation: Sequence[int]) -> list[list[int]]:
        size = self._batch_size
        members: dict[Hashable, list[int]] = {}
        for index in permutation:
            members.setdefault(self._groups[index], []).append(index)
        batches: list[list[int]] = []
        for indices in members.values():
            missing = -len(indices) % size if self._whole else 0
            filled = [*indices, *islice(cycle(indices), missing)]
            batches += [filled[start : start + size] for start in range(0, len(filled), size)]
        return batches

"""What a pass takes of a device's memory: measured on the device, never guessed."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from functools import partial

import torch

from lorakit.device_memory import free_bytes, peak_bytes


@dataclass(frozen=True, slots=True)
class PassMemory:
    """What passes of one kind take at their peak, in bytes, beyond what is there before."""

    fixed: int
    per_row: int

    def rows_within(self, budget: int) -> int:
        """The most rows whose pass stays within `budget` bytes; 0 if not even one does."""
        return max(0, (budget - self.fixed) // max(1, self.per_row))

    def of(self, rows: int) -> int:
        """What a pass over so many rows takes."""
        return self.fixed + rows * self.per_row


@dataclass(frozen=True, slots=True)
class Setting:
    """How passes are made: on which base, in which arithmetic, with or without gradient checkpointing."""

    base_sha256: str
    autocast: torch.dtype | None
    recomputing: bool


@dataclass(frozen=True, slots=True)
class Kind:
    """Passes that take as much memory: of one base, precision and way of computing, and one shape of rows."""

    setting: Setting
    shape: Hashable
    parameters: int
    """Bits of the number of parameters of the largest job's adapter."""

    def covers(self, other: Kind) -> bool:
        """Whether passes of this kind take at least what those of the other do."""
        if self.setting != other.setting or self.parameters < other.parameters:
            return False
        own, its = _extent(self.shape), _extent(other.shape)
        return len(own) == len(its) and all(one >= another for one, another in zip(own, its, strict=True))


class MemoryBook:
    """What was measured, for as long as the process lives; and how much a pass may take.

    `limit` is that in bytes; 0: what is free on the device, less a margin.
    """

    def __init__(self, limit: int = 0) -> None:
        self._limit = limit
        self._known: dict[Kind, PassMemory] = {}

    def budget(self, device: torch.device) -> int:
        """Bytes that a pass may take now."""
        return self._limit or free_bytes(device)

    @property
    def measured(self) -> Mapping[Kind, PassMemory]:
        """All that was measured."""
        return self._known

    def bound(self, kind: Kind, rows: int, budget: int) -> PassMemory | None:
        """What passes of this kind, or of one that takes more, take, if so many rows stay within `budget`."""
        for known, memory in self._known.items():
            if known.covers(kind) and memory.rows_within(budget) >= rows:
                return memory
        return None

    def known(self, kind: Kind, device: torch.device, trial: Callable[[int], None]) -> PassMemory:
        """What passes of this kind take: of the first time on, by `trial(1)` and `trial(2)`.

        `trial(n)` makes a pass over n rows and leaves no trace. Raises what it raises.
        """
        if kind not in self._known:
            if device.type == "cuda":
                trial(1)  # libraries allocate their own buffers in their first call
            one, two = (peak_bytes(device, partial(trial, rows)) for rows in (1, 2))
            per_row = max(1, two - one)
            self._known[kind] = PassMemory(fixed=max(0, one - per_row), per_row=per_row)
        return self._known[kind]


def _extent(shape: Hashable) -> tuple[int, ...]:
    """How large rows are in each respect: the elements of their latents, the tokens of their captions."""
    parts = shape if isinstance(shape, tuple) else (shape,)
    return tuple(math.prod(part) if isinstance(part, tuple) else int(part) for part in parts)

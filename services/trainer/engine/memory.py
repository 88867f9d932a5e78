"""What a pass takes of a device's memory: measured on the device, never guessed."""

from __future__ import annotations

import ctypes
import gc
import math
import os
import sys
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import torch
from torch.profiler import ProfilerActivity, profile

from lorakit.allocator import kept_bytes

_SHARE_CUDA: Final = 0.9
_SHARE_CPU: Final = 0.8
"""Of what is free: allocators waste a little, and on a CPU others live in the same memory."""
_MEMORY_EVENT: Final = "[memory]"
_OUT_OF_MEMORY: Final = (
    "not enough memory",
    "can't allocate memory",
    "out of memory",
    "bad_alloc",
    "ALLOC_FAILED",
    "could not create a primitive",
    "could not execute a primitive",
)
"""What torch, CUDA's libraries and oneDNN (the last two) say when there is no memory."""
_CGROUP: Final = Path("/sys/fs/cgroup")


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


def peak_bytes(device: torch.device, action: Callable[[], object]) -> int:
    """Most bytes of tensors and scratch that torch's allocator held for `action` at a time, beyond those
    before it.
    """
    if device.type == "cuda":
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        action()
        return max(0, torch.cuda.max_memory_allocated(device) - before)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        action()
    held = peak = 0
    assert recorded.profiler is not None and recorded.profiler.kineto_results is not None
    for event in recorded.profiler.kineto_results.events():
        if event.name() == _MEMORY_EVENT:
            held += event.nbytes()
            peak = max(peak, held)
    return peak


def free_bytes(device: torch.device) -> int:
    """What a pass may take of a device as it is now."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int((free + cached) * _SHARE_CUDA)
    return int((_available_memory() + kept_bytes()) * _SHARE_CPU)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a pass failed because it was too large."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _OUT_OF_MEMORY)


def release_unused(device: torch.device) -> None:
    """Gives back what a pass that failed has left in the allocator's cache."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)


def _extent(shape: Hashable) -> tuple[int, ...]:
    """How large rows are in each respect: the elements of their latents, the tokens of their captions."""
    parts = shape if isinstance(shape, tuple) else (shape,)
    return tuple(math.prod(part) if isinstance(part, tuple) else int(part) for part in parts)


def _available_memory() -> int:
    """Of the machine or of the container, whichever has less left."""
    try:
        fields = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text("ascii").splitlines())
        available = int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        # Systems without it do not tell what is free: all there is.
        available = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        limit = (_CGROUP / "memory.max").read_text("ascii").strip()
        used = int((_CGROUP / "memory.current").read_text("ascii"))
        # The page cache counts as used and is given up when memory is short.
        cache = dict(line.split() for line in (_CGROUP / "memory.stat").read_text("ascii").splitlines())
        if limit != "max":
            available = min(available, int(limit) - used + int(cache.get("inactive_file", 0)))
    except (OSError, ValueError):
        pass  # no container limits this process
    return max(0, available)

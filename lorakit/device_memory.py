"""The memory of a device: what is free, what a computation takes, and how running out of it shows."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from collections.abc import Callable
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


def quiet_profiler() -> None:
    """Lets `peak_bytes` write nothing to stderr, where torch's profiler tells of each start and end; call it
    before the first measurement, and before there are other threads.
    """
    # Above all its levels. It is read when the first profiler is made.
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")


def peak_bytes(device: torch.device, action: Callable[[], object]) -> int:
    """Most bytes of tensors and scratch that torch's allocator held for `action` at a time, beyond those
    before it.
    """
    if device.type == "cuda":
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        action()
        return max(0, torch.cuda.max_memory_allocated(device) - before)
    # A mode that sees every operation's tensors would be lighter, but not their kernels' scratch: more than
    # half of the peak where pictures are small.
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

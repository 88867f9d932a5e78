"""A bound on what the engine may take of a machine's memory.

A GPU refuses what it does not have. A CPU's system promises more than there is and, when the promise is
called in, kills the process, with all jobs in it. Under this bound the allocation fails instead, and the pack
does what it does on a GPU: smaller passes, gradient checkpointing, or one job less.
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import torch

from lorakit.allocator import kept_bytes
from lorakit.device_memory import free_bytes
from lorakit.process_memory import status_bytes
from services.trainer.engine.memory import MemoryBook

_SLACK: Final = 256 << 20
"""For the process's other threads: uploads, heartbeats."""


@contextmanager
def memory_bound(device: torch.device, book: MemoryBook | None) -> Iterator[None]:
    """Until the end, what is allocated beyond the book's budget fails; does nothing off Linux or a CPU."""
    data = status_bytes("VmData") if device.type == "cpu" else 0
    if not data:
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    budget = min(free_bytes(device), book.budget(device) if book else sys.maxsize)
    # What is kept is the process's already, and is used first.
    wanted = data + max(0, budget - kept_bytes()) + _SLACK
    bounds = [bound for bound in (wanted, soft, hard) if bound != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_DATA, (min(bounds), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))

"""What this process has taken of its device's memory."""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path
from typing import Final

import torch

_STATM: Final = Path("/proc/self/statm")


def taken_bytes(device: torch.device) -> int:
    """On a GPU the most that torch's allocator has held so far; on a CPU the resident set as it is now."""
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device)
    try:
        pages = int(_STATM.read_text("ascii").split()[1])
    except (OSError, IndexError, ValueError):
        # Systems without it tell the largest one so far, macOS in bytes.
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
    return pages * os.sysconf("SC_PAGE_SIZE")

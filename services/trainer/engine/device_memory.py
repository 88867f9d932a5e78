"""What this process has taken of its device's memory."""

from __future__ import annotations

import resource
import sys

import torch

from lorakit.process_memory import status_bytes


def taken_bytes(device: torch.device) -> int:
    """On a GPU the most that torch's allocator has held so far; on a CPU the resident set as it is now."""
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device)
    # Systems without it tell the largest one so far, macOS in bytes.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return status_bytes("VmRSS") or peak

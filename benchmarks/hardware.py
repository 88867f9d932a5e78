"""What a benchmark ran on, in words that go beside every figure."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import torch


def describe(device: str) -> str:
    """One line: processor, cores that this process may use, memory, versions."""
    if device == "cuda":
        found = torch.cuda.get_device_properties(0)
        where = f"{found.name}, {found.total_memory >> 30} GiB"
    else:
        where = f"{_processor()}, {torch.get_num_threads()} threads, {_memory_gib()} GiB"
    return f"{where}, torch {torch.__version__}, Python {platform.python_version()}"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or "unknown processor"


def _memory_gib() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 30

"""How many accelerators a machine has, found without loading torch."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

_DEVICE: Final = re.compile(r"nvidia\d+\Z")


def count_accelerators(devices: Path = Path("/dev")) -> int:
    """Accelerators that this process may use, by its device files and CUDA_VISIBLE_DEVICES."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    present = sum(1 for entry in devices.iterdir() if _DEVICE.match(entry.name))
    if visible is None:
        return present
    chosen = [name for name in visible.split(",") if name.strip() and name.strip() != "-1"]
    return min(present, len(chosen))


def visible_accelerator(index: int) -> str:
    """What CUDA_VISIBLE_DEVICES of the worker with that index must say; empty without accelerators."""
    count = count_accelerators()
    if count == 0:
        return ""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = visible.split(",") if visible is not None else [str(number) for number in range(count)]
    return names[index % count].strip()

"""What the system says of this process's memory."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_STATUS: Final = Path("/proc/self/status")


def status_bytes(field: str) -> int:
    """A field of Linux' /proc/self/status, such as VmRSS (resident), RssAnon (resident, of no file) or VmData
    (mapped for data); 0 where the system does not tell.
    """
    try:
        lines = _STATUS.read_text("ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:")), 0)

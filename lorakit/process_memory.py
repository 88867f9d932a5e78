"""What the system says of this process's memory."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_PROCESSES: Final = Path("/proc")


def status_bytes(field: str, pid: int | None = None) -> int:
    """A field of Linux' /proc/<pid>/status, this process's own without a ``pid``: VmRSS (resident), RssAnon
    (resident, of no file), VmData (mapped for data); 0 where the system does not tell.
    """
    try:
        status = _PROCESSES / ("self" if pid is None else str(pid)) / "status"
        lines = status.read_text("ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:")), 0)

"""Names of workers: from a name on this host its process can be found."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path
from typing import Final

_NAMESPACE: Final = Path("/proc/self/ns/pid")


def worker_prefix() -> str:
    """What the names of all workers that share this host and its process ids begin with."""
    host = re.sub(r"[^a-z0-9]+", "-", socket.gethostname().lower())[:30].strip("-")
    return f"{host or 'host'}.{_pid_namespace()}.pid-"


def worker_name(pid: int) -> str:
    """The name of the worker with that process id."""
    return f"{worker_prefix()}{pid}"


def is_gone(worker: str) -> bool:
    """Whether the worker is one of this host whose process has ended; False where that cannot be known."""
    prefix = worker_prefix()
    digits = worker.removeprefix(prefix)
    if not worker.startswith(prefix) or not digits.isdigit():
        return False
    try:
        os.kill(int(digits), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def _pid_namespace() -> str:
    # Containers may share a host name, and then see process ids that are not theirs to judge.
    try:
        link = str(_NAMESPACE.readlink())
    except OSError:
        return "0"
    return re.sub(r"[^0-9]", "", link) or "0"

"""Ends this process when the one that started it is gone, however that ended."""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import Final

# What shells give a process that was killed: nobody is left to read it.
_KILLED: Final = 137


def exit_with_parent() -> None:
    """Watches standard input, a pipe that the parent holds open and never writes to: its end is the parent's.

    Ctrl-C reaches a whole group of processes; the parent decides then what becomes of this one.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_watch, args=(sys.stdin.fileno(),), name="parent-watch", daemon=True).start()


def _watch(descriptor: int) -> None:
    while True:
        try:
            if not os.read(descriptor, 1024):
                break
        except OSError:
            break
    os._exit(_KILLED)

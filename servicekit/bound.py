"""Runs a module as a program that ends when its parent does, even while it still imports.

`python -m servicekit.bound PARENT_PID SIGNAL MODULE [ARGUMENT ...]`; `bound_command` writes that. On Linux
the kernel sends the signal when the parent is gone, even by `kill -9`; elsewhere it goes without that.
"""

from __future__ import annotations

import ctypes
import os
import runpy
import signal
import sys
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_USED: Final = 4


def bound_command(module: str, *arguments: str, end: signal.Signals = signal.SIGKILL) -> list[str]:
    """The command that runs the module as a child of this process, which gets `end` when this process dies.

    The kernel counts the end of the *thread* that starts the child: start it from one that stays.
    """
    return [sys.executable, "-m", "servicekit.bound", str(os.getpid()), end.name, module, *arguments]


def main() -> None:
    """Binds this process to its parent and becomes the module."""
    parent, end, module = int(sys.argv[1]), signal.Signals[sys.argv[2]], sys.argv[3]
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, end, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(1)  # it was gone before the kernel was asked to watch it
    sys.argv = [module, *sys.argv[_USED:]]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()

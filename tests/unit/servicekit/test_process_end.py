"""What a process that ends at once leaves behind."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import atexit, logging, logging.handlers, sys
from servicekit.process_end import end_process

atexit.register(print, "taken apart")
kept = logging.handlers.MemoryHandler(100, target=logging.StreamHandler(sys.stderr))
logging.getLogger().addHandler(kept)
logging.getLogger().warning("logged")
print("printed", end="")
end_process(3)
"""


def test_all_is_written_out_and_nothing_is_taken_apart() -> None:
    # A pipe is buffered: what is not written out is lost.
    ended = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout, ended.stderr) == (3, "printed", "logged\n")

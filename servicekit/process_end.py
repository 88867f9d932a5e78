"""The end of a process that has large libraries loaded."""

from __future__ import annotations

import logging
import os
import sys
from typing import NoReturn


def end_process(code: int = 0) -> NoReturn:
    """Ends the process at once, with all that was logged and printed written out; the caller has closed
    everything else. The interpreter would spend seconds on taking torch's modules apart, while whoever
    started the process waits.
    """
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)

"""Imports of large libraries in less time."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def large_imports() -> Iterator[None]:
    """Around imports that make hundreds of thousands of objects, nearly all of which stay.

    Looking through them for garbage again and again takes a fifth of the time of such an import, and each
    full collection later takes a third of a second, in the middle of whatever the process does. So nothing
    is collected here, and what is there at the end is never looked through again.
    """
    collected = gc.isenabled()
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        if collected:
            gc.enable()

"""The deadline of the call being served, so that the calls it makes in turn do not outlive it."""

from __future__ import annotations

import time
from contextvars import ContextVar

_deadline: ContextVar[float | None] = ContextVar("brandloom_deadline", default=None)


def set_remaining_seconds(seconds: float | None) -> None:
    """Says how long the current task may still take (None: no limit); the deadline interceptor does this."""
    _deadline.set(None if seconds is None else time.monotonic() + seconds)


def remaining_seconds() -> float | None:
    """How long the call being served may still take, not less than 0; None when nothing limits it."""
    deadline = _deadline.get()
    return None if deadline is None else max(0.0, deadline - time.monotonic())

"""Time as a port, so that rules about time can be tested without waiting."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Tells the time; always with a zone, always UTC."""

    def now(self) -> datetime:
        """The present moment as an aware datetime in UTC."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """The time of the operating system."""
        return datetime.now(UTC)

"""How often jobs are tried again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, kw_only=True, slots=True)
class RetryPolicy:
    """How often a job whose worker was lost is tried again, and how long it waits: doubling, up to a
    limit.
    """

    max_retries: int = 3
    first_wait_seconds: float = 2.0
    longest_wait_seconds: float = 120.0

    def wait(self, failures: int) -> timedelta:
        """The wait after that many failures in a row."""
        return timedelta(
            seconds=min(self.first_wait_seconds * 2 ** (failures - 1), self.longest_wait_seconds)
        )

"""How much is trained, on both sides; free of either side's libraries."""

from __future__ import annotations

from dataclasses import dataclass

PICTURES = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Load:
    """So many jobs of so many rows a step."""

    jobs: int
    batch: int
    rank: int = 8

    @property
    def title(self) -> str:
        """For the table."""
        return f"{self.jobs} job{'s' if self.jobs > 1 else ''}, batch {self.batch}, rank {self.rank}"

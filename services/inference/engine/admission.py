"""Who is next: brands take turns, and within a brand the priorities decide."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar


class Candidate(Protocol):
    """A job that wants a row."""

    @property
    def brand(self) -> str:
        """Whose job it is."""
        ...

    @property
    def priority(self) -> int:
        """Larger goes first within the brand."""
        ...

    @property
    def active(self) -> int:
        """Rows that it has already."""
        ...

    @property
    def arrival(self) -> int:
        """Smaller came earlier."""
        ...


C = TypeVar("C", bound=Candidate)


def next_candidate(candidates: Iterable[C], rows_of_brands: Mapping[str, int]) -> C:
    """Of the brand with the fewest rows, then of the one that waits longest; in it of the largest priority,
    then of the job with the fewest rows (so that a request for many pictures holds up no other), then who
    came first.
    """
    brands: dict[str, list[C]] = {}
    for job in candidates:
        brands.setdefault(job.brand, []).append(job)
    brand = min(
        brands,
        key=lambda name: (rows_of_brands.get(name, 0), min(job.arrival for job in brands[name])),
    )
    return min(brands[brand], key=lambda job: (-job.priority, job.active, job.arrival))


@dataclass(slots=True)
class Room:
    """What the batch may hold: so many rows, and so many bytes while they pass the model."""

    max_rows: int
    max_bytes: int
    rows: int = 0
    bytes: int = 0

    def has(self, rows: int, size_bytes: int) -> bool:
        """Whether so much more fits; anything fits an empty batch, or it would wait for ever."""
        if self.rows == 0:
            return True
        return self.rows + rows <= self.max_rows and self.bytes + size_bytes <= self.max_bytes

    def take(self, rows: int, size_bytes: int) -> None:
        """It is there now."""
        self.rows += rows
        self.bytes += size_bytes

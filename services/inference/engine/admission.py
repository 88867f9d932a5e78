"""Who is next: brands take turns, and within a brand the priorities decide."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar


class Job(Protocol):
    """What somebody wants made."""

    @property
    def brand(self) -> str:
        """Whose job it is."""
        ...

    @property
    def priority(self) -> int:
        """Larger goes first within the brand."""
        ...


class Candidate(Protocol):
    """A job that wants a row."""

    @property
    def job(self) -> Job:
        """The job itself."""
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


class Turns:
    """Remembers which brand was served when."""

    def __init__(self) -> None:
        self._served: dict[str, int] = {}
        self._count = itertools.count(1)

    def next(self, candidates: Iterable[C], rows_of_brands: Mapping[str, int]) -> C | None:
        """Of the brand with the fewest rows, or of those with as few the one served longest ago; in it of the
        largest priority, then of the job with the fewest rows (so that a request for many pictures holds up
        no other), then who came first. None if there is no candidate.
        """
        waiting = list(candidates)
        oldest: dict[str, int] = {}
        for each in waiting:
            oldest[each.job.brand] = min(each.arrival, oldest.get(each.job.brand, each.arrival))
        return min(
            waiting,
            key=lambda each: (
                rows_of_brands.get(each.job.brand, 0),
                self._served.get(each.job.brand, 0),
                oldest[each.job.brand],
                -each.job.priority,
                each.active,
                each.arrival,
            ),
            default=None,
        )

    def serve(self, brand: str) -> None:
        """It has got a row."""
        self._served[brand] = next(self._count)


@dataclass(slots=True)
class Room:
    """What the batch may hold: so many rows, and so many bytes while they pass the model."""

    max_rows: int
    max_bytes: int
    rows: int = 0
    bytes: int = 0

    def has(self, rows: int, size_bytes: int) -> bool:
        """Whether so much more fits. An empty batch takes more rows at once than it should, or a picture of
        many parts would wait for ever.
        """
        if self.rows == 0:
            return size_bytes <= self.max_bytes
        return self.rows + rows <= self.max_rows and self.bytes + size_bytes <= self.max_bytes

    def never_has(self, size_bytes: int) -> bool:
        """Whether so much does not even fit an empty batch, which this is."""
        return self.rows == 0 and size_bytes > self.max_bytes

    def take(self, rows: int, size_bytes: int) -> None:
        """It is there now."""
        self.rows += rows
        self.bytes += size_bytes

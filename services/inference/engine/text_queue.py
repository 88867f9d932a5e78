"""Whose text is next."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from services.inference.domain_texts import TextJob

T = TypeVar("T")


def next_in_turn(
    waiting: Iterable[T], job_of: Callable[[T], TextJob], rows_of_brand: Mapping[str, int]
) -> T | None:
    """Of the brand with the fewest rows (then of the one that waits longest) the entry with the highest
    priority, then the oldest. ``waiting`` is in the order of arrival.
    """
    brands: dict[str, T] = {}
    for entry in waiting:
        job = job_of(entry)
        best = brands.get(job.brand)
        if best is None or job.priority > job_of(best).priority:
            brands[job.brand] = entry
    # The brands are in the order of their oldest entries, and min takes the first of equals.
    brand = min(brands, key=lambda name: rows_of_brand.get(name, 0), default=None)
    return None if brand is None else brands[brand]

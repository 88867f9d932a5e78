"""What goes into the rows of a training step. None means the service's default, which the answer shows."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class BucketSpec:
    """Aspect-ratio buckets: pictures keep their shape, in sizes of about resolution x resolution pixels.

    Sides are from `min_size` to `max_size`, multiples of `step`.
    """

    enabled: bool = False
    min_size: int | None = None
    max_size: int | None = None
    step: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class CaptionSpec:
    """Whether rows show their captions' comma-separated tags in a new order; the first `keep_tokens` stay."""

    shuffle_tags: bool = False
    keep_tokens: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class PriorSpec:
    """Class pictures, `batch_size` of which join each step with `weight` in its loss."""

    dataset_revision: str = ""
    weight: float | None = None
    batch_size: int | None = None

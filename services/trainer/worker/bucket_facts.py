"""What the file of a LoRA says of the aspect-ratio buckets that it was trained with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from lorakit.metadata import BucketFacts
from services.trainer.engine import TrainingImage, TrainingItem
from services.trainer.spec import BucketSpec


def bucket_facts(buckets: BucketSpec, items: Sequence[TrainingItem]) -> BucketFacts | None:
    """How the pictures were spread over the buckets; None if there are none."""
    pictures = [item for item in items if isinstance(item, TrainingImage)]
    if not buckets.enabled or not pictures:
        return None
    counts: Counter[tuple[int, int]] = Counter()
    error = 0.0
    for picture in pictures:
        assert picture.size is not None and picture.original_size is not None
        (height, width), (own_height, own_width) = picture.size, picture.original_size
        counts[width, height] += 1
        error += abs(own_width / own_height - width / height)
    return BucketFacts(
        min_side=buckets.min_size,
        max_side=buckets.max_size,
        counts=counts,
        mean_aspect_error=error / len(pictures),
    )

"""Aspect-ratio buckets: a bounded list of picture sizes of about one area, and which one suits a picture.

Sizes are (width, height) in pixels.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Final

from services.trainer.manifest import Picture
from services.trainer.spec import BucketSpec, TrainingSpec

Size = tuple[int, int]

MOST_BUCKETS: Final = 128
UNIT: Final = 8
"""Sides are multiples of this."""
_LARGEST_STEP: Final = 64


def default_buckets(resolution: int, asked: BucketSpec) -> BucketSpec:
    """What was asked for, with what was left out: sides from half to twice the resolution.

    The step is 64 px, as most bases want it, or an eighth of a small resolution.
    """
    step = asked.step or min(_LARGEST_STEP, max(UNIT, resolution // UNIT // UNIT * UNIT))
    return BucketSpec(
        enabled=True,
        min_size=asked.min_size or max(step, resolution // 2 // step * step),
        max_size=asked.max_size or resolution * 2 // step * step,
        step=step,
    )


def bucket_sizes(resolution: int, buckets: BucketSpec) -> tuple[Size, ...]:
    """The sizes that a job's pictures may have, of at most resolution x resolution pixels; never none.

    For each width the largest height within that area, both ways round, and the largest square.
    """
    if not buckets.enabled:
        return ((resolution, resolution),)
    step, area = buckets.step, resolution * resolution
    square = max(step, resolution // step * step)
    found = {(square, square)}
    first = -(-buckets.min_size // step) * step
    for side in range(first, buckets.max_size + 1, step):
        other = min(area // side // step * step, buckets.max_size // step * step)
        if other >= buckets.min_size:
            found |= {(side, other), (other, side)}
    return tuple(sorted(found))


def nearest_bucket(width: int, height: int, sizes: Sequence[Size]) -> Size:
    """The size whose shape is nearest to the picture's; the larger one of two that are as near."""
    shape = math.log(width / height)
    return min(sizes, key=lambda size: (abs(math.log(size[0] / size[1]) - shape), -size[0] * size[1], size))


def kept_share(width: int, height: int, size: Size) -> float:
    """Share of a picture's area that is left when it is cropped to the shape of `size`."""
    shape, wanted = width / height, size[0] / size[1]
    return min(shape, wanted) / max(shape, wanted)


def group_sizes(spec: TrainingSpec, pictures: Sequence[Picture]) -> tuple[int, ...]:
    """How many pictures each bucket of the job has: a batch is of one bucket."""
    sizes = bucket_sizes(spec.resolution, spec.aspect_ratio_buckets)
    counts = Counter(nearest_bucket(picture.width, picture.height, sizes) for picture in pictures)
    return tuple(counts[size] for size in sorted(counts))

"""When two pictures are the same or nearly so, and how near ones are found without comparing all with all.

Two pictures are near duplicates when their 64-bit perceptual hashes (of brightness) differ in at most
MAX_DISTANCE bits AND their 8x8 colour thumbnails hardly differ: the same drawing in another colour is
another picture.

A hash is cut into MAX_DISTANCE + 1 bands. Two hashes that differ in at most MAX_DISTANCE bits share at
least one whole band (pigeonhole), so an index over bands finds every candidate (multi-index hashing:
Norouzi, Punjani, Fleet 2012).
"""

from __future__ import annotations

import itertools
from typing import Final

from services.labeler.domain import Fingerprint

HASH_BITS: Final = 64
MAX_DISTANCE: Final = 5
_BANDS: Final = MAX_DISTANCE + 1
# Mean difference of the thumbnails' bytes (0..255), and the largest of any cell's channel.
MAX_MEAN_DIFFERENCE: Final = 6.0
MAX_CELL_DIFFERENCE: Final = 32


def distance(first: int, second: int) -> int:
    """Bits in which two hashes differ."""
    return (first ^ second).bit_count()


def bands(perceptual_hash: int) -> tuple[int, ...]:
    """The hash in MAX_DISTANCE + 1 pieces, the lowest bits first."""
    edges = [HASH_BITS * index // _BANDS for index in range(_BANDS + 1)]
    return tuple(
        (perceptual_hash >> low) & ((1 << (high - low)) - 1) for low, high in itertools.pairwise(edges)
    )


def is_near(first: Fingerprint, second: Fingerprint) -> bool:
    """Whether one of the two pictures is a slightly changed copy of the other."""
    if distance(first.perceptual_hash, second.perceptual_hash) > MAX_DISTANCE:
        return False
    differences = [abs(a - b) for a, b in zip(first.thumbnail, second.thumbnail, strict=True)]
    return (
        sum(differences) <= MAX_MEAN_DIFFERENCE * len(differences) and max(differences) <= MAX_CELL_DIFFERENCE
    )

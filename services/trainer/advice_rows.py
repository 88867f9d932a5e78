"""Advice on how pictures and captions become a step's rows: their shapes, their tags."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from services.trainer.advice import Advice
from services.trainer.buckets import bucket_sizes, group_sizes, kept_share
from services.trainer.manifest import Picture
from services.trainer.spec import TrainingSpec

LEAST_KEPT: Final = 2 / 3
"""Share of a picture that a crop should leave."""


def advise_on_rows(spec: TrainingSpec, pictures: Sequence[Picture]) -> tuple[Advice, ...]:
    """All advice on the rows of `pictures` (the training split)."""
    return (*_on_shapes(spec, pictures), *_on_tags(spec, pictures))


def _on_shapes(spec: TrainingSpec, pictures: Sequence[Picture]) -> Iterator[Advice]:
    if spec.aspect_ratio_buckets.enabled:
        groups, batch = group_sizes(spec, pictures), spec.optimization.batch_size
        small = sum(size < batch for size in groups)
        if small > 1 and sum(groups) >= batch:
            yield Advice(
                "BUCKETS_SMALL",
                "aspect_ratio_buckets",
                f"{small} of {len(groups)} buckets have fewer pictures than a batch of {batch}: their steps"
                " are noisier; a larger step makes fewer buckets",
            )
        return
    (square,) = bucket_sizes(spec.resolution, spec.aspect_ratio_buckets)
    cropped = sum(kept_share(picture.width, picture.height, square) < LEAST_KEPT for picture in pictures)
    if cropped:
        yield Advice(
            "PICTURES_CROPPED",
            "aspect_ratio_buckets.enabled",
            f"{cropped} of {len(pictures)} pictures lose more than a third to the square that they are"
            " cropped to; aspect-ratio buckets keep their shape",
        )


def _on_tags(spec: TrainingSpec, pictures: Sequence[Picture]) -> Iterator[Advice]:
    if not spec.caption.shuffle_tags:
        return
    if spec.trigger_words and spec.caption.keep_tokens == 0:
        yield Advice(
            "TRIGGER_WORD_SHUFFLED",
            "caption.keep_tokens",
            "tags are shuffled from the first on, the trigger word with them; keep_tokens leaves it in front",
        )
    sentences = sum(picture.caption.count(",") <= spec.caption.keep_tokens for picture in pictures)
    if sentences:
        yield Advice(
            "CAPTIONS_WITHOUT_TAGS",
            "caption.shuffle_tags",
            f"{sentences} of {len(pictures)} captions have no tags to shuffle: parts with commas between",
        )

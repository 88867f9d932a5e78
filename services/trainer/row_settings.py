"""What goes into a step's rows besides the plain pictures: defaults, and what does not go together."""

from __future__ import annotations

from typing import Final

from servicekit.errors import FieldViolation
from services.trainer.buckets import MOST_BUCKETS, UNIT, bucket_sizes, default_buckets
from services.trainer.sources import BaseModel, DatasetRevision
from services.trainer.spec import BucketSpec, CaptionSpec, PriorSpec, SpecDraft

DEFAULT_PRIOR_WEIGHT: Final = 1.0
_SMALLEST_SIDE: Final = 8


def complete_buckets(draft: SpecDraft, base: BaseModel) -> BucketSpec:
    """The buckets with nothing left out."""
    if not draft.aspect_ratio_buckets.enabled:
        return BucketSpec()
    return default_buckets(draft.resolution or base.resolution, draft.aspect_ratio_buckets)


def complete_prior(draft: SpecDraft, prior: DatasetRevision | None, batch_size: int) -> PriorSpec:
    """The class pictures with nothing left out; `batch_size` is that of the job's own."""
    if prior is None:
        return PriorSpec()
    asked = draft.prior_preservation
    return PriorSpec(
        dataset_revision=prior.name,
        weight=asked.weight or DEFAULT_PRIOR_WEIGHT,
        batch_size=asked.batch_size or batch_size,
    )


def row_contradictions(draft: SpecDraft, base: BaseModel, prefix: str) -> list[FieldViolation]:
    """What of buckets, captions and class pictures does not go together, with each other or with the base."""
    if base.learns_texts:
        return _about_pictures(draft, base, prefix)
    return [
        *_on_buckets(draft, base, prefix),
        *_on_captions(draft.caption, prefix),
        *_on_prior(draft, prefix),
    ]


def _about_pictures(draft: SpecDraft, base: BaseModel, prefix: str) -> list[FieldViolation]:
    given = {
        "aspect_ratio_buckets": draft.aspect_ratio_buckets != BucketSpec(),
        "caption": draft.caption != CaptionSpec(),
        "prior_preservation": draft.prior_preservation != PriorSpec(),
    }
    text = f"is for pictures; {base.name} learns from texts"
    return [FieldViolation(f"{prefix}.{field}", text) for field, is_given in given.items() if is_given]


def _on_buckets(draft: SpecDraft, base: BaseModel, prefix: str) -> list[FieldViolation]:
    asked, where = draft.aspect_ratio_buckets, f"{prefix}.aspect_ratio_buckets"
    if not asked.enabled:
        set_in_vain = asked != BucketSpec()
        text = "must be true for the other settings of buckets to have an effect"
        return [FieldViolation(f"{where}.enabled", text)] if set_in_vain else []
    if asked.step % UNIT:
        return [FieldViolation(f"{where}.step", f"must be a multiple of {UNIT}, not {asked.step}")]
    resolution = draft.resolution or base.resolution
    buckets = default_buckets(resolution, asked)
    found: list[FieldViolation] = []
    if buckets.step > resolution:
        text = f"must not be more than the resolution of {resolution} px, not {buckets.step}"
        found.append(FieldViolation(f"{where}.step", text))
    if not _SMALLEST_SIDE <= buckets.min_size <= resolution:
        text = f"must be from {_SMALLEST_SIDE} to the resolution of {resolution} px, not {buckets.min_size}"
        found.append(FieldViolation(f"{where}.min_size", text))
    if buckets.max_size < resolution:
        text = f"must be the resolution of {resolution} px or more, not {buckets.max_size}"
        found.append(FieldViolation(f"{where}.max_size", text))
    if not found and len(sizes := bucket_sizes(resolution, buckets)) > MOST_BUCKETS:
        text = f"makes {len(sizes)} sizes of pictures, more than {MOST_BUCKETS}: take a larger step"
        found.append(FieldViolation(f"{where}.step", text))
    return found


def _on_captions(caption: CaptionSpec, prefix: str) -> list[FieldViolation]:
    if caption.keep_tokens and not caption.shuffle_tags:
        text = "has no effect without shuffle_tags"
        return [FieldViolation(f"{prefix}.caption.keep_tokens", text)]
    return []


def _on_prior(draft: SpecDraft, prefix: str) -> list[FieldViolation]:
    asked, where = draft.prior_preservation, f"{prefix}.prior_preservation.dataset_revision"
    if not asked.dataset_revision:
        text = "must name class pictures for the other settings of prior preservation to have an effect"
        return [FieldViolation(where, text)] if asked != PriorSpec() else []
    if asked.dataset_revision == draft.dataset_revision:
        return [FieldViolation(where, "is the revision that the job learns; name one of class pictures")]
    return []

"""The parts of a spec that say what goes into a step's rows: proto <-> domain."""

from __future__ import annotations

from brandloom.api.trainer.v1 import resources_pb2 as pb
from services.trainer.spec import BucketSpec, CaptionSpec, PriorSpec


def buckets_to_proto(buckets: BucketSpec) -> pb.BucketSpec:
    """Every field as it is."""
    return pb.BucketSpec(
        enabled=buckets.enabled,
        min_size=buckets.min_size,
        max_size=buckets.max_size,
        step=buckets.step,
    )


def buckets_from_proto(message: pb.BucketSpec) -> BucketSpec:
    """Every field as it is; zeros are what a caller left out."""
    return BucketSpec(
        enabled=message.enabled,
        min_size=message.min_size,
        max_size=message.max_size,
        step=message.step,
    )


def caption_to_proto(caption: CaptionSpec) -> pb.CaptionSpec:
    """Every field as it is."""
    return pb.CaptionSpec(shuffle_tags=caption.shuffle_tags, keep_tokens=caption.keep_tokens)


def caption_from_proto(message: pb.CaptionSpec) -> CaptionSpec:
    """Every field as it is."""
    return CaptionSpec(shuffle_tags=message.shuffle_tags, keep_tokens=message.keep_tokens)


def prior_to_proto(prior: PriorSpec) -> pb.PriorSpec:
    """Every field as it is."""
    return pb.PriorSpec(
        dataset_revision=prior.dataset_revision, weight=prior.weight, batch_size=prior.batch_size
    )


def prior_from_proto(message: pb.PriorSpec) -> PriorSpec:
    """Every field as it is; zeros are what a caller left out."""
    return PriorSpec(
        dataset_revision=message.dataset_revision, weight=message.weight, batch_size=message.batch_size
    )

"""Fetches what a job trains on from the artifact store; every byte is verified by its digest."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from servicekit.artifacts.port import ArtifactStore
from services.trainer.buckets import bucket_sizes
from services.trainer.engine import Message, TrainingImage, TrainingItem, TrainingText
from services.trainer.manifest import Picture, read_manifest, training_pictures, validation_pictures
from services.trainer.planning import MAX_MANIFEST_BYTES
from services.trainer.sources import Blob
from services.trainer.text_manifest import (
    Text,
    is_text_manifest,
    read_texts,
    training_texts,
    validation_texts,
)
from services.trainer.worker.leases import LeasedJob
from services.trainer.worker.patience import Patience
from services.trainer.worker.pictures import training_image

_DOWNLOADS_AT_ONCE: Final = 8
Fetch = Callable[[str, str], Awaitable[Path]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Materials:
    """Pictures with captions or texts, the LoRA to continue from, the checkpoint to go on from."""

    items: Sequence[TrainingItem]
    held_out: Sequence[TrainingItem]
    """What the job is evaluated on; empty if it is not."""
    prior: Sequence[TrainingItem] = ()
    """Class pictures that join each step."""
    tag_frequency: Mapping[str, int]
    """How often each comma-separated part of the captions occurs; empty for texts."""
    parent: Path | None
    checkpoint: Path | None


async def fetch_materials(
    store: ArtifactStore, lease: LeasedJob, directory: Path, patience: Patience
) -> Materials:
    """Everything that the lease names, in `directory`; NotFound or DataLoss when the store cannot give it."""
    manifest = await _manifest(store, lease.manifest, patience)
    validation = lease.spec.validation
    most_held_out = validation.max_items if validation.interval_steps else 0
    free = asyncio.Semaphore(_DOWNLOADS_AT_ONCE)

    async def fetch(sha256: str, name: str) -> Path:
        async with free:
            return await patience.until_answered(lambda: store.fetch(sha256, directory / name), "fetch")

    parent = await _optional(fetch, lease.parent, "parent.safetensors")
    checkpoint = await _optional(fetch, lease.checkpoint, "checkpoint.safetensors")
    if is_text_manifest(manifest):
        texts = await asyncio.to_thread(read_texts, manifest)
        return Materials(
            items=[_text(text) for text in training_texts(texts)],
            held_out=[_text(text) for text in validation_texts(texts, most_held_out)],
            tag_frequency={},
            parent=parent,
            checkpoint=checkpoint,
        )
    listed = read_manifest(manifest)
    pictures, held_out = training_pictures(listed), validation_pictures(listed, most_held_out)
    prior = await _prior(store, lease, patience)
    digests = sorted({picture.sha256 for picture in (*pictures, *held_out, *prior)})
    files = dict(
        zip(digests, await asyncio.gather(*(fetch(digest, digest) for digest in digests)), strict=True)
    )
    sizes = bucket_sizes(lease.spec.resolution, lease.spec.aspect_ratio_buckets)

    def image(picture: Picture) -> TrainingImage:
        return training_image(picture, files[picture.sha256], sizes)

    return Materials(
        items=[image(picture) for picture in pictures],
        held_out=[image(picture) for picture in held_out],
        prior=[image(picture) for picture in prior],
        tag_frequency=_tag_frequency(pictures),
        parent=parent,
        checkpoint=checkpoint,
    )


async def _optional(fetch: Fetch, blob: Blob | None, name: str) -> Path | None:
    return None if blob is None else await fetch(blob.sha256, name)


async def _manifest(store: ArtifactStore, blob: Blob, patience: Patience) -> bytes:
    return await patience.until_answered(
        lambda: store.get_bytes(blob.sha256, max_bytes=MAX_MANIFEST_BYTES), "manifest"
    )


async def _prior(store: ArtifactStore, lease: LeasedJob, patience: Patience) -> tuple[Picture, ...]:
    """The class pictures, if the job has any."""
    if lease.prior_manifest is None:
        return ()
    return training_pictures(read_manifest(await _manifest(store, lease.prior_manifest, patience)))


def _text(text: Text) -> TrainingText:
    return TrainingText(messages=tuple(Message(role=turn.role, content=turn.content) for turn in text.turns))


def _tag_frequency(pictures: Sequence[Picture]) -> dict[str, int]:
    tags = (tag.strip() for picture in pictures for tag in picture.caption.split(","))
    return dict(Counter(tag for tag in tags if tag).most_common(500))

"""Fetches what a job trains on from the artifact store; every byte is verified by its digest."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from PIL import Image, ImageOps

from servicekit.artifacts.port import ArtifactStore
from services.trainer.engine import TrainingImage
from services.trainer.manifest import Picture, read_manifest, training_pictures, validation_pictures
from services.trainer.planning import MAX_MANIFEST_BYTES
from services.trainer.sources import Blob
from services.trainer.worker.leases import LeasedJob
from services.trainer.worker.patience import Patience

_DOWNLOADS_AT_ONCE: Final = 8
Fetch = Callable[[str, str], Awaitable[Path]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Materials:
    """Pictures with captions, the LoRA to continue from, the checkpoint to go on from."""

    images: Sequence[TrainingImage]
    held_out: Sequence[TrainingImage]
    """What the job is evaluated on; empty if it is not."""
    tag_frequency: Mapping[str, int]
    """How often each comma-separated part of the captions occurs."""
    parent: Path | None
    checkpoint: Path | None


async def fetch_materials(
    store: ArtifactStore, lease: LeasedJob, directory: Path, patience: Patience
) -> Materials:
    """Everything that the lease names, in `directory`; NotFound or DataLoss when the store cannot give it."""
    manifest = await patience.until_answered(
        lambda: store.get_bytes(lease.manifest.sha256, max_bytes=MAX_MANIFEST_BYTES), "manifest"
    )
    listed, validation = read_manifest(manifest), lease.spec.validation
    pictures = training_pictures(listed)
    held_out = validation_pictures(listed, validation.max_items if validation.interval_steps else 0)
    free = asyncio.Semaphore(_DOWNLOADS_AT_ONCE)

    async def fetch(sha256: str, name: str) -> Path:
        async with free:
            return await patience.until_answered(lambda: store.fetch(sha256, directory / name), "fetch")

    digests = sorted({picture.sha256 for picture in (*pictures, *held_out)})
    files = dict(
        zip(digests, await asyncio.gather(*(fetch(digest, digest) for digest in digests)), strict=True)
    )
    return Materials(
        images=[_image(picture, files[picture.sha256], lease.spec.resolution) for picture in pictures],
        held_out=[_image(picture, files[picture.sha256], lease.spec.resolution) for picture in held_out],
        tag_frequency=_tag_frequency(pictures),
        parent=await _optional(fetch, lease.parent, "parent.safetensors"),
        checkpoint=await _optional(fetch, lease.checkpoint, "checkpoint.safetensors"),
    )


async def _optional(fetch: Fetch, blob: Blob | None, name: str) -> Path | None:
    return None if blob is None else await fetch(blob.sha256, name)


def load_picture(path: Path, resolution: int) -> torch.Tensor:
    """x_CHW, float32 in [-1, 1]: the picture scaled to its shorter side and cropped at the centre."""
    with Image.open(path) as picture:
        square = ImageOps.fit(picture.convert("RGB"), (resolution, resolution), Image.Resampling.LANCZOS)
    x_HWC = torch.from_numpy(np.asarray(square, dtype=np.float32).copy())
    return (x_HWC / 127.5 - 1.0).permute(2, 0, 1).contiguous()


def _image(picture: Picture, path: Path, resolution: int) -> TrainingImage:
    def load() -> torch.Tensor:
        try:
            return load_picture(path, resolution)
        except (OSError, ValueError, Image.DecompressionBombError) as error:
            raise ValueError(f"{picture.source_name or picture.sha256}: {error}") from error

    return TrainingImage(caption=picture.caption, load=load)


def _tag_frequency(pictures: Sequence[Picture]) -> dict[str, int]:
    tags = (tag.strip() for picture in pictures for tag in picture.caption.split(","))
    return dict(Counter(tag for tag in tags if tag).most_common(500))

"""What is computed once for each job: the latents' distributions and, for a frozen text encoder, embeddings.

V variants of a picture (as it is, and mirrored if asked), N tokens, D features.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lorakit.families.sd15 import BaseModel, encode_pictures, encode_tokens, tokenize
from services.trainer.engine.fault import NO_PICTURES, PICTURE_UNREADABLE, EngineFault
from services.trainer.engine.port import OnProgress
from services.trainer.engine.spec import TrainingImage

EMPTY_CAPTION = ""
_CHUNK = 8


@dataclass(frozen=True, slots=True)
class CachedPicture:
    """The distribution of a picture's latents, float32 on the CPU: sampling anew survives the caching."""

    mean_VCHW: Tensor
    std_VCHW: Tensor
    caption: str


@dataclass(frozen=True, slots=True)
class CachedData:
    """All that a job trains on."""

    pictures: Sequence[CachedPicture]
    tokens: Mapping[str, Tensor]
    """Caption -> ids [N]; the empty caption is always there."""
    embeddings: Mapping[str, Tensor]
    """Caption -> [N, D] float32; empty if the text encoder is trained."""
    digest: str
    """Of the captions in order: a checkpoint belongs to one set of pictures."""

    def __len__(self) -> int:
        return len(self.pictures)


@torch.no_grad()
def cache_data(
    base: BaseModel,
    images: Sequence[TrainingImage],
    *,
    resolution: int,
    flip: bool,
    embed: bool,
    on_progress: OnProgress | None = None,
) -> CachedData:
    """Reads every picture once and encodes it; `embed` says whether captions are encoded too.

    Raises EngineFault naming the picture if one cannot be read, has another size or holds strange numbers.
    """
    if not images:
        raise EngineFault(NO_PICTURES, "there are no pictures to learn from")
    pictures: list[CachedPicture] = []
    for start in range(0, len(images), _CHUNK):
        chunk = images[start : start + _CHUNK]
        pictures += _encode(base, chunk, start, resolution, flip)
        if on_progress is not None:
            on_progress(len(pictures), len(images))
    captions = sorted({EMPTY_CAPTION, *(image.caption for image in images)})
    tokens = dict(zip(captions, tokenize(base, captions), strict=True))
    digest = hashlib.sha256("\0".join(image.caption for image in images).encode("utf-8", "replace"))
    return CachedData(pictures, tokens, embed_captions(base, tokens) if embed else {}, digest.hexdigest())


@torch.no_grad()
def embed_captions(base: BaseModel, tokens: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Caption -> embeddings [N, D], float32 on the CPU, by the base's own text encoder."""
    captions = list(tokens)
    found: dict[str, Tensor] = {}
    for start in range(0, len(captions), _CHUNK):
        chunk = captions[start : start + _CHUNK]
        encoded_BND = encode_tokens(base, torch.stack([tokens[caption] for caption in chunk]))
        found.update(zip(chunk, encoded_BND.float().cpu().clone(), strict=True))
    return found


def _encode(
    base: BaseModel, chunk: Sequence[TrainingImage], start: int, resolution: int, flip: bool
) -> list[CachedPicture]:
    loaded = [_load(image, start + offset, resolution) for offset, image in enumerate(chunk)]
    variants_VBCHW = [torch.stack(loaded)]
    if flip:
        variants_VBCHW.append(variants_VBCHW[0].flip(-1))
    encoded = [encode_pictures(base, x_BCHW) for x_BCHW in variants_VBCHW]
    mean_BVCHW = torch.stack([mean.float().cpu() for mean, _ in encoded], dim=1)
    std_BVCHW = torch.stack([std.float().cpu() for _, std in encoded], dim=1)
    return [
        CachedPicture(mean.clone(), std.clone(), image.caption)
        for mean, std, image in zip(mean_BVCHW, std_BVCHW, chunk, strict=True)
    ]


def _load(image: TrainingImage, index: int, resolution: int) -> Tensor:
    try:
        x_CHW = image.load()
    except Exception as error:
        raise EngineFault(PICTURE_UNREADABLE, f"picture {index + 1} cannot be read: {error}") from error
    if tuple(x_CHW.shape) != (3, resolution, resolution):
        raise EngineFault(
            PICTURE_UNREADABLE,
            f"picture {index + 1} has the shape {list(x_CHW.shape)}, not [3, {resolution}, {resolution}]",
        )
    if not torch.isfinite(x_CHW).all():
        raise EngineFault(PICTURE_UNREADABLE, f"picture {index + 1} holds numbers that are not finite")
    return x_CHW.float()

"""What is computed once for each job: the latents' distributions and, for a frozen text encoder, embeddings.

V variants of a picture (as it is, and mirrored if asked), E text encoders, N tokens.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lorakit.families.diffusion_base import DiffusionBase, EncodedTexts, Framing, encode_pictures
from services.trainer.engine.diffusion.captions import can_change
from services.trainer.engine.fault import NO_PICTURES, PICTURE_UNREADABLE, EngineFault
from services.trainer.engine.port import OnProgress
from services.trainer.engine.spec import TrainingImage

EMPTY_CAPTION = ""
_CHUNK = 8
"""Captions, and pictures at the most, that are encoded together."""
_CHUNK_PIXELS = 8 * 512 * 512
"""Of the pictures; the autoencoder takes a kilobyte and more of memory for each."""


@dataclass(frozen=True, slots=True)
class CachedPicture:
    """The distribution of a picture's latents, float32 on the CPU: sampling anew survives the caching."""

    mean_VCHW: Tensor
    std_VCHW: Tensor
    caption: str
    framing: Framing
    """Mirrored, it is the same: pictures are cut out at the centre."""


@dataclass(frozen=True, slots=True)
class CachedData:
    """All that a job trains on."""

    pictures: Sequence[CachedPicture]
    tokens: Mapping[str, Tensor]
    """Caption -> ids [E, N], of all captions that are not shuffled; the empty caption is always there."""
    encoded: Mapping[str, EncodedTexts]
    """Caption -> one row, of these; empty if text encoders are trained."""
    digest: str
    """Of the captions and sizes in order: a checkpoint belongs to one set of pictures."""

    def __len__(self) -> int:
        return len(self.pictures)

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Of each picture's latents."""
        return [tuple(picture.mean_VCHW.shape[1:]) for picture in self.pictures]


@torch.no_grad()
def cache_data(
    base: DiffusionBase,
    images: Sequence[TrainingImage],
    *,
    resolution: int,
    flip: bool,
    embed: bool,
    shuffle_behind: int | None = None,
    on_progress: OnProgress | None = None,
) -> CachedData:
    """Reads every picture once and encodes it; `embed` says whether captions are encoded too.

    Captions whose tags are to be shuffled behind the first `shuffle_behind` are left out: there are too many
    orders of them. Raises EngineFault naming the picture if one cannot be read, has another size or holds
    strange numbers.
    """
    if not images:
        raise EngineFault(NO_PICTURES, "there are no pictures to learn from")
    pictures: dict[int, CachedPicture] = {}
    for chunk in _chunks(images, resolution):
        encoded = _encode(base, [images[index] for index in chunk], chunk, resolution, flip)
        pictures.update(zip(chunk, encoded, strict=True))
        if on_progress is not None:
            on_progress(len(pictures), len(images))
    fixed = (
        image.caption
        for image in images
        if shuffle_behind is None or not can_change(image.caption, shuffle_behind)
    )
    captions = sorted({EMPTY_CAPTION, *fixed})
    tokens = dict(zip(captions, base.text_ids(captions), strict=True))
    return CachedData(
        [pictures[index] for index in range(len(images))],
        tokens,
        encode_captions(base, tokens) if embed else {},
        _digest(images),
    )


@torch.no_grad()
def encode_captions(base: DiffusionBase, tokens: Mapping[str, Tensor]) -> dict[str, EncodedTexts]:
    """Caption -> one row, float32 on the CPU, by the base's own text encoders."""
    captions = list(tokens)
    found: dict[str, EncodedTexts] = {}
    for start in range(0, len(captions), _CHUNK):
        chunk = captions[start : start + _CHUNK]
        encoded = base.encode_texts(torch.stack([tokens[caption] for caption in chunk])).to("cpu")
        found.update(zip(chunk, encoded.split([1] * len(chunk)), strict=True))
    return found


def _digest(images: Sequence[TrainingImage]) -> str:
    told = [image.caption if image.size is None else f"{image.size} {image.caption}" for image in images]
    return hashlib.sha256("\0".join(told).encode("utf-8", "replace")).hexdigest()


def _chunks(images: Sequence[TrainingImage], resolution: int) -> Iterator[list[int]]:
    """Indices of pictures that are encoded together: of one size."""
    sizes: dict[tuple[int, int], list[int]] = {}
    for index, image in enumerate(images):
        sizes.setdefault(image.size or (resolution, resolution), []).append(index)
    for (height, width), indices in sizes.items():
        count = max(1, min(_CHUNK, _CHUNK_PIXELS // (height * width)))
        for start in range(0, len(indices), count):
            yield indices[start : start + count]


def _encode(
    base: DiffusionBase, chunk: Sequence[TrainingImage], indices: Sequence[int], resolution: int, flip: bool
) -> list[CachedPicture]:
    loaded = [_load(image, index, resolution) for index, image in zip(indices, chunk, strict=True)]
    variants_VBCHW = [torch.stack(loaded)]
    if flip:
        variants_VBCHW.append(variants_VBCHW[0].flip(-1))
    encoded = [encode_pictures(base, x_BCHW) for x_BCHW in variants_VBCHW]
    mean_BVCHW = torch.stack([mean.float().cpu() for mean, _ in encoded], dim=1)
    std_BVCHW = torch.stack([std.float().cpu() for _, std in encoded], dim=1)
    return [
        CachedPicture(mean.clone(), std.clone(), image.caption, _framing(image, resolution))
        for mean, std, image in zip(mean_BVCHW, std_BVCHW, chunk, strict=True)
    ]


def _framing(image: TrainingImage, resolution: int) -> Framing:
    height, width = image.original_size or image.size or (resolution, resolution)
    return Framing(height, width, *image.crop)


def _load(image: TrainingImage, index: int, resolution: int) -> Tensor:
    try:
        x_CHW = image.load()
    except Exception as error:
        raise EngineFault(PICTURE_UNREADABLE, f"picture {index + 1} cannot be read: {error}") from error
    wanted = (3, *(image.size or (resolution, resolution)))
    if tuple(x_CHW.shape) != wanted:
        raise EngineFault(
            PICTURE_UNREADABLE,
            f"picture {index + 1} has the shape {list(x_CHW.shape)}, not {list(wanted)}",
        )
    if not torch.isfinite(x_CHW).all():
        raise EngineFault(PICTURE_UNREADABLE, f"picture {index + 1} holds numbers that are not finite")
    return x_CHW.float()

"""How an uploaded picture becomes a record of its dataset: flags, duplicates, captions. Pure rules."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from servicekit.ids import new_id
from services.labeler.domain import (
    CaptionSource,
    Failure,
    Image,
    ImageFlag,
    NormalisedPicture,
    Split,
)
from services.labeler.keys import DatasetKey, ImageKey
from services.labeler.likeness import is_near


def readable(
    parent: DatasetKey,
    *,
    source_name: str,
    source_sha256: str,
    picture: NormalisedPicture,
    sha256: str,
    size_bytes: int,
    caption: str,
    min_side: int,
    same: Image | None,
    candidates: Iterable[Image],
    now: datetime,
) -> Image:
    """The record of a decoded picture.

    `same` has the same pixels, `candidates` may be near duplicates. An exact duplicate is left out of
    revisions until a reviewer includes it; a near one is only flagged, because likeness may be what the
    dataset is about.
    """
    near = None if same else next((image for image in candidates if _is_near(image, picture)), None)
    twin = same or near
    flags = []
    if min(picture.width, picture.height) < min_side:
        flags.append(ImageFlag.TOO_SMALL)
    if twin is not None:
        flags.append(ImageFlag.EXACT_DUPLICATE if same else ImageFlag.NEAR_DUPLICATE)
    return Image(
        key=ImageKey(parent, new_id()),
        source_name=source_name,
        source_sha256=source_sha256,
        source_format=picture.source_format,
        sha256=sha256,
        size_bytes=size_bytes,
        width=picture.width,
        height=picture.height,
        fingerprint=picture.fingerprint,
        caption=caption,
        caption_source=CaptionSource.IMPORTED if caption else CaptionSource.NONE,
        tags=(),
        flags=tuple(flags),
        duplicate_of=(twin.duplicate_of or twin.key.image) if twin else "",
        split=Split.TRAIN,
        excluded=same is not None,
        create_time=now,
        update_time=now,
        etag=new_id(),
    )


def unreadable(
    parent: DatasetKey, *, source_name: str, source_sha256: str, failure: Failure, now: datetime
) -> Image:
    """The record of a file that is no picture: it is listed, so that its owner sees what is missing and
    why.
    """
    return Image(
        key=ImageKey(parent, new_id()),
        source_name=source_name,
        source_sha256=source_sha256,
        source_format="",
        sha256="",
        size_bytes=0,
        width=0,
        height=0,
        fingerprint=None,
        caption="",
        caption_source=CaptionSource.NONE,
        tags=(),
        flags=(ImageFlag.UNREADABLE,),
        duplicate_of="",
        split=Split.TRAIN,
        excluded=True,
        create_time=now,
        update_time=now,
        etag=new_id(),
        failure=failure,
    )


def _is_near(image: Image, picture: NormalisedPicture) -> bool:
    return image.fingerprint is not None and is_near(image.fingerprint, picture.fingerprint)

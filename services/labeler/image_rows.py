"""Pictures as rows, and rows as pictures."""

from __future__ import annotations

from typing import Any, Final

from services.labeler.domain import CaptionSource, Failure, Fingerprint, Image, ImageFlag, Split
from services.labeler.keys import DatasetKey, ImageKey
from services.labeler.likeness import HASH_BITS
from services.labeler.tables import ImageRow

_SIGN: Final = 1 << (HASH_BITS - 1)


def image_columns(image: Image) -> dict[str, Any]:
    """The row's columns; databases know signed 64-bit numbers only, so the hash's highest bit becomes the
    sign.
    """
    prints = image.fingerprint
    return {
        "image": image.key.image,
        "brand": image.key.parent.brand,
        "dataset": image.key.parent.dataset,
        "source_name": image.source_name,
        "source_sha256": image.source_sha256,
        "source_format": image.source_format,
        "sha256": image.sha256,
        "size_bytes": image.size_bytes,
        "width": image.width,
        "height": image.height,
        "pixel_sha256": prints.pixel_sha256 if prints else None,
        "perceptual_hash": (prints.perceptual_hash ^ _SIGN) - _SIGN if prints else None,
        "thumbnail": prints.thumbnail if prints else None,
        "caption": image.caption,
        "caption_source": image.caption_source.value,
        "tags": list(image.tags),
        "flags": [flag.value for flag in image.flags],
        "is_flagged": bool(image.flags),
        "duplicate_of": image.duplicate_of,
        "split": image.split.value,
        "excluded": image.excluded,
        "failure_reason": image.failure.reason if image.failure else "",
        "failure_message": image.failure.message if image.failure else "",
        "label_job": image.label_job,
        "create_time": image.create_time,
        "update_time": image.update_time,
        "etag": image.etag,
    }


def image_of(row: ImageRow) -> Image:
    """The picture of a row."""
    return Image(
        key=ImageKey(DatasetKey(row.brand, row.dataset), row.image),
        source_name=row.source_name,
        source_sha256=row.source_sha256,
        source_format=row.source_format,
        sha256=row.sha256,
        size_bytes=row.size_bytes,
        width=row.width,
        height=row.height,
        fingerprint=_fingerprint(row),
        caption=row.caption,
        caption_source=CaptionSource(row.caption_source),
        tags=tuple(row.tags),
        flags=tuple(ImageFlag(flag) for flag in row.flags),
        duplicate_of=row.duplicate_of,
        split=Split(row.split),
        excluded=row.excluded,
        create_time=row.create_time,
        update_time=row.update_time,
        etag=row.etag,
        failure=Failure(row.failure_reason, row.failure_message) if row.failure_reason else None,
        label_job=row.label_job,
    )


def _fingerprint(row: ImageRow) -> Fingerprint | None:
    if row.pixel_sha256 is None or row.perceptual_hash is None or row.thumbnail is None:
        return None
    return Fingerprint(
        pixel_sha256=row.pixel_sha256,
        perceptual_hash=row.perceptual_hash % (1 << HASH_BITS),
        thumbnail=bytes(row.thumbnail),
    )

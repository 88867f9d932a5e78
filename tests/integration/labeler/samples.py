"""Records to put into a database."""

from __future__ import annotations

import dataclasses
import hashlib
from datetime import UTC, datetime
from typing import Any

from servicekit.ids import new_id
from services.labeler import placing
from services.labeler.domain import Dataset, Fingerprint, Image, JobState, LabelJob, NormalisedPicture
from services.labeler.keys import DatasetKey, ImageKey, JobKey

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PARENT = DatasetKey("acme", "hats")


def dataset(key: DatasetKey = PARENT) -> Dataset:
    return Dataset(key=key, display_name="", description="", create_time=NOW, update_time=NOW, etag="1")


def fingerprint(number: int = 0, *, perceptual_hash: int | None = None) -> Fingerprint:
    digest = hashlib.sha256(str(number).encode()).digest()
    return Fingerprint(
        pixel_sha256=digest.hex(),
        perceptual_hash=int.from_bytes(digest[:8], "big") if perceptual_hash is None else perceptual_hash,
        thumbnail=digest * 6,
    )


def image(number: int = 0, parent: DatasetKey = PARENT, **fields: Any) -> Image:
    prints = fields.pop("fingerprint", fingerprint(number))
    png = f"png {number}".encode()
    picture = NormalisedPicture(png=png, width=64, height=48, source_format="png", fingerprint=prints)
    made = placing.readable(
        parent,
        source_name=f"{number}.png",
        source_sha256=prints.pixel_sha256,
        picture=picture,
        sha256=hashlib.sha256(png).hexdigest(),
        size_bytes=len(png),
        caption="",
        min_side=1,
        same=None,
        candidates=(),
        now=NOW,
    )
    # Ids that sort like the numbers, as those made one after another do.
    fields.setdefault("key", ImageKey(parent, f"{number:032x}"))
    return dataclasses.replace(made, **fields)


def job(parent: DatasetKey = PARENT, **fields: Any) -> LabelJob:
    made = LabelJob(
        key=JobKey(parent, new_id()),
        overwrite=False,
        trigger_word="",
        batch_size=2,
        max_tokens=8,
        captioner="fake",
        state=JobState.QUEUED,
        create_time=NOW,
        etag="1",
    )
    return dataclasses.replace(made, **fields)

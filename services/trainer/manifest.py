"""Reads the manifest of a dataset revision: JSON Lines, one picture a line, as the labeler seals it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Final

from servicekit.errors import FailedPrecondition

TRAIN: Final = "train"
VALIDATION: Final = "validation"
_SHA256: Final = re.compile(r"[0-9a-f]{64}\Z")


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """One picture of a revision: its digest in the artifact store, its size in pixels and its caption."""

    sha256: str
    width: int
    height: int
    caption: str
    split: str = TRAIN
    source_name: str = ""


def read_manifest(data: bytes) -> tuple[Picture, ...]:
    """All pictures, in the order of the manifest; FailedPrecondition naming the line that cannot be read."""
    lines = data.decode("utf-8", errors="replace").split("\n")
    return tuple(_picture(line, number) for number, line in enumerate(lines, start=1) if line.strip())


def training_pictures(pictures: tuple[Picture, ...]) -> tuple[Picture, ...]:
    """Those that are trained on, without the held-out ones."""
    return tuple(picture for picture in pictures if picture.split == TRAIN)


def validation_pictures(pictures: tuple[Picture, ...], most: int) -> tuple[Picture, ...]:
    """Those that a job is evaluated on: the first `most` of the held-out ones."""
    return tuple(picture for picture in pictures if picture.split == VALIDATION)[:most]


def _picture(line: str, number: int) -> Picture:
    try:
        row: Any = json.loads(line)
        picture = Picture(
            sha256=row["sha256"],
            width=int(row["width"]),
            height=int(row["height"]),
            caption=str(row.get("caption") or ""),
            split=str(row.get("split") or TRAIN),
            source_name=str(row.get("source_name") or ""),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        raise _unreadable(number, "it is no picture's JSON object") from None
    if not isinstance(picture.sha256, str) or not _SHA256.match(picture.sha256):
        raise _unreadable(number, "its sha256 is no digest")
    if picture.width < 1 or picture.height < 1:
        raise _unreadable(number, "its size is no picture's")
    return picture


def _unreadable(number: int, why: str) -> FailedPrecondition:
    return FailedPrecondition(
        f"line {number} of the dataset revision's manifest cannot be read: {why}",
        reason="MANIFEST_UNREADABLE",
    )

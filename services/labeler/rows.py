"""Captions on their way in and out, and files in archives."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import StrEnum

from services.labeler.domain import Failure


class CaptionFormat(StrEnum):
    """How captions are written down."""

    CSV = "csv"
    JSONL = "jsonl"
    TXT_ZIP = "txt_zip"


@dataclass(frozen=True, slots=True)
class ArchivedFile:
    """One file of an archive: its name there, and its bytes or why it is refused."""

    name: str
    content: bytes | Failure


@dataclass(frozen=True, slots=True)
class CaptionRow:
    """One row of a caption file: the picture it names, its text, and where it stands (`metadata.csv:7`)."""

    file_name: str
    text: str
    place: str
    by_stem: bool = False
    """The file name has no extension: a `.txt` sidecar, which names any picture of its stem."""


@dataclass(frozen=True, slots=True)
class ExportRow:
    """One picture of an export; `sha256` and `size_bytes` are those of its PNG."""

    source_name: str
    caption: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Export:
    """A file on its way out: how it is written (`form` is None for texts), and its bytes."""

    form: CaptionFormat | None
    include_images: bool
    chunks: AsyncIterator[bytes]

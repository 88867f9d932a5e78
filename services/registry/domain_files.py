"""Files of the artifact store, and which of them a version has."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredFile:
    """A file in the artifact store."""

    sha256: str
    size_bytes: int
    media_type: str = ""


class VersionFile(StrEnum):
    """What can be had of a version."""

    WEIGHTS = "weights"
    PREVIEW_SHEET = "preview_sheet"
    LOSS_PLOT = "loss_plot"
    PREVIEW = "preview"

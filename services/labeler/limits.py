"""Bounds on what comes from outside."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class UploadLimits:
    """What one upload may bring. Bytes are of the files as they come unless said otherwise."""

    max_file_bytes: int = 64 << 20
    max_archive_bytes: int = 2 << 30
    max_archive_files: int = 3_000
    max_archive_total_bytes: int = 4 << 30
    """All files of an archive together, unpacked."""
    max_compression_ratio: int = 200
    """Unpacked to packed size, for files of an archive above 1 MiB."""
    max_pixels: int = 64_000_000
    max_files: int = 3_000
    """Files in one upload, those in archives included; bounds the answer's size too."""
    max_dataset_images: int = 100_000

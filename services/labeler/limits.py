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
    max_text_bytes: int = 64 << 10
    """Of one text in UTF-8, all its turns together; bounds a page of texts too."""
    max_text_turns: int = 256
    max_text_lines: int = 200_000
    """Lines in one file of texts, blank ones included."""
    max_dataset_texts: int = 100_000
    max_dataset_text_bytes: int = 192 << 20
    """All texts of a dataset together, as lines of a manifest; trainers read little more."""

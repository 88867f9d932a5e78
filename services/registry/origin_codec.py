"""The details of an origin as JSON, and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from services.registry.domain import LoraOrigin, TrainingAdvice
from services.registry.domain_files import StoredFile


def write_details(origin: LoraOrigin) -> dict[str, Any]:
    """What is kept of it beside the columns; nothing for what is not known."""
    details = {
        "environment": dict(origin.environment),
        "advice": [[told.code, told.field, told.message] for told in origin.advice],
        "preview_sheet": write_file(origin.preview_sheet) if origin.preview_sheet else None,
        "loss_plot": write_file(origin.loss_plot) if origin.loss_plot else None,
        "parent_sha256": origin.parent_sha256,
        "prior_dataset_sha256": origin.prior_dataset_sha256,
        "start_time": origin.start_time.isoformat() if origin.start_time else None,
        "end_time": origin.end_time.isoformat() if origin.end_time else None,
        "training_seconds": origin.training_seconds,
        "images_per_second": origin.images_per_second,
    }
    return {name: value for name, value in details.items() if value}


def read_details(details: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of LoraOrigin."""
    readers: dict[str, Callable[[Any], Any]] = {
        "advice": lambda rows: tuple(TrainingAdvice(*row) for row in rows),
        "preview_sheet": read_file,
        "loss_plot": read_file,
        "start_time": datetime.fromisoformat,
        "end_time": datetime.fromisoformat,
    }
    return {name: readers[name](value) if name in readers else value for name, value in details.items()}


def write_file(file: StoredFile) -> list[Any]:
    """A file of the store."""
    return [file.sha256, file.size_bytes, file.media_type]


def read_file(row: list[Any]) -> StoredFile:
    """What `write_file` has written."""
    sha256, size_bytes, media_type = row
    return StoredFile(sha256=sha256, size_bytes=size_bytes, media_type=media_type)

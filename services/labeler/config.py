"""What the labeler is told by its environment, read once; all faults are reported together."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from servicekit.common_config import CommonConfig, read_common_config
from servicekit.settings import Settings
from services.labeler.limits import UploadLimits
from services.labeler.service_lease import RunnerSettings

_MEBIBYTE: Final = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """Settings of one labeler process."""

    common: CommonConfig
    database_url: str
    """sqlite+aiosqlite:///file or postgresql+psycopg://..."""
    captioner: str
    """Directory or hub id of a BLIP"""
    captioner_threads: int
    """Threads of the captioner's process; 0: as torch sees fit"""
    decoder_processes: int
    """Pictures that are decoded at the same time"""
    decoder_memory_bytes: int
    """Address space of one decoder"""
    decode_timeout_seconds: float
    """Time for one picture"""
    limits: UploadLimits
    """Bounds on uploads"""
    runner: RunnerSettings
    """Leases of label jobs"""

    def __post_init__(self) -> None:
        if self.decoder_processes < 1:
            raise ValueError("there must be a decoder")


def read_config(environment: Mapping[str, str] = os.environ) -> Config:
    """The configuration; ConfigError that names every faulty variable."""
    reader = Settings(environment)
    common = read_common_config(reader, "labeler", listen="127.0.0.1:50052", metrics_listen="127.0.0.1:9102")
    database = f"sqlite+aiosqlite:///{common.home}/labeler.db"
    config = Config(
        common=common,
        database_url=reader.text("BRANDLOOM_LABELER_DATABASE_URL", database),
        captioner=reader.text("BRANDLOOM_LABELER_CAPTIONER", "demo/models/blip-tiny"),
        captioner_threads=reader.integer("BRANDLOOM_LABELER_CAPTIONER_THREADS", 0, 0, 256),
        decoder_processes=reader.integer("BRANDLOOM_LABELER_DECODERS", min(4, os.cpu_count() or 1), 1, 64),
        decoder_memory_bytes=reader.integer("BRANDLOOM_LABELER_DECODER_MEMORY_MIB", 3072, 512) * _MEBIBYTE,
        decode_timeout_seconds=reader.number("BRANDLOOM_LABELER_DECODE_TIMEOUT_SECONDS", 60.0, 0.1, 3600.0),
        limits=_read_limits(reader),
        runner=RunnerSettings(
            lease_seconds=reader.number("BRANDLOOM_LABELER_LEASE_SECONDS", 15.0, 1.0, 600.0),
        ),
    )
    reader.check()
    return config


def _read_limits(reader: Settings) -> UploadLimits:
    usual = UploadLimits()
    return UploadLimits(
        max_file_bytes=reader.integer(
            "BRANDLOOM_LABELER_MAX_FILE_MIB", usual.max_file_bytes // _MEBIBYTE, 1, 1024
        )
        * _MEBIBYTE,
        max_archive_bytes=reader.integer(
            "BRANDLOOM_LABELER_MAX_ARCHIVE_MIB", usual.max_archive_bytes // _MEBIBYTE, 1, 1 << 16
        )
        * _MEBIBYTE,
        max_archive_total_bytes=reader.integer(
            "BRANDLOOM_LABELER_MAX_ARCHIVE_UNPACKED_MIB",
            usual.max_archive_total_bytes // _MEBIBYTE,
            1,
            1 << 17,
        )
        * _MEBIBYTE,
        max_pixels=reader.integer("BRANDLOOM_LABELER_MAX_PIXELS", usual.max_pixels, 1, 1 << 30),
        max_dataset_images=reader.integer(
            "BRANDLOOM_LABELER_MAX_DATASET_IMAGES", usual.max_dataset_images, 1, 10_000_000
        ),
        max_dataset_texts=reader.integer(
            "BRANDLOOM_LABELER_MAX_DATASET_TEXTS", usual.max_dataset_texts, 1, 1_000_000
        ),
    )

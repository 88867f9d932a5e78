"""The trainer's configuration, read from the environment once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from servicekit.artifacts.open import StoreSettings, read_store_settings
from servicekit.logs import FORMATS, LEVELS
from servicekit.settings import Settings
from services.trainer.accelerators import count_accelerators


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainerConfig:
    """Everything that can be set."""

    home: Path
    """Where the token, the embedded database and store and the caches live."""
    listen: str
    metrics_listen: str
    """Empty: no /metrics."""
    database_url: str
    store: StoreSettings
    token: str
    """What callers must bear; empty: the local token in `home`."""
    labeler_address: str
    registry_address: str
    workers: int
    """Local worker processes; 0 where workers run elsewhere."""
    worker_threads: int
    """Threads of each local worker; 0: all cores that it may use."""
    pack_size: int
    """Most jobs that one worker trains together."""
    lease_timeout_seconds: float
    longest_wait_seconds: float
    """A job that waited so long is not passed by any more when packs are filled up."""
    max_retries: int
    retry_wait_seconds: float
    """Wait before the first retry; it doubles with each."""
    drain_seconds: float
    log_level: str
    log_format: str
    environment: Mapping[str, str] = field(repr=False)
    """What local workers inherit."""

    def __post_init__(self) -> None:
        if self.lease_timeout_seconds < 1.0:
            raise ValueError("lease_timeout_seconds must leave time for heartbeats")


def read_config(environment: Mapping[str, str] = os.environ) -> TrainerConfig:
    """The configuration; ConfigError names every variable at fault."""
    reader = Settings(environment)
    home = reader.path("BRANDLOOM_HOME", "~/.brandloom")
    config = TrainerConfig(
        home=home,
        listen=reader.address("BRANDLOOM_TRAINER_LISTEN", "127.0.0.1:50053"),
        metrics_listen=reader.address("BRANDLOOM_TRAINER_METRICS_LISTEN", "127.0.0.1:9103", allow_empty=True),
        database_url=reader.text("BRANDLOOM_TRAINER_DATABASE_URL", f"sqlite+aiosqlite:///{home}/trainer.db"),
        store=read_store_settings(reader, home),
        token=reader.text("BRANDLOOM_TOKEN", ""),
        labeler_address=reader.address("BRANDLOOM_LABELER_ADDRESS", "127.0.0.1:50052"),
        registry_address=reader.address("BRANDLOOM_REGISTRY_ADDRESS", "127.0.0.1:50051"),
        workers=reader.integer("BRANDLOOM_TRAINER_WORKERS", max(1, count_accelerators()), 0, 64),
        worker_threads=reader.integer("BRANDLOOM_TRAINER_THREADS", 0, 0, 1024),
        pack_size=reader.integer("BRANDLOOM_TRAINER_PACK_SIZE", 8, 1, 256),
        lease_timeout_seconds=reader.number("BRANDLOOM_TRAINER_LEASE_TIMEOUT_SECONDS", 30.0, 1.0, 3600.0),
        longest_wait_seconds=reader.number("BRANDLOOM_TRAINER_LONGEST_WAIT_SECONDS", 120.0, 0.0),
        max_retries=reader.integer("BRANDLOOM_TRAINER_MAX_RETRIES", 3, 0, 100),
        retry_wait_seconds=reader.number("BRANDLOOM_TRAINER_RETRY_WAIT_SECONDS", 2.0, 0.0, 3600.0),
        drain_seconds=reader.number("BRANDLOOM_TRAINER_DRAIN_SECONDS", 20.0, 0.0, 3600.0),
        log_level=reader.choice("BRANDLOOM_LOG_LEVEL", LEVELS, "INFO"),
        log_format=reader.choice("BRANDLOOM_LOG_FORMAT", FORMATS, "console"),
        environment=dict(environment),
    )
    reader.check()
    return config

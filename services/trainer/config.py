"""The trainer's configuration, read from the environment once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from servicekit.common_config import CommonConfig, read_common_config
from servicekit.settings import Settings
from services.trainer.accelerators import count_accelerators


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainerConfig:
    """Everything that can be set."""

    common: CommonConfig
    database_url: str
    labeler_address: str
    registry_address: str
    workers: int
    """Local worker processes; 0 where workers run elsewhere."""
    worker_threads: int
    """Threads of each local worker; 0: all cores that it may use."""
    pack_size: int
    """Most jobs that one worker trains together."""
    lease_timeout_seconds: float
    """For how long a silent worker is believed."""
    longest_wait_seconds: float
    """A job that waited so long is not passed by any more when packs are filled up."""
    grace_seconds: float
    """A job that waited so long for a free place may take that of one of a lower priority."""
    pack_turn_seconds: float
    """Then a pack that has had its worker for so long makes way for that job's."""
    aging_seconds: float
    """A job that waited so long goes before all others of its brand, whatever their priority."""
    max_retries: int
    retry_wait_seconds: float
    """Wait before the first retry; it doubles with each."""
    checkpoint_keep: timedelta
    """For how long a failed or cancelled job can be resumed from its last checkpoint."""
    environment: Mapping[str, str] = field(repr=False)
    """What local workers inherit."""

    def __post_init__(self) -> None:
        if self.lease_timeout_seconds < 1.0:
            raise ValueError("lease_timeout_seconds must leave time for heartbeats")


def read_config(environment: Mapping[str, str] = os.environ) -> TrainerConfig:
    """The configuration; ConfigError names every variable at fault."""
    reader = Settings(environment)
    common = read_common_config(reader, "trainer", listen="127.0.0.1:50053", metrics_listen="127.0.0.1:9103")
    database = f"sqlite+aiosqlite:///{common.home}/trainer.db"
    config = TrainerConfig(
        common=common,
        database_url=reader.text("BRANDLOOM_TRAINER_DATABASE_URL", database),
        labeler_address=reader.address("BRANDLOOM_LABELER_ADDRESS", "127.0.0.1:50052"),
        registry_address=reader.address("BRANDLOOM_REGISTRY_ADDRESS", "127.0.0.1:50051"),
        workers=reader.integer("BRANDLOOM_TRAINER_WORKERS", max(1, count_accelerators()), 0, 64),
        worker_threads=reader.integer("BRANDLOOM_TRAINER_THREADS", 0, 0, 1024),
        pack_size=reader.integer("BRANDLOOM_TRAINER_PACK_SIZE", 8, 1, 256),
        lease_timeout_seconds=reader.number("BRANDLOOM_TRAINER_LEASE_TIMEOUT_SECONDS", 30.0, 1.0, 3600.0),
        longest_wait_seconds=reader.number("BRANDLOOM_TRAINER_LONGEST_WAIT_SECONDS", 120.0, 0.0),
        grace_seconds=reader.number("BRANDLOOM_TRAINER_GRACE_SECONDS", 3.0, 0.0, 3600.0),
        pack_turn_seconds=reader.number("BRANDLOOM_TRAINER_PACK_TURN_SECONDS", 900.0, 1.0),
        aging_seconds=reader.number("BRANDLOOM_TRAINER_AGING_SECONDS", 21600.0, 1.0),
        max_retries=reader.integer("BRANDLOOM_TRAINER_MAX_RETRIES", 3, 0, 100),
        retry_wait_seconds=reader.number("BRANDLOOM_TRAINER_RETRY_WAIT_SECONDS", 2.0, 0.0, 3600.0),
        checkpoint_keep=timedelta(days=reader.number("BRANDLOOM_TRAINER_CHECKPOINT_DAYS", 14.0, 0.0, 3650.0)),
        environment=dict(environment),
    )
    reader.check()
    return config

"""The worker's configuration, read from the environment once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from servicekit.artifacts.open import StoreSettings, read_store_settings
from servicekit.base_models.settings import BaseModelSettings, read_base_model_settings
from servicekit.logs import FORMATS, LEVELS
from servicekit.settings import Settings


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerConfig:
    """Everything that can be set."""

    home: Path
    store: StoreSettings
    base_models: BaseModelSettings
    token: str
    """Empty: the local token in `home`."""
    trainer_address: str
    registry_address: str
    pack_size: int
    threads: int
    """Threads for arithmetic."""
    device: str
    """`cpu`, `cuda`, or `auto`: an accelerator where there is one."""
    pass_memory_bytes: int
    """That a pass may take of the device's memory beside the base; 0: what is free."""
    patience_seconds: float
    """For how long calls are made again that the trainer, the registry or the store do not answer."""
    log_level: str
    log_format: str


def read_config(environment: Mapping[str, str] = os.environ) -> WorkerConfig:
    """The configuration; ConfigError names every variable at fault."""
    reader = Settings(environment)
    home = reader.path("BRANDLOOM_HOME", "~/.brandloom")
    threads = reader.integer("BRANDLOOM_TRAINER_THREADS", 0, 0, 1024)
    store = read_store_settings(reader, home)
    config = WorkerConfig(
        home=home,
        store=store,
        base_models=read_base_model_settings(reader, home, store),
        token=reader.text("BRANDLOOM_TOKEN", ""),
        trainer_address=reader.address("BRANDLOOM_TRAINER_ADDRESS", "127.0.0.1:50053"),
        registry_address=reader.address("BRANDLOOM_REGISTRY_ADDRESS", "127.0.0.1:50051"),
        pack_size=reader.integer("BRANDLOOM_TRAINER_PACK_SIZE", 8, 1, 256),
        threads=threads or len(os.sched_getaffinity(0)),
        device=reader.choice("BRANDLOOM_TRAINER_DEVICE", ("auto", "cpu", "cuda"), "auto"),
        pass_memory_bytes=reader.integer("BRANDLOOM_TRAINER_PASS_MEMORY_MB", 0, 0, 1 << 24) << 20,
        patience_seconds=reader.number("BRANDLOOM_TRAINER_PATIENCE_SECONDS", 600.0, 1.0, 86400.0),
        log_level=reader.choice("BRANDLOOM_LOG_LEVEL", LEVELS, "INFO"),
        log_format=reader.choice("BRANDLOOM_LOG_FORMAT", FORMATS, "console"),
    )
    reader.check()
    return config

"""The registry's configuration, read from the environment once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from servicekit.artifacts.open import StoreSettings, read_store_settings
from servicekit.logs import FORMATS, LEVELS
from servicekit.settings import Settings

_GIB: Final = 1 << 30


@dataclass(frozen=True, kw_only=True, slots=True)
class RegistryConfig:
    """Everything that can be set."""

    home: Path
    """Where the token, the embedded database and the embedded store live."""
    listen: str
    metrics_listen: str
    """Empty: no /metrics."""
    database_url: str = field(repr=False)
    store: StoreSettings
    token: str = field(repr=False)
    """Empty: the local token in `home`, made when there is none."""
    max_upload_bytes: int
    """The largest LoRA file that is taken or registered."""
    change_poll_seconds: float
    """How often watchers look for changes that other replicas made."""
    drain_seconds: float
    log_level: str
    log_format: str

    def __post_init__(self) -> None:
        if self.change_poll_seconds > 1.5:
            raise ValueError("change_poll_seconds must let changes be seen within 2 seconds")


def read_config(environment: Mapping[str, str] = os.environ) -> RegistryConfig:
    """The configuration; ConfigError names every variable at fault."""
    reader = Settings(environment)
    home = reader.path("BRANDLOOM_HOME", "~/.brandloom")
    listen = reader.address("BRANDLOOM_REGISTRY_LISTEN", "127.0.0.1:50051")
    metrics_listen = reader.address("BRANDLOOM_REGISTRY_METRICS_LISTEN", "127.0.0.1:9101", allow_empty=True)
    database_url = reader.text("BRANDLOOM_REGISTRY_DATABASE_URL", f"sqlite+aiosqlite:///{home}/registry.db")
    store = read_store_settings(reader, home)
    max_upload_bytes = reader.integer("BRANDLOOM_REGISTRY_MAX_UPLOAD_BYTES", 4 * _GIB, 1, 1 << 40)
    poll_seconds = reader.number("BRANDLOOM_REGISTRY_CHANGE_POLL_SECONDS", 0.5, 0.05, 1.5)
    drain_seconds = reader.number("BRANDLOOM_REGISTRY_DRAIN_SECONDS", 20.0, 0.0, 3600.0)
    log_level = reader.choice("BRANDLOOM_LOG_LEVEL", LEVELS, "INFO")
    log_format = reader.choice("BRANDLOOM_LOG_FORMAT", FORMATS, "console")
    token = reader.text("BRANDLOOM_TOKEN", "")
    reader.check()
    return RegistryConfig(
        home=home,
        listen=listen,
        metrics_listen=metrics_listen,
        database_url=database_url,
        store=store,
        token=token,
        max_upload_bytes=max_upload_bytes,
        change_poll_seconds=poll_seconds,
        drain_seconds=drain_seconds,
        log_level=log_level,
        log_format=log_format,
    )

"""The registry's configuration, read from the environment once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from servicekit.common_config import CommonConfig, read_common_config
from servicekit.settings import Settings

_GIB: Final = 1 << 30


@dataclass(frozen=True, kw_only=True, slots=True)
class RegistryConfig:
    """Everything that can be set."""

    common: CommonConfig
    database_url: str = field(repr=False)
    max_upload_bytes: int
    """The largest LoRA file that is taken or registered."""
    change_poll_seconds: float
    """How often watchers look for changes that other replicas made."""

    def __post_init__(self) -> None:
        if self.change_poll_seconds > 1.5:
            raise ValueError("change_poll_seconds must let changes be seen within 2 seconds")


def read_config(environment: Mapping[str, str] = os.environ) -> RegistryConfig:
    """The configuration; ConfigError names every variable at fault."""
    reader = Settings(environment)
    common = read_common_config(reader, "registry", listen="127.0.0.1:50051", metrics_listen="127.0.0.1:9101")
    database = f"sqlite+aiosqlite:///{common.home}/registry.db"
    database_url = reader.text("BRANDLOOM_REGISTRY_DATABASE_URL", database)
    max_upload_bytes = reader.integer("BRANDLOOM_REGISTRY_MAX_UPLOAD_BYTES", 4 * _GIB, 1, 1 << 40)
    poll_seconds = reader.number("BRANDLOOM_REGISTRY_CHANGE_POLL_SECONDS", 0.5, 0.05, 1.5)
    reader.check()
    return RegistryConfig(
        common=common,
        database_url=database_url,
        max_upload_bytes=max_upload_bytes,
        change_poll_seconds=poll_seconds,
    )

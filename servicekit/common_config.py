"""The settings that every service has."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from servicekit.artifacts.open import StoreSettings, read_store_settings
from servicekit.identity import ensure_local_token
from servicekit.logs import FORMATS, LEVELS
from servicekit.settings import Settings


@dataclass(frozen=True, kw_only=True, slots=True)
class CommonConfig:
    """What a service's own config holds as `common`."""

    service: str
    """registry, labeler ...: in the names of its metrics, its log lines and its variables"""
    home: Path
    """Where the token, the embedded databases and the embedded store live"""
    listen: str
    metrics_listen: str
    """Empty: no /metrics"""
    store: StoreSettings
    token: str = field(repr=False)
    """Empty: the one in `home`"""
    drain_seconds: float
    request_id_keep: timedelta
    """For how long a repeated request is known for what it is"""
    log_level: str
    log_format: str

    def local_token(self) -> str:
        """The administrator's token: the one that was set, else that of `home`, which is made on first
        use."""
        return self.token or ensure_local_token(self.home)


def read_common_config(reader: Settings, service: str, *, listen: str, metrics_listen: str) -> CommonConfig:
    """Reads BRANDLOOM_* and BRANDLOOM_<SERVICE>_*; `listen` and `metrics_listen` are the service's
    defaults."""
    prefix = f"BRANDLOOM_{service.upper()}"
    home = reader.path("BRANDLOOM_HOME", "~/.brandloom")
    return CommonConfig(
        service=service,
        home=home,
        listen=reader.address(f"{prefix}_LISTEN", listen),
        metrics_listen=reader.address(f"{prefix}_METRICS_LISTEN", metrics_listen, allow_empty=True),
        store=read_store_settings(reader, home),
        token=reader.text("BRANDLOOM_TOKEN", ""),
        drain_seconds=reader.number(f"{prefix}_DRAIN_SECONDS", 20.0, 0.0, 3600.0),
        request_id_keep=timedelta(days=reader.number("BRANDLOOM_REQUEST_ID_DAYS", 30.0, 1.0, 3650.0)),
        log_level=reader.choice("BRANDLOOM_LOG_LEVEL", LEVELS, "INFO"),
        log_format=reader.choice("BRANDLOOM_LOG_FORMAT", FORMATS, "console"),
    )

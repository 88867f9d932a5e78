"""Where the services are and who calls: arguments first, then the environment, then the embedded defaults."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from brandloom.errors import ConfigurationError

SERVICES: Final[Mapping[str, int]] = {
    "registry": 50051,
    "labeler": 50052,
    "trainer": 50053,
    "inference": 50054,
}
"""Services and the ports that they listen on by default."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ConnectionSettings:
    """All that a connection needs; `addresses` has an entry for each of SERVICES."""

    addresses: Mapping[str, str]
    token: str
    timeout_seconds: float


def connection_settings(
    addresses: Mapping[str, str | None],
    *,
    token: str | None,
    home: str | Path | None,
    timeout_seconds: float,
    environment: Mapping[str, str] = os.environ,
) -> ConnectionSettings:
    """Settings from arguments and environment; ConfigurationError when there is no token to be found."""
    found = {
        service: addresses.get(service)
        or environment.get(f"BRANDLOOM_{service.upper()}_ADDRESS")
        or f"127.0.0.1:{port}"
        for service, port in SERVICES.items()
    }
    return ConnectionSettings(
        addresses=found,
        token=token or environment.get("BRANDLOOM_TOKEN") or _token_of(home, environment),
        timeout_seconds=timeout_seconds,
    )


def _token_of(home: str | Path | None, environment: Mapping[str, str]) -> str:
    folder = Path(home or environment.get("BRANDLOOM_HOME") or "~/.brandloom").expanduser()
    try:
        token = (folder / "token").read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        token = ""
    except OSError as error:
        raise ConfigurationError(f"the token in {folder} cannot be read: {error.strerror}") from error
    if not token:
        raise ConfigurationError(
            f"no token: pass one, set BRANDLOOM_TOKEN, or set BRANDLOOM_HOME to the services' home"
            f" (looked for {folder / 'token'}; services make it when they first start)"
        )
    return token

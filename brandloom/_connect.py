"""How a connection begins."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from brandloom._async_client import AsyncClient
from brandloom._client import Client
from brandloom._settings import ConnectionSettings, connection_settings

_TIMEOUT_SECONDS: Final = 60.0


def connect(
    *,
    registry: str | None = None,
    labeler: str | None = None,
    trainer: str | None = None,
    inference: str | None = None,
    token: str | None = None,
    home: str | Path | None = None,
    timeout_seconds: float = _TIMEOUT_SECONDS,
) -> Client:
    """A blocking client: `with brandloom.connect() as client: ...`.

    Addresses are `host:port`. What is not given comes from BRANDLOOM_<SERVICE>_ADDRESS, BRANDLOOM_TOKEN and
    BRANDLOOM_HOME (whose file `token` the embedded services make), then from the defaults. `timeout_seconds`
    bounds every call that has one answer. ConfigurationError when there is no token.
    """
    return Client(_settings(registry, labeler, trainer, inference, token, home, timeout_seconds))


def connect_async(
    *,
    registry: str | None = None,
    labeler: str | None = None,
    trainer: str | None = None,
    inference: str | None = None,
    token: str | None = None,
    home: str | Path | None = None,
    timeout_seconds: float = _TIMEOUT_SECONDS,
) -> AsyncClient:
    """The same for asynchronous code: `async with brandloom.connect_async() as client: ...`."""
    return AsyncClient(_settings(registry, labeler, trainer, inference, token, home, timeout_seconds))


def _settings(
    registry: str | None,
    labeler: str | None,
    trainer: str | None,
    inference: str | None,
    token: str | None,
    home: str | Path | None,
    timeout_seconds: float,
) -> ConnectionSettings:
    addresses = {"registry": registry, "labeler": labeler, "trainer": trainer, "inference": inference}
    return connection_settings(addresses, token=token, home=home, timeout_seconds=timeout_seconds)

"""A service as a process: configuration, logs, metrics, server, and exit codes that mean the same everywhere.

async def serve(config: RegistryConfig) -> None:
    metrics, drain = ServiceMetrics("registry"), Drain()
    ...
    server = build_server(
        config.common, metrics, registrations, readiness={"database": database.ready}, drain=drain
    )
    await serve_until_stopped(server, config.common, metrics)

if __name__ == "__main__":
    sys.exit(run_main(read_config, serve, common=lambda config: config.common))
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, TypeVar

from servicekit.common_config import CommonConfig
from servicekit.drain import Drain
from servicekit.health import ReadinessCheck
from servicekit.identity import Authenticator, LocalTokenAuthenticator
from servicekit.interceptors import server_interceptors
from servicekit.logs import configure_logs
from servicekit.metrics import ServiceMetrics, serve_metrics
from servicekit.server import DEFAULT_MESSAGE_BYTES, Registration, ServiceServer
from servicekit.settings import ConfigError

C = TypeVar("C")


def run_main(
    read: Callable[[], C],
    serve: Callable[[C], Coroutine[Any, Any, None]],
    *,
    common: Callable[[C], CommonConfig],
) -> int:
    """Reads, then serves to the end. 0 after a clean stop, 1 when an address cannot be had, 2 for a bad
    configuration, whose faults are told all at once."""
    try:
        config = read()
        shared = common(config)
        configure_logs(service=shared.service, level=shared.log_level, log_format=shared.log_format)
        asyncio.run(serve(config))
    except ConfigError as error:
        # Of what was read, or of what only shows when it is put to use.
        sys.stderr.write(f"{error}\n")
        return 2
    except OSError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def build_server(
    common: CommonConfig,
    metrics: ServiceMetrics,
    registrations: Sequence[Registration],
    *,
    readiness: Mapping[str, ReadinessCheck],
    drain: Drain,
    authenticator: Authenticator | None = None,
    after_start: Callable[[int], Awaitable[None]] | None = None,
    before_stop: Callable[[], Awaitable[None]] | None = None,
    readiness_poll_seconds: float = 2.0,
    max_message_bytes: int = DEFAULT_MESSAGE_BYTES,
) -> ServiceServer:
    """A server with all interceptors; it knows the local token if no other authenticator is given."""
    return ServiceServer(
        common.service,
        common.listen,
        server_interceptors(
            authenticator=authenticator or LocalTokenAuthenticator(common.local_token()),
            metrics=metrics,
            administrators_only=frozenset(
                f"/{registration.service_name}/{method}"
                for registration in registrations
                for method in registration.administrators_only
            ),
        ),
        registrations,
        readiness,
        drain=drain,
        after_start=after_start,
        before_stop=before_stop,
        drain_seconds=common.drain_seconds,
        readiness_poll_seconds=readiness_poll_seconds,
        max_message_bytes=max_message_bytes,
    )


async def serve_until_stopped(server: ServiceServer, common: CommonConfig, metrics: ServiceMetrics) -> None:
    """Serves, with /metrics beside it, until SIGTERM or SIGINT."""
    exporter = serve_metrics(common.metrics_listen, metrics)
    try:
        await server.run_until_stopped()
    finally:
        if exporter is not None:
            exporter.close()

"""The registry as a process: `python -m services.registry` reads its configuration, wires, serves."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from brandloom.api.registry.v1 import registry_pb2, registry_pb2_grpc
from servicekit.artifacts.open import open_store
from servicekit.clock import SystemClock
from servicekit.database import Database, migrate
from servicekit.drain import Drain
from servicekit.identity import LocalTokenAuthenticator, ensure_local_token
from servicekit.interceptors.chain import server_interceptors
from servicekit.logs import configure_logs
from servicekit.metrics import ServiceMetrics, serve_metrics
from servicekit.server import Registration, ServiceServer
from servicekit.settings import ConfigError
from services.registry.config import RegistryConfig, read_config
from services.registry.figures import PrometheusFigures
from services.registry.files import ArtifactFiles
from services.registry.inspection import LoraHeaderReader
from services.registry.repository import SqlRecordStore
from services.registry.service import RegistryService
from services.registry.servicer import RegistryServicer

MIGRATIONS: Final = Path(__file__).parent / "migrations"
SERVICE_NAME: Final = registry_pb2.DESCRIPTOR.services_by_name["RegistryService"].full_name


@asynccontextmanager
async def opened_server(config: RegistryConfig, metrics: ServiceMetrics) -> AsyncIterator[ServiceServer]:
    """A server with an up-to-date database, not yet started; its connections close at the end."""
    token = config.token or ensure_local_token(config.home)
    await asyncio.to_thread(migrate, config.database_url, MIGRATIONS)
    database = Database(config.database_url)
    artifacts = open_store(config.store.url, config.store)
    clock, drain = SystemClock(), Drain()
    service = RegistryService(
        store=SqlRecordStore(database, clock),
        files=ArtifactFiles(artifacts),
        headers=LoraHeaderReader(),
        figures=PrometheusFigures(metrics),
        clock=clock,
        max_upload_bytes=config.max_upload_bytes,
        change_poll_seconds=config.change_poll_seconds,
    )
    try:
        yield ServiceServer(
            "registry",
            config.listen,
            server_interceptors(authenticator=LocalTokenAuthenticator(token), metrics=metrics),
            [
                Registration(
                    SERVICE_NAME,
                    registry_pb2_grpc.add_RegistryServiceServicer_to_server,
                    RegistryServicer(service, drain),
                )
            ],
            {"database": database.ready, "store": artifacts.ready},
            drain=drain,
            drain_seconds=config.drain_seconds,
        )
    finally:
        await database.dispose()


async def serve(config: RegistryConfig) -> None:
    """Serves until SIGTERM or SIGINT."""
    metrics = ServiceMetrics("registry")
    async with opened_server(config, metrics) as server:
        exporter = serve_metrics(config.metrics_listen, metrics)
        try:
            await server.start()
            await server.run_until_stopped()
        finally:
            if exporter is not None:
                exporter.close()


def main() -> int:
    """Exit code 0 after a clean stop, 2 when the configuration is at fault."""
    try:
        config = read_config()
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    configure_logs(service="registry", level=config.log_level, log_format=config.log_format)
    asyncio.run(serve(config))
    return 0


if __name__ == "__main__":
    sys.exit(main())

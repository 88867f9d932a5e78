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
from servicekit.bootstrap import build_server, run_main, serve_until_stopped
from servicekit.chores import Chores
from servicekit.clock import SystemClock
from servicekit.database import Database, migrate
from servicekit.drain import Drain
from servicekit.identity import Authenticator
from servicekit.metrics import ServiceMetrics
from servicekit.request_ids import forgetting
from servicekit.server import Registration, ServiceServer
from services.registry.config import RegistryConfig, read_config
from services.registry.figures import PrometheusFigures
from services.registry.files import ArtifactFiles
from services.registry.inspection import LoraHeaderReader
from services.registry.repository import SqlRecordStore
from services.registry.service import RegistryService
from services.registry.servicer import ADMINISTRATORS_ONLY, RegistryServicer
from services.registry.tables import RequestIdRow

MIGRATIONS: Final = Path(__file__).parent / "migrations"
SERVICE_NAME: Final = registry_pb2.DESCRIPTOR.services_by_name["RegistryService"].full_name


@asynccontextmanager
async def opened_server(
    config: RegistryConfig, metrics: ServiceMetrics, *, authenticator: Authenticator | None = None
) -> AsyncIterator[ServiceServer]:
    """A server with an up-to-date database, not yet started; its connections close at the end."""
    await asyncio.to_thread(migrate, config.database_url, MIGRATIONS)
    database = Database(config.database_url)
    artifacts = open_store(config.common.store.url, config.common.store)
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
    add = registry_pb2_grpc.add_RegistryServiceServicer_to_server
    chores = Chores(forgetting(database, RequestIdRow, clock, config.common.request_id_keep))
    try:
        async with chores.running():
            yield build_server(
                config.common,
                metrics,
                [Registration(SERVICE_NAME, add, RegistryServicer(service, drain), ADMINISTRATORS_ONLY)],
                readiness={"database": database.ready, "store": artifacts.ready},
                drain=drain,
                authenticator=authenticator,
            )
    finally:
        await database.dispose()


async def serve(config: RegistryConfig) -> None:
    """Serves until SIGTERM or SIGINT."""
    metrics = ServiceMetrics("registry")
    async with opened_server(config, metrics) as server:
        await serve_until_stopped(server, config.common, metrics)


if __name__ == "__main__":
    sys.exit(run_main(read_config, serve, common=lambda config: config.common))

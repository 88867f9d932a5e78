"""The labeler as a process: `python -m services.labeler` reads its configuration, wires, serves."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import structlog

from brandloom.api.labeler.v1 import labeler_pb2, labeler_pb2_grpc
from servicekit.artifacts.open import open_store
from servicekit.artifacts.port import ArtifactStore
from servicekit.bootstrap import build_server, run_main, serve_until_stopped
from servicekit.chores import Chore, Chores
from servicekit.clock import SystemClock
from servicekit.database import Database, migrate
from servicekit.drain import Drain
from servicekit.identity import Authenticator
from servicekit.metrics import ServiceMetrics
from servicekit.request_ids import forgetting
from servicekit.server import Registration, ServiceServer
from services.labeler.archive_reader import ZipArchiveReader
from services.labeler.bell import Bell
from services.labeler.caption_exports import CaptionFileStore
from services.labeler.captioner import ProcessCaptioner
from services.labeler.config import Config, read_config
from services.labeler.figures import PrometheusMeter
from services.labeler.picture_reader import ProcessPictureReader
from services.labeler.repository import SqlRecords
from services.labeler.service import DatasetService, ImageService
from services.labeler.service_captions import CaptionService
from services.labeler.service_exports import ExportService
from services.labeler.service_labeling import LabelJobService
from services.labeler.service_revisions import RevisionService
from services.labeler.service_runner import LabelJobRunner
from services.labeler.service_texts import TextService
from services.labeler.service_uploads import UploadService
from services.labeler.servicer import LabelerServicer, Services
from services.labeler.tables import RequestIdRow

MIGRATIONS: Final = Path(__file__).parent / "migrations"
SERVICE_NAME: Final = labeler_pb2.DESCRIPTOR.services_by_name["LabelerService"].full_name
_MEASURE_SECONDS: Final = 1.0
_log = structlog.get_logger(__name__)


@asynccontextmanager
async def opened_server(
    config: Config, metrics: ServiceMetrics, authenticator: Authenticator | None = None
) -> AsyncIterator[ServiceServer]:
    """A server with an up-to-date database, not yet started, and a runner that does label jobs meanwhile.

    At the end the job in hand goes back to the queue, and workers and connections are closed.
    """
    await asyncio.to_thread(migrate, config.database_url, MIGRATIONS)
    async with AsyncExitStack() as stack:
        database = Database(config.database_url)
        stack.push_async_callback(database.dispose)
        records, store = SqlRecords(database), open_store(config.common.store.url, config.common.store)
        meter, bell, drain = PrometheusMeter(metrics), Bell(), Drain()
        services = _services(config, records, store, meter, bell, stack)
        await stack.enter_async_context(_running_jobs(config, records, store, meter, bell))
        keep = config.common.request_id_keep
        chores = Chores(forgetting(database, RequestIdRow, SystemClock(), keep))
        await stack.enter_async_context(chores.running())
        servicer = LabelerServicer(services, drain, max_file_bytes=config.limits.max_file_bytes)
        add = labeler_pb2_grpc.add_LabelerServiceServicer_to_server
        yield build_server(
            config.common,
            metrics,
            [Registration(SERVICE_NAME, add, servicer)],
            readiness={"database": database.ready, "store": store.ready},
            drain=drain,
            authenticator=authenticator,
        )


def _services(
    config: Config,
    records: SqlRecords,
    store: ArtifactStore,
    meter: PrometheusMeter,
    bell: Bell,
    stack: AsyncExitStack,
) -> Services:
    clock = SystemClock()
    pictures = ProcessPictureReader(
        processes=config.decoder_processes,
        max_pixels=config.limits.max_pixels,
        memory_bytes=config.decoder_memory_bytes,
        timeout_seconds=config.decode_timeout_seconds,
    )
    stack.push_async_callback(pictures.close)
    files = CaptionFileStore(store, config.limits)
    return Services(
        datasets=DatasetService(records, clock),
        images=ImageService(records, store, clock),
        uploads=UploadService(
            records=records,
            store=store,
            pictures=pictures,
            archives=ZipArchiveReader(config.limits),
            clock=clock,
            meter=meter,
            limits=config.limits,
        ),
        texts=TextService(records, clock, config.limits),
        captions=CaptionService(records, files, clock),
        jobs=LabelJobService(records, clock, bell, captioner=config.captioner),
        revisions=RevisionService(records, store, clock),
        exports=ExportService(records, store, files),
    )


@asynccontextmanager
async def _running_jobs(
    config: Config, records: SqlRecords, store: ArtifactStore, meter: PrometheusMeter, bell: Bell
) -> AsyncIterator[None]:
    captioner = ProcessCaptioner(config.captioner, threads=config.captioner_threads)
    runner = LabelJobRunner(
        records=records,
        store=store,
        captioner=captioner,
        clock=SystemClock(),
        bell=bell,
        meter=meter,
        settings=config.runner,
        report=lambda error: _log.error("labeling failed", exc_info=error),
    )
    task = asyncio.create_task(runner.run_forever())
    try:
        # Apart from the runner, which looks at the queue only between two jobs.
        async with Chores(Chore(_MEASURE_SECONDS, runner.measure)).running():
            yield
    finally:
        task.cancel()
        await asyncio.wait({task})
        await captioner.close()


async def serve(config: Config) -> None:
    """Serves until SIGTERM or SIGINT."""
    metrics = ServiceMetrics("labeler")
    async with opened_server(config, metrics) as server:
        await serve_until_stopped(server, config.common, metrics)


if __name__ == "__main__":
    sys.exit(run_main(read_config, serve, common=lambda config: config.common))

"""Wires the trainer: every real thing is made here and handed to those who need it."""

from __future__ import annotations

import asyncio
import signal
from datetime import timedelta
from pathlib import Path
from typing import Final

from brandloom.api.trainer.v1 import trainer_pb2, trainer_pb2_grpc, worker_pb2, worker_pb2_grpc
from servicekit.artifacts.open import open_store
from servicekit.channels import open_channel
from servicekit.clock import SystemClock
from servicekit.database import Database
from servicekit.drain import Drain
from servicekit.identity import LocalTokenAuthenticator, ensure_local_token
from servicekit.interceptors import server_interceptors
from servicekit.metrics import MetricsExporter, ServiceMetrics, serve_metrics
from servicekit.migrations import migrate
from servicekit.server import Registration, ServiceServer
from services.trainer.bell import LocalBell
from services.trainer.config import TrainerConfig
from services.trainer.domain import RetryPolicy
from services.trainer.executor import ExecutorSettings, LocalExecutor
from services.trainer.housekeeping import Housekeeping
from services.trainer.labeler_client import LabelerClient
from services.trainer.metrics import PrometheusMeters
from services.trainer.planning import Planner
from services.trainer.registry_client import RegistryClient
from services.trainer.repository import SqlJobs
from services.trainer.service import TrainerService
from services.trainer.service_workers import LeaseRules, WorkerService
from services.trainer.servicer import TrainerServicer
from services.trainer.worker_servicer import TrainingWorkerServicer

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
MIGRATIONS: Final = Path(__file__).parent / "migrations"


class TrainerApplication:
    """The whole service in one object: `start`, then `run_until_stopped` or `stop`."""

    def __init__(self, config: TrainerConfig) -> None:
        self._config = config
        token = config.token or ensure_local_token(config.home)
        clock, bell = SystemClock(), LocalBell()
        self._metrics = ServiceMetrics("trainer")
        meters = PrometheusMeters(self._metrics)
        self._database = Database(config.database_url)
        self._channels = [
            open_channel(config.labeler_address, token=token),
            open_channel(config.registry_address, token=token),
        ]
        store = open_store(config.store.url, config.store)
        jobs = SqlJobs(self._database, clock)
        planner = Planner(LabelerClient(self._channels[0]), RegistryClient(self._channels[1]), store)
        self._workers = WorkerService(jobs, bell, meters, clock, _lease_rules(config), _retries(config))
        self._meters = meters
        drain = Drain()
        self._server = ServiceServer(
            name="trainer",
            listen=config.listen,
            interceptors=server_interceptors(
                authenticator=LocalTokenAuthenticator(token), metrics=self._metrics
            ),
            registrations=[
                Registration(
                    trainer_pb2.DESCRIPTOR.services_by_name["TrainerService"].full_name,
                    trainer_pb2_grpc.add_TrainerServiceServicer_to_server,
                    TrainerServicer(TrainerService(jobs, planner, store, bell, clock), drain),
                ),
                Registration(
                    worker_pb2.DESCRIPTOR.services_by_name["TrainingWorkerService"].full_name,
                    worker_pb2_grpc.add_TrainingWorkerServiceServicer_to_server,
                    TrainingWorkerServicer(self._workers),
                ),
            ],
            readiness={"database": self._database.ready, "store": store.ready},
            drain=drain,
            drain_seconds=config.drain_seconds,
        )
        self._executor: LocalExecutor | None = None
        self._exporter: MetricsExporter | None = None
        self._housekeeping: Housekeeping | None = None

    @property
    def worker_pids(self) -> list[int]:
        """Process ids of the local workers."""
        return self._executor.worker_pids if self._executor else []

    async def start(self) -> int:
        """Migrates, serves, starts the local workers; returns the port."""
        await asyncio.to_thread(migrate, self._config.database_url, MIGRATIONS)
        self._exporter = serve_metrics(self._config.metrics_listen, self._metrics)
        port = await self._server.start()
        settings = ExecutorSettings(
            workers=self._config.workers,
            environment=_worker_environment(self._config, port),
            stop_seconds=self._config.drain_seconds * 0.75,
        )
        self._executor = LocalExecutor(settings, self._workers, self._meters.worker_restarted)
        self._housekeeping = Housekeeping(self._workers, self._executor)
        await self._executor.start()
        self._housekeeping.start()
        return port

    async def run_until_stopped(self) -> None:
        """Serves until SIGTERM or SIGINT; a second signal cuts the drain short."""
        signals = asyncio.Semaphore(0)
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, signals.release)
        try:
            await signals.acquire()
            stopping = asyncio.create_task(self.stop())
            hurry = asyncio.create_task(signals.acquire())
            await asyncio.wait({stopping, hurry}, return_when=asyncio.FIRST_COMPLETED)
            if not stopping.done():
                stopping.cancel()
            hurry.cancel()
            await asyncio.gather(stopping, hurry, return_exceptions=True)
        finally:
            for number in _SIGNALS:
                loop.remove_signal_handler(number)

    async def stop(self) -> None:
        """Lets the workers give their jobs back while the server still answers, then drains and ends."""
        try:
            await self._stop_workers()
            await self._server.stop()
        finally:
            await self._close()

    async def _stop_workers(self) -> None:
        if self._executor is not None:
            await self._executor.stop()

    async def _close(self) -> None:
        if self._housekeeping is not None:
            await self._housekeeping.stop()
        for channel in self._channels:
            await channel.close()
        await self._database.dispose()
        if self._exporter is not None:
            self._exporter.close()


def _lease_rules(config: TrainerConfig) -> LeaseRules:
    return LeaseRules(
        timeout=timedelta(seconds=config.lease_timeout_seconds),
        longest_wait=timedelta(seconds=config.longest_wait_seconds),
    )


def _retries(config: TrainerConfig) -> RetryPolicy:
    return RetryPolicy(max_retries=config.max_retries, first_wait_seconds=config.retry_wait_seconds)


def _worker_environment(config: TrainerConfig, port: int) -> dict[str, str]:
    environment = {
        **config.environment,
        "BRANDLOOM_HOME": str(config.home),
        "BRANDLOOM_TRAINER_ADDRESS": f"127.0.0.1:{port}",
        "BRANDLOOM_TRAINER_PACK_SIZE": str(config.pack_size),
    }
    if config.token:
        environment["BRANDLOOM_TOKEN"] = config.token
    if config.worker_threads:
        # Before torch is loaded: its OpenMP threads are made with the first operation.
        environment["OMP_NUM_THREADS"] = str(config.worker_threads)
    return environment

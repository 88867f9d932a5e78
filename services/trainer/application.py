"""Wires the trainer: every real thing is made here and handed to those who need it."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Final

from brandloom.api.trainer.v1 import trainer_pb2, trainer_pb2_grpc, worker_pb2, worker_pb2_grpc
from servicekit.artifacts.open import open_store
from servicekit.bootstrap import build_server
from servicekit.channels import open_channel
from servicekit.chores import Chore, Chores
from servicekit.clock import SystemClock
from servicekit.database import Database
from servicekit.drain import Drain
from servicekit.identity import Authenticator
from servicekit.metrics import MetricsExporter, ServiceMetrics, serve_metrics
from servicekit.migrations import migrate
from servicekit.request_ids import forgetting
from servicekit.server import Registration
from services.trainer.bell import LocalBell
from services.trainer.config import TrainerConfig
from services.trainer.executor import ExecutorSettings, LocalExecutor
from services.trainer.labeler_client import LabelerClient
from services.trainer.leasing import QueueRules
from services.trainer.metrics import PrometheusMeters
from services.trainer.optimizer_libraries import missing_libraries
from services.trainer.planning import Planner
from services.trainer.registry_client import RegistryClient
from services.trainer.repository import SqlJobs
from services.trainer.retries import RetryPolicy
from services.trainer.service import TrainerService
from services.trainer.service_checkpoints import CheckpointKeeper
from services.trainer.service_packing import PackingService
from services.trainer.service_workers import LeaseRules, WorkerService
from services.trainer.servicer import TrainerServicer
from services.trainer.tables import RequestIdRow
from services.trainer.text_lengths import ProcessTextLengths
from services.trainer.worker_servicer import ADMINISTRATORS_ONLY, TrainingWorkerServicer

MIGRATIONS: Final = Path(__file__).parent / "migrations"
_WATCH_SECONDS: Final = 1.0


class TrainerApplication:
    """The whole service in one object: `run_until_stopped`, or `start` and then `stop`."""

    def __init__(
        self,
        config: TrainerConfig,
        *,
        authenticator: Authenticator | None = None,
        sweep_seconds: float = 60.0,
    ) -> None:
        """`sweep_seconds` lie between two looks for checkpoints that are to be deleted."""
        self._sweep_seconds = sweep_seconds
        self._config = config
        token = config.common.local_token()
        clock, bell = SystemClock(), LocalBell()
        self._clock = clock
        self._metrics = ServiceMetrics("trainer")
        meters = PrometheusMeters(self._metrics)
        self._database = Database(config.database_url)
        labeler = open_channel(config.labeler_address, token=token)
        registry = open_channel(config.registry_address, token=token)
        self._channels = (labeler, registry)
        store = open_store(config.common.store.url, config.common.store)
        jobs = SqlJobs(self._database, clock)
        self._checkpoints = CheckpointKeeper(jobs, store, clock, keep=config.checkpoint_keep)
        # Workers elsewhere may have more than this service.
        missing = missing_libraries() if config.workers else {}
        self._lengths = ProcessTextLengths()
        planner = Planner(
            LabelerClient(labeler), RegistryClient(registry), store, self._lengths, missing=missing
        )
        rules = _lease_rules(config)
        self._workers = WorkerService(jobs, bell, meters, clock, rules, _retries(config))
        self._packer = PackingService(jobs, bell, clock, rules.queue, seen_within=2 * rules.timeout)
        service = TrainerService(jobs, planner, store, bell, clock, self._packer)
        self._meters = meters
        drain = Drain()
        self._server = build_server(
            config.common,
            self._metrics,
            _registrations(service, self._workers, self._packer, drain),
            readiness={"database": self._database.ready, "store": store.ready},
            drain=drain,
            after_start=self._start_workers,
            before_stop=self._stop_workers,
            authenticator=authenticator,
        )
        self._executor: LocalExecutor | None = None
        self._exporter: MetricsExporter | None = None
        self._running = AsyncExitStack()

    @property
    def worker_pids(self) -> list[int]:
        """Process ids of the local workers."""
        return self._executor.worker_pids if self._executor else []

    async def start(self) -> int:
        """Migrates, serves, starts the local workers; returns the port."""
        await self._prepare()
        return await self._server.start()

    async def run_until_stopped(self) -> None:
        """Starts, and serves until SIGTERM or SIGINT.

        Local workers give their jobs back while the server still answers.
        """
        try:
            await self._prepare()
            # It starts itself, listening for signals: none can come between being ready and that.
            await self._server.run_until_stopped()
        finally:
            await self._close()

    async def stop(self) -> None:
        """Drains and ends."""
        try:
            await self._server.stop()
        finally:
            await self._close()

    async def _prepare(self) -> None:
        await asyncio.to_thread(migrate, self._config.database_url, MIGRATIONS)
        self._exporter = serve_metrics(self._config.common.metrics_listen, self._metrics)

    async def _start_workers(self, port: int) -> None:
        settings = ExecutorSettings(
            workers=self._config.workers,
            environment=_worker_environment(self._config, port),
            stop_seconds=self._config.common.drain_seconds * 0.75,
        )
        self._executor = LocalExecutor(settings, self._workers, self._meters.worker_restarted)
        await self._executor.start()
        await self._running.enter_async_context(self._chores(self._executor).running())

    def _chores(self, executor: LocalExecutor) -> Chores:
        """Taking jobs from silent workers, measuring the queue; and, less often, throwing old things away."""
        workers, keep = self._workers, self._config.common.request_id_keep
        return Chores(
            Chore(_WATCH_SECONDS, workers.reap, executor.free_orphaned_leases, workers.measure),
            Chore(_WATCH_SECONDS, self._packer.make_way),
            Chore(self._sweep_seconds, self._checkpoints.sweep, self._packer.forget),
            forgetting(self._database, RequestIdRow, self._clock, keep),
        )

    async def _stop_workers(self) -> None:
        if self._executor is not None:
            await self._executor.stop()

    async def _close(self) -> None:
        await self._running.aclose()
        if self._executor is not None:
            self._executor.kill()
        await self._lengths.close()
        for channel in self._channels:
            await channel.close()
        await self._database.dispose()
        if self._exporter is not None:
            self._exporter.close()


def _registrations(
    service: TrainerService, workers: WorkerService, packer: PackingService, drain: Drain
) -> list[Registration]:
    return [
        Registration(
            trainer_pb2.DESCRIPTOR.services_by_name["TrainerService"].full_name,
            trainer_pb2_grpc.add_TrainerServiceServicer_to_server,
            TrainerServicer(service, drain),
        ),
        Registration(
            worker_pb2.DESCRIPTOR.services_by_name["TrainingWorkerService"].full_name,
            worker_pb2_grpc.add_TrainingWorkerServiceServicer_to_server,
            TrainingWorkerServicer(workers, packer),
            ADMINISTRATORS_ONLY,
        ),
    ]


def _lease_rules(config: TrainerConfig) -> LeaseRules:
    return LeaseRules(
        timeout=timedelta(seconds=config.lease_timeout_seconds),
        queue=QueueRules(
            longest_wait=timedelta(seconds=config.longest_wait_seconds),
            grace=timedelta(seconds=config.grace_seconds),
            turn=timedelta(seconds=config.pack_turn_seconds),
            aging=timedelta(seconds=config.aging_seconds),
        ),
    )


def _retries(config: TrainerConfig) -> RetryPolicy:
    return RetryPolicy(max_retries=config.max_retries, first_wait_seconds=config.retry_wait_seconds)


def _worker_environment(config: TrainerConfig, port: int) -> dict[str, str]:
    environment = {
        **config.environment,
        "BRANDLOOM_HOME": str(config.common.home),
        "BRANDLOOM_TRAINER_ADDRESS": f"127.0.0.1:{port}",
        "BRANDLOOM_TRAINER_PACK_SIZE": str(config.pack_size),
    }
    if config.common.token:
        environment["BRANDLOOM_TOKEN"] = config.common.token
    if config.worker_threads:
        # Before torch is loaded: its OpenMP threads are made with the first operation.
        environment["OMP_NUM_THREADS"] = str(config.worker_threads)
    return environment

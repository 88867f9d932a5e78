"""A trainer behind a real gRPC server with all interceptors."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from brandloom.api.trainer.v1 import trainer_pb2, trainer_pb2_grpc, worker_pb2, worker_pb2_grpc
from servicekit.channels import open_channel
from servicekit.drain import Drain
from servicekit.interceptors import server_interceptors
from servicekit.metrics import ServiceMetrics
from servicekit.server import Registration, ServiceServer
from services.trainer.servicer import TrainerServicer
from services.trainer.worker_servicer import TrainingWorkerServicer
from tests.fakes.identities import GUEST_TOKEN, AdministratorAndGuest
from tests.fixtures.trainer_service import Trainer, trainer_over_fakes

TOKEN = "a-token-for-tests"


@dataclass
class Api:
    """Stubs of both services, and what is behind them."""

    jobs: trainer_pb2_grpc.TrainerServiceStub
    workers: worker_pb2_grpc.TrainingWorkerServiceStub
    behind: Trainer
    server: ServiceServer
    guests_jobs: trainer_pb2_grpc.TrainerServiceStub


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with trainer_over_fakes(tmp_path) as behind:
        drain = Drain()
        server = ServiceServer(
            "trainer",
            "127.0.0.1:0",
            server_interceptors(
                authenticator=AdministratorAndGuest(TOKEN, "acme"), metrics=ServiceMetrics("trainer")
            ),
            [
                Registration(
                    trainer_pb2.DESCRIPTOR.services_by_name["TrainerService"].full_name,
                    trainer_pb2_grpc.add_TrainerServiceServicer_to_server,
                    TrainerServicer(behind.service, drain),
                ),
                Registration(
                    worker_pb2.DESCRIPTOR.services_by_name["TrainingWorkerService"].full_name,
                    worker_pb2_grpc.add_TrainingWorkerServiceServicer_to_server,
                    TrainingWorkerServicer(behind.workers, behind.packer),
                ),
            ],
            {},
            drain=drain,
        )
        port = await server.start()
        channel = open_channel(f"127.0.0.1:{port}", token=TOKEN)
        guests = open_channel(f"127.0.0.1:{port}", token=GUEST_TOKEN)
        yield Api(
            trainer_pb2_grpc.TrainerServiceStub(channel),
            worker_pb2_grpc.TrainingWorkerServiceStub(channel),
            behind,
            server,
            trainer_pb2_grpc.TrainerServiceStub(guests),
        )
        await guests.close()
        await channel.close()
        await server.stop(0)

"""The trainer as it is wired for real, asked by a guest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from brandloom.api.trainer.v1 import trainer_pb2, trainer_pb2_grpc, worker_pb2, worker_pb2_grpc
from servicekit.channels import open_channel
from servicekit.errors import ServiceError
from servicekit.status import from_rpc_error
from services.trainer.application import TrainerApplication
from services.trainer.config import read_config
from tests.fakes.identities import GUEST_TOKEN, AdministratorAndGuest
from tests.grpc.trainer.conftest import TOKEN


async def refusal(call: Any) -> ServiceError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
    return from_rpc_error(caught.value)


async def test_guests_are_neither_workers_nor_of_another_brand(tmp_path: Path) -> None:
    config = read_config(
        {
            "BRANDLOOM_HOME": str(tmp_path),
            "BRANDLOOM_TOKEN": TOKEN,
            "BRANDLOOM_TRAINER_LISTEN": "127.0.0.1:0",
            "BRANDLOOM_TRAINER_METRICS_LISTEN": "",
            "BRANDLOOM_TRAINER_WORKERS": "0",
        }
    )
    application = TrainerApplication(config, authenticator=AdministratorAndGuest(TOKEN, "acme"))
    port = await application.start()
    async with open_channel(f"127.0.0.1:{port}", token=GUEST_TOKEN) as channel:
        workers = worker_pb2_grpc.TrainingWorkerServiceStub(channel)
        jobs = trainer_pb2_grpc.TrainerServiceStub(channel)
        for call in (
            workers.LeaseTrainingJobs(worker_pb2.LeaseTrainingJobsRequest()),
            workers.Heartbeat(worker_pb2.HeartbeatRequest()),
            workers.ReportTrainingEvents(worker_pb2.ReportTrainingEventsRequest()),
            workers.CompleteTrainingJob(worker_pb2.CompleteTrainingJobRequest()),
        ):
            assert (await refusal(call)).reason == "ADMINISTRATOR_REQUIRED"
        for theirs in (
            jobs.GetTrainingJob(trainer_pb2.GetTrainingJobRequest(name="brands/globex/?")),
            jobs.CreateTrainingJob(trainer_pb2.CreateTrainingJobRequest(parent="brands/globex")),
            jobs.ListTrainingJobs(trainer_pb2.ListTrainingJobsRequest(parent="brands/globex", filter="(")),
        ):
            assert (await refusal(theirs)).reason == "BRAND_FORBIDDEN"
        all_brands = trainer_pb2.ListTrainingJobsRequest(parent="brands/-")
        assert not (await jobs.ListTrainingJobs(all_brands)).training_jobs
    await application.stop()

"""The trainer as it is wired for real, asked by a guest."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from brandloom.api.trainer.v1 import trainer_pb2, trainer_pb2_grpc, worker_pb2, worker_pb2_grpc
from servicekit.artifacts.local import LocalStore
from servicekit.channels import open_channel
from servicekit.clock import SystemClock
from servicekit.database import Database, migrate
from servicekit.errors import ServiceError
from servicekit.status import from_rpc_error
from services.trainer.application import MIGRATIONS, TrainerApplication
from services.trainer.config import TrainerConfig, read_config
from services.trainer.events import ArtifactKind, JobArtifact
from services.trainer.repository import SqlJobs
from services.trainer.sources import Blob
from tests.fakes.identities import GUEST_TOKEN, AdministratorAndGuest
from tests.fixtures.trainer_jobs import NOW, job
from tests.grpc.trainer.conftest import TOKEN
from tests.waiting import until


async def refusal(call: Any) -> ServiceError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
    return from_rpc_error(caught.value)


def settings(home: Path) -> dict[str, str]:
    return {
        "BRANDLOOM_HOME": str(home),
        "BRANDLOOM_TOKEN": TOKEN,
        "BRANDLOOM_TRAINER_LISTEN": "127.0.0.1:0",
        "BRANDLOOM_TRAINER_METRICS_LISTEN": "",
        "BRANDLOOM_TRAINER_WORKERS": "0",
    }


def configuration(home: Path) -> TrainerConfig:
    return read_config(settings(home))


async def test_a_signal_as_soon_as_it_serves_ends_it_well(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.trainer"),
        env={**os.environ, **settings(tmp_path), "BRANDLOOM_TRAINER_WORKERS": "1"},
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    while b"serving" not in (line := await asyncio.wait_for(process.stderr.readline(), 60)):
        assert line, "the trainer ended before it served"
    process.send_signal(signal.SIGTERM)
    rest = await asyncio.wait_for(process.stderr.read(), 60)
    assert await process.wait() == 0
    assert b"stopped" in rest
    assert b"Traceback" not in rest, rest.decode()


async def test_guests_are_neither_workers_nor_of_another_brand(tmp_path: Path) -> None:
    config = configuration(tmp_path)
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


async def test_checkpoints_that_nothing_goes_on_from_are_deleted(
    tmp_path: Path,
) -> None:
    config = configuration(tmp_path)
    await asyncio.to_thread(migrate, config.database_url, MIGRATIONS)
    store, database = LocalStore(tmp_path / "store"), Database(config.database_url)
    stored = await store.put_bytes(b"a checkpoint")
    file = JobArtifact(
        kind=ArtifactKind.CHECKPOINT,
        file_name="checkpoint-1",
        blob=Blob(stored.sha256, stored.size_bytes),
        media_type="x",
        step=1,
    )
    made = job("one")
    async with SqlJobs(database, SystemClock()).transaction() as transaction:
        await transaction.insert(made)
        made.lease_to("w1", NOW, timedelta(minutes=1))
        made.report(file, NOW)
        made.succeed(1, "brands/acme/loras/hero/versions/1", NOW)
        await transaction.save(made)
    await database.dispose()
    application = TrainerApplication(config)
    await application.start()

    async def is_gone() -> bool:
        return await store.stat(stored.sha256) is None

    await until(is_gone)
    await application.stop()

"""A small world for training: a real registry, a tiny base model, pictures in a store, and a trainer over
them."""

from __future__ import annotations

import asyncio
import io
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc.aio
import numpy as np
import pytest
from PIL import Image

from brandloom.api.common.v1 import family_pb2
from brandloom.api.registry.v1 import registry_pb2, registry_pb2_grpc
from brandloom.api.registry.v1 import resources_pb2 as registry_resources
from brandloom.api.trainer.v1 import resources_pb2, trainer_pb2, trainer_pb2_grpc
from lorakit.base_digest import base_digest
from lorakit.safetensors_header import read_header
from servicekit.artifacts.local import LocalStore
from servicekit.channels import open_channel
from servicekit.metrics import ServiceMetrics
from services.registry.__main__ import opened_server
from services.registry.config import read_config as read_registry_config
from services.trainer.application import TrainerApplication
from services.trainer.config import read_config
from services.trainer.sources import Blob, DatasetRevision
from services.trainer.worker.bases import ResidentBase
from services.trainer.worker.config import read_config as read_worker_config
from services.trainer.worker.engine_thread import EngineThread
from services.trainer.worker.memory_report import device_title
from services.trainer.worker.patience import Patience
from services.trainer.worker.publisher import Publisher
from services.trainer.worker.results import Shelf
from services.trainer.worker.tools import Tools
from services.trainer.worker.trainer_client import TrainerClient
from services.trainer.worker.worker import Worker
from tests.fakes.trainer_labeler import FakeLabeler, served_labeler
from tests.fixtures.tiny_sd import save_tiny_pipeline

TOKEN = "a-token-for-tests"
BRAND = "acme"
REVISION = f"brands/{BRAND}/datasets/hero/revisions/1"


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_pipeline(tmp_path_factory.mktemp("base"))


@dataclass
class World:
    """Everything around the trainer, and what clients of it need."""

    home: Path
    environment: dict[str, str]
    store: LocalStore
    labeler: FakeLabeler
    registry: registry_pb2_grpc.RegistryServiceStub

    async def versions(self, lora: str = "hero") -> list[registry_resources.LoraVersion]:
        request = registry_pb2.ListLoraVersionsRequest(parent=f"brands/{BRAND}/loras/{lora}")
        try:
            return list((await self.registry.ListLoraVersions(request)).versions)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                return []
            raise


async def add_revision(
    world: World, *, pictures: int = 6, held_out: int = 0, name: str = REVISION, broken: bool = False
) -> None:
    """Puts random pictures and their manifest into the store; `held_out` of them are for validation."""
    random = np.random.default_rng(3)
    lines = []
    for index in range(pictures):
        buffer = io.BytesIO()
        Image.fromarray(random.integers(0, 255, (20, 16, 3), dtype=np.uint8)).save(buffer, format="PNG")
        data = b"no picture" if broken else buffer.getvalue()
        artifact = await world.store.put_bytes(data)
        line = {
            "sha256": artifact.sha256,
            "size_bytes": artifact.size_bytes,
            "width": 16,
            "height": 20,
            "caption": f"hrx, a thing {index % 3}",
            "tags": [],
            "split": "validation" if index < held_out else "train",
            "flags": [],
            "source_name": f"{index}.png",
        }
        lines.append(json.dumps(line) + "\n")
    manifest = await world.store.put_bytes("".join(lines).encode())
    world.labeler.add(
        DatasetRevision(
            name=name,
            manifest=Blob(manifest.sha256, manifest.size_bytes),
            image_count=pictures,
            trigger_words=("hrx",),
        )
    )


@pytest.fixture
async def world(tmp_path: Path, tiny_base: Path) -> AsyncIterator[World]:
    home = tmp_path / "home"
    common = {
        "BRANDLOOM_HOME": str(home),
        "BRANDLOOM_TOKEN": TOKEN,
        "BRANDLOOM_REGISTRY_LISTEN": "127.0.0.1:0",
        "BRANDLOOM_REGISTRY_METRICS_LISTEN": "",
    }
    async with AsyncExitStack() as stack:
        labeler = FakeLabeler()
        labeler_address = await stack.enter_async_context(served_labeler(labeler))
        registry_config = read_registry_config(common)
        server = await stack.enter_async_context(opened_server(registry_config, ServiceMetrics("registry")))
        port = await server.start()
        stack.push_async_callback(server.stop, 0)
        channel = open_channel(f"127.0.0.1:{port}", token=TOKEN)
        stack.push_async_callback(channel.close)
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("BRANDLOOM_")},
            "BRANDLOOM_HOME": str(home),
            "BRANDLOOM_TOKEN": TOKEN,
            "BRANDLOOM_TRAINER_LISTEN": "127.0.0.1:0",
            "BRANDLOOM_TRAINER_METRICS_LISTEN": "",
            "BRANDLOOM_TRAINER_RETRY_WAIT_SECONDS": "0.1",
            "BRANDLOOM_TRAINER_GRACE_SECONDS": "0.1",
            "BRANDLOOM_TRAINER_THREADS": "1",
            "BRANDLOOM_TRAINER_DEVICE": "cpu",
            "BRANDLOOM_REGISTRY_ADDRESS": f"127.0.0.1:{port}",
            "BRANDLOOM_LABELER_ADDRESS": labeler_address,
            "BRANDLOOM_LOG_FORMAT": "console",
        }
        registry = registry_pb2_grpc.RegistryServiceStub(channel)
        found = World(home, environment, LocalStore(home / "store"), labeler, registry)
        await registry.CreateBrand(registry_pb2.CreateBrandRequest(brand_id=BRAND))
        await registry.CreateBaseModel(
            registry_pb2.CreateBaseModelRequest(
                base_model_id="tiny",
                base_model=registry_resources.BaseModel(
                    family=family_pb2.MODEL_FAMILY_SD15,
                    source=str(tiny_base),
                    sha256=base_digest(tiny_base),
                    resolution=16,
                ),
            )
        )
        await add_revision(found)
        yield found


def job_request(
    lora: str = "hero", *, priority: int = 0, **changes: Any
) -> trainer_pb2.CreateTrainingJobRequest:
    """A short job; `changes` are fields of the spec."""
    fields: dict[str, Any] = {
        "base_model": "baseModels/tiny",
        "dataset_revision": REVISION,
        "adapter": resources_pb2.AdapterSpec(rank=4),
        "optimization": resources_pb2.OptimizationSpec(max_steps=12, batch_size=2, learning_rate=1e-3),
        "seed": 7,
        "checkpoint_interval_steps": 5,
        "precision": resources_pb2.PRECISION_FLOAT32,
    }
    spec = resources_pb2.TrainingSpec(lora=f"brands/{BRAND}/loras/{lora}", **{**fields, **changes})
    return trainer_pb2.CreateTrainingJobRequest(
        parent=f"brands/{BRAND}", training_job=resources_pb2.TrainingJob(spec=spec, priority=priority)
    )


def steps(count: int, **changes: float) -> resources_pb2.OptimizationSpec:
    fields = {"batch_size": 2, "learning_rate": 1e-3, **changes}
    return resources_pb2.OptimizationSpec(max_steps=count, **fields)  # type: ignore[arg-type]


def progress_from(step: int):  # type: ignore[no-untyped-def]
    return lambda event: event.WhichOneof("event") == "progress" and event.progress.step >= step


PATIENCE = Patience(600.0)
Trainer = trainer_pb2_grpc.TrainerServiceStub
Dial = Callable[[int], Awaitable[Trainer]]


@pytest.fixture
async def dial() -> AsyncIterator[Dial]:
    """Opens stubs to trainers by their port."""
    async with AsyncExitStack() as stack:

        async def dialled(port: int) -> Trainer:
            channel = open_channel(f"127.0.0.1:{port}", token=TOKEN)
            stack.push_async_callback(channel.close)
            return trainer_pb2_grpc.TrainerServiceStub(channel)

        yield dialled


@dataclass
class Bench:
    """A trainer and a worker in this process: quick to start, and every part is the real one."""

    trainer: Trainer
    world: World
    port: int
    workers: list[asyncio.Task[None]]
    stack: AsyncExitStack

    async def worker(
        self,
        publisher: type[Publisher] = Publisher,
        pack_size: int = 8,
        store: LocalStore | None = None,
        patience: Patience = PATIENCE,
        pass_memory_bytes: int = 0,
    ) -> Worker:
        """Starts a worker."""
        channel = open_channel(f"127.0.0.1:{self.port}", token=TOKEN)
        self.stack.push_async_callback(channel.close)
        registry = open_channel(self.world.environment["BRANDLOOM_REGISTRY_ADDRESS"], token=TOKEN)
        self.stack.push_async_callback(registry.close)
        name = f"worker-{len(self.workers)}"
        engine = EngineThread()
        self.stack.callback(engine.close)
        files = store or self.world.store
        tools = Tools(engine, files, Shelf(files, patience), publisher(registry, patience), patience)
        made = Worker(
            name,
            TrainerClient(channel, name, patience, places=pack_size, device=device_title("cpu")),
            tools,
            ResidentBase(read_worker_config(self.world.environment).base_models, engine, "cpu"),
            device="cpu",
            pack_size=pack_size,
            home=self.world.home / "cache" / "trainer",
            pass_memory_bytes=pass_memory_bytes,
        )
        task = asyncio.create_task(made.run())
        self.workers.append(task)

        async def stop() -> None:
            made.stop()
            await asyncio.wait_for(task, 30)

        self.stack.push_async_callback(stop)
        return made

    async def create(self, lora: str = "hero", **changes: Any) -> str:
        """Name of a new job."""
        return str((await self.trainer.CreateTrainingJob(job_request(lora, **changes))).name)

    async def get(self, name: str) -> resources_pb2.TrainingJob:
        return await self.trainer.GetTrainingJob(trainer_pb2.GetTrainingJobRequest(name=name))

    async def ended(self, name: str) -> resources_pb2.TrainingJob:
        """The job after its end."""
        await watch(self.trainer, name)
        return await self.get(name)

    async def until(self, name: str, holds: Callable[[resources_pb2.TrainingEvent], bool]) -> None:
        """Returns at the first event for which it holds."""
        request = trainer_pb2.WatchTrainingJobRequest(name=name)
        call = self.trainer.WatchTrainingJob(request)
        async for event in call:
            if holds(event):
                call.cancel()
                return
        raise AssertionError("the job ended before")

    async def file(self, name: str, file_name: str) -> bytes:
        request = trainer_pb2.DownloadJobArtifactRequest(name=name, file_name=file_name)
        return b"".join([chunk.data async for chunk in self.trainer.DownloadJobArtifact(request)])


@pytest.fixture
async def bench(world: World, dial: Dial) -> AsyncIterator[Bench]:
    environment = {**world.environment, "BRANDLOOM_TRAINER_WORKERS": "0"}
    application = TrainerApplication(read_config(environment), sweep_seconds=3600.0)
    port = await application.start()
    async with AsyncExitStack() as stack:
        yield Bench(await dial(port), world, port, [], stack)
    await application.stop()


def tensors(data: bytes, path: Path) -> dict[str, bytes]:
    """The bytes of each tensor of a safetensors file, which is written to the path."""
    path.write_bytes(data)
    header = read_header(path)
    return {
        name: data[header.data_offset + entry.begin : header.data_offset + entry.end]
        for name, entry in header.tensors.items()
    }


async def watch(trainer: Trainer, name: str, after: int = 0) -> list[resources_pb2.TrainingEvent]:
    """All events until the job has ended."""
    request = trainer_pb2.WatchTrainingJobRequest(name=name, after_sequence=after)
    return [event async for event in trainer.WatchTrainingJob(request)]

"""A real inference service, its engine process, and the registry that it asks."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc.aio
import numpy as np
from PIL import Image

from brandloom.api.inference.v1 import inference_pb2, inference_pb2_grpc
from brandloom.api.registry.v1 import registry_pb2, resources_pb2
from lorakit.families import sd15
from servicekit.channels import open_channel
from services.inference.app import InferenceApp, inference_app
from services.inference.config import read_config
from tests.fakes.identities import AdministratorAndGuest
from tests.fixtures.tiny_loras import write_lora
from tests.fixtures.tiny_sd import save_tiny_pipeline
from tests.grpc.registry.harness import SD15, TOKEN, Registry, running_registry
from tests.waiting import until

ENGINE_SECONDS = 150.0


@dataclass(frozen=True, slots=True)
class Inference:
    """A running service with a base model `tiny` and two LoRAs of the brand `acme`: hero and neon."""

    stub: Any
    channel: grpc.aio.Channel
    app: InferenceApp
    registry: Registry
    folder: Path
    base: sd15.BaseModel
    port: int

    def request(self, **fields: Any) -> inference_pb2.GenerateImagesRequest:
        given = {"parent": "brands/acme", "prompt": "a red fox", "steps": 3, "seed": 7, **fields}
        return inference_pb2.GenerateImagesRequest(**given)

    async def generate(self, **fields: Any) -> Answer:
        """A whole stream."""
        answer = Answer([])
        async for message in self.stub.GenerateImages(self.request(**fields)):
            answer.messages.append(message)
        return answer

    async def engine_ready(self) -> None:
        await until(self.app.engine.ready, seconds=ENGINE_SECONDS)


@dataclass(frozen=True, slots=True)
class Answer:
    """The messages of one stream."""

    messages: list[inference_pb2.GenerateImagesResponse]

    @property
    def queued(self) -> inference_pb2.Queued:
        return next(message.queued for message in self.messages if message.HasField("queued"))

    @property
    def progress(self) -> list[inference_pb2.GenerationProgress]:
        return [message.progress for message in self.messages if message.HasField("progress")]

    @property
    def images(self) -> list[inference_pb2.GeneratedImage]:
        return sorted(
            (message.image for message in self.messages if message.HasField("image")),
            key=lambda image: image.index,
        )

    def pixels(self, index: int = 0) -> np.ndarray:
        return np.asarray(Image.open(io.BytesIO(self.images[index].png)))


@asynccontextmanager
async def running_inference(home: Path, **environment: str) -> AsyncIterator[Inference]:
    """Registry, base model, LoRAs, service and engine; the engine is ready."""
    directory = save_tiny_pipeline(home / "base" / "tiny")
    base = sd15.load_base(directory)
    async with running_registry(home, f"sqlite+aiosqlite:///{home}/registry.db") as registry:
        await fill(registry, directory, base, home)
        async with running_service(home, registry, base, **environment) as running:
            await running.engine_ready()
            yield running


@asynccontextmanager
async def running_service(
    home: Path, registry: Registry, base: sd15.BaseModel, **environment: str
) -> AsyncIterator[Inference]:
    """One replica of the service; its engine is being started."""
    environment = {"BRANDLOOM_INFERENCE_BASE_MODEL": "baseModels/tiny", **environment}
    async with served(home, registry, environment) as (app, channel, port):
        yield Inference(
            inference_pb2_grpc.InferenceServiceStub(channel), channel, app, registry, home, base, port
        )


@asynccontextmanager
async def served(
    home: Path, registry: Registry, environment: Mapping[str, str]
) -> AsyncIterator[tuple[InferenceApp, grpc.aio.Channel, int]]:
    """The service with one thread on the CPU, a channel of an administrator to it, and its port."""
    config = read_config(
        {
            "BRANDLOOM_HOME": str(home),
            "BRANDLOOM_TOKEN": TOKEN,
            "BRANDLOOM_INFERENCE_LISTEN": "127.0.0.1:0",
            "BRANDLOOM_INFERENCE_METRICS_LISTEN": "",
            "BRANDLOOM_REGISTRY_ADDRESS": f"127.0.0.1:{registry.port}",
            "BRANDLOOM_INFERENCE_DEVICE": "cpu",
            "BRANDLOOM_INFERENCE_THREADS": "1",
            **environment,
        }
    )
    async with inference_app(config, authenticator=AdministratorAndGuest(TOKEN, "acme")) as app:
        port = await app.server.start()
        async with open_channel(f"127.0.0.1:{port}", token=TOKEN, max_message_bytes=32 << 20) as channel:
            yield app, channel, port
        await app.server.stop(0.5)


async def fill(registry: Registry, directory: Path, base: sd15.BaseModel, home: Path) -> None:
    """A brand, a base model and two LoRAs."""
    await registry.brand("acme")
    await registry.stub.CreateBaseModel(
        registry_pb2.CreateBaseModelRequest(
            base_model_id="tiny",
            base_model=resources_pb2.BaseModel(
                family=SD15, source=str(directory), sha256=base.sha256, resolution=16
            ),
        )
    )
    for seed, name in enumerate(("hero", "neon"), start=1):
        file = write_lora(base, home / f"{name}.safetensors", seed=seed, rank=4 * seed)
        version = resources_pb2.LoraVersion(base_model="baseModels/tiny")
        await registry.upload(file.read_bytes(), f"brands/acme/loras/{name}", version=version)
    await registry.stub.SetAlias(
        registry_pb2.SetAliasRequest(lora="brands/acme/loras/hero", alias="prod", version=1)
    )

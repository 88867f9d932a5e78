"""A real inference service that writes texts, its engine process, and the registry that it asks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc.aio

from brandloom.api.common.v1 import family_pb2
from brandloom.api.inference.v1 import inference_pb2, inference_pb2_grpc
from brandloom.api.registry.v1 import registry_pb2, resources_pb2
from lorakit.families import sd15
from lorakit.families.causal_lm import LanguageModel, load_language_model
from services.inference.app import InferenceApp
from tests.fixtures.tiny_language_loras import write_language_lora
from tests.fixtures.tiny_lm import save_tiny_lm
from tests.fixtures.tiny_loras import write_lora
from tests.fixtures.tiny_sd import save_tiny_pipeline
from tests.grpc.inference.harness import ENGINE_SECONDS, served
from tests.grpc.registry.harness import Registry, running_registry
from tests.waiting import until


@dataclass(frozen=True, slots=True)
class TextAnswer:
    """The messages of one stream."""

    messages: list[inference_pb2.GenerateTextResponse]

    @property
    def queued(self) -> inference_pb2.Queued:
        return self.messages[0].queued

    @property
    def pieces(self) -> list[str]:
        return [message.text for message in self.messages if message.WhichOneof("message") == "text"]

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    @property
    def finished(self) -> inference_pb2.TextFinished:
        return self.messages[-1].finished


@dataclass(frozen=True, slots=True)
class Texts:
    """A running service whose default for texts is the base `words`, with two LoRAs of the brand `acme`
    (voice, shout), and a base for pictures (tiny) with a LoRA (hero).
    """

    stub: Any
    channel: grpc.aio.Channel
    app: InferenceApp
    registry: Registry
    folder: Path
    base: LanguageModel
    port: int

    def request(self, **fields: Any) -> inference_pb2.GenerateTextRequest:
        """Greedy, eight tokens at most."""
        given = {"parent": "brands/acme", "temperature": 0, "max_tokens": 8, **fields}
        if "messages" not in given:
            given.setdefault("prompt", "What do you sell?")
        return inference_pb2.GenerateTextRequest(**given)

    async def generate(self, **fields: Any) -> TextAnswer:
        """A whole stream."""
        return TextAnswer([message async for message in self.stub.GenerateText(self.request(**fields))])

    async def rows(self) -> int:
        """Texts that are being written."""
        capacity = await self.stub.GetCapacity(inference_pb2.GetCapacityRequest())
        rows: int = capacity.active_text_rows
        return rows

    async def engine_ready(self) -> None:
        await until(self.app.engine.ready, seconds=ENGINE_SECONDS)


@asynccontextmanager
async def running_texts(home: Path, **environment: str) -> AsyncIterator[Texts]:
    """Registry, base models, LoRAs, service and engine; the engine is ready."""
    directory = save_tiny_lm(home / "base" / "words")
    base = load_language_model(directory)
    async with running_registry(home, f"sqlite+aiosqlite:///{home}/registry.db") as registry:
        await _fill(registry, home, base, directory)
        environment = {"BRANDLOOM_INFERENCE_TEXT_BASE_MODEL": "baseModels/words", **environment}
        async with served(home, registry, environment) as (app, channel, port):
            stub = inference_pb2_grpc.InferenceServiceStub(channel)
            running = Texts(stub, channel, app, registry, home, base, port)
            await running.engine_ready()
            yield running


async def _fill(registry: Registry, home: Path, base: LanguageModel, directory: Path) -> None:
    await registry.brand("acme")
    await registry.brand("other")
    await registry.stub.CreateBaseModel(
        registry_pb2.CreateBaseModelRequest(
            base_model_id="words",
            base_model=resources_pb2.BaseModel(
                family=family_pb2.MODEL_FAMILY_CAUSAL_LM, source=str(directory), sha256=base.sha256
            ),
        )
    )
    for seed, name in enumerate(("voice", "shout"), start=1):
        file = write_language_lora(base, home / name, seed=seed, rank=4 * seed)
        version = resources_pb2.LoraVersion(base_model="baseModels/words")
        await registry.upload(file.read_bytes(), f"brands/acme/loras/{name}", version=version)
    pictures = sd15.load_base(save_tiny_pipeline(home / "base" / "tiny"))
    await registry.base("tiny", sha256=pictures.sha256)
    file = write_lora(pictures, home / "hero.safetensors", seed=1)
    await registry.upload(file.read_bytes(), "brands/acme/loras/hero")

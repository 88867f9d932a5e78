"""The client: every call to the four services, asynchronous."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any, Self

import grpc
import grpc.aio

from brandloom._convert.errors import last_cause
from brandloom._groups.brands import AsyncBaseModels, AsyncBrands
from brandloom._groups.captions import AsyncCaptions
from brandloom._groups.completions import AsyncCompletions
from brandloom._groups.datasets import AsyncDatasets
from brandloom._groups.images import AsyncImages, AsyncStacks
from brandloom._groups.labeling import AsyncLabeling
from brandloom._groups.loras import AsyncLoras, AsyncVersions
from brandloom._groups.texts import AsyncTexts
from brandloom._groups.training import AsyncTraining
from brandloom._settings import SERVICES, ConnectionSettings
from brandloom._transport import Transport
from brandloom.api.inference.v1 import inference_pb2_grpc
from brandloom.api.labeler.v1 import labeler_pb2_grpc
from brandloom.api.registry.v1 import registry_pb2_grpc
from brandloom.api.trainer.v1 import trainer_pb2_grpc
from brandloom.types.common import HealthStatus, ServiceHealth

# grpc.health.v1.HealthCheckResponse with status SERVING, as bytes: all that is needed of that protocol.
_SERVING = b"\x08\x01"
_HEALTH_METHOD = "/grpc.health.v1.Health/Check"


class AsyncClient:
    """Calls in groups: `client.datasets.upload(...)`, `client.training.watch(...)`."""

    def __init__(self, settings: ConnectionSettings) -> None:
        self._transport = Transport(settings)
        registry = self._transport.link("registry", registry_pb2_grpc.RegistryServiceStub)
        labeler = self._transport.link("labeler", labeler_pb2_grpc.LabelerServiceStub)
        trainer = self._transport.link("trainer", trainer_pb2_grpc.TrainerServiceStub)
        inference = self._transport.link("inference", inference_pb2_grpc.InferenceServiceStub)
        self.brands = AsyncBrands(registry)
        self.base_models = AsyncBaseModels(registry)
        self.datasets = AsyncDatasets(labeler)
        self.texts = AsyncTexts(labeler)
        self.captions = AsyncCaptions(labeler)
        self.labeling = AsyncLabeling(labeler)
        self.training = AsyncTraining(trainer, registry)
        self.loras = AsyncLoras(registry)
        self.versions = AsyncVersions(registry)
        self.stacks = AsyncStacks(registry, inference)
        self.images = AsyncImages(inference)
        self.completions = AsyncCompletions(inference)

    async def health(self, *, timeout_seconds: float = 2.0) -> tuple[ServiceHealth, ...]:
        """What each service says of itself."""
        asked = [self._health_of(service, timeout_seconds) for service in SERVICES]
        return tuple(await asyncio.gather(*asked))

    async def close(self) -> None:
        """Ends running calls and closes the connections."""
        await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def _health_of(self, service: str, timeout_seconds: float) -> ServiceHealth:
        address = self._transport.settings.addresses[service]
        check: Any = self._transport.channel(service).unary_unary(_HEALTH_METHOD)
        try:
            answer = await check(b"", timeout=timeout_seconds)
            status = HealthStatus.SERVING if answer == _SERVING else HealthStatus.NOT_SERVING
            detail = ""
        except grpc.aio.AioRpcError as error:
            status, detail = HealthStatus.UNREACHABLE, last_cause(error)
        return ServiceHealth(service=service, address=address, status=status, detail=detail)

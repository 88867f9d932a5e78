"""Wires the service: everything gets what it needs through its constructor."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from brandloom.api.inference.v1 import inference_pb2, inference_pb2_grpc
from lorakit.base_digest import base_digest, counts
from lorakit.families.sd15_configs import TOKENIZER_REPOSITORY
from servicekit.artifacts.open import open_store
from servicekit.base_models.files import BaseModelFiles
from servicekit.bootstrap import build_server
from servicekit.channels import open_channel
from servicekit.drain import Drain
from servicekit.identity import Authenticator
from servicekit.metrics import ServiceMetrics
from servicekit.server import Registration, ServiceServer
from services.inference.config import InferenceConfig
from services.inference.engine_process import EngineProcess
from services.inference.live_registry import LiveRegistry
from services.inference.local_bases import FileSystemBases
from services.inference.lora_files import DiskCache
from services.inference.meter import CapacityCollector, InferenceMeter
from services.inference.picture_signing import C2paSigner, NoSigner
from services.inference.registry_client import RegistryClient
from services.inference.service import InferenceService
from services.inference.servicer import InferenceServicer
from services.inference.stack_exporter import ProcessStackExporter

MAX_MESSAGE_BYTES = 32 << 20
"""A 2048 x 2048 PNG of noise has about 12 MB."""
SERVICE_NAME: str = inference_pb2.DESCRIPTOR.services_by_name["InferenceService"].full_name


@dataclass(frozen=True, slots=True)
class InferenceApp:
    """A wired service, its engine running."""

    server: ServiceServer
    engine: EngineProcess
    stack_exporter: ProcessStackExporter
    service: InferenceService
    registry: LiveRegistry
    metrics: ServiceMetrics


@asynccontextmanager
async def beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Does it until the end of the context, which waits for it to break off."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


@asynccontextmanager
async def inference_app(
    config: InferenceConfig, *, authenticator: Authenticator | None = None
) -> AsyncIterator[InferenceApp]:
    """The service with its engine being started; the server is the caller's to start. All is undone at the
    end.
    """
    async with AsyncExitStack() as stack:
        metrics, drain = ServiceMetrics("inference"), Drain()
        meter = InferenceMeter(metrics)
        channel = open_channel(config.registry_address, token=config.common.local_token())
        await stack.enter_async_context(channel)
        engine = _engine(config, meter)
        exporter = ProcessStackExporter(
            config.cache_directory / "exports", configs=config.base_models.configs
        )
        stack.push_async_callback(exporter.close)
        registry = LiveRegistry(
            RegistryClient(channel),
            max_entries=config.resolutions,
            stale_seconds=config.stale_seconds,
        )
        service = _service(config, registry, engine, exporter, meter, drain)
        metrics.registry.register(CapacityCollector(service))
        server = _server(config, service, engine, metrics, drain, authenticator)
        engine.on_ready = service.pins.engine_started
        registry.on_change = service.pins.stir
        registry.start()
        stack.push_async_callback(registry.stop)
        engine.start()
        stack.push_async_callback(engine.stop)
        await stack.enter_async_context(beside(service.pins.keep()))
        yield InferenceApp(server, engine, exporter, service, registry, metrics)


def _engine(config: InferenceConfig, meter: InferenceMeter) -> EngineProcess:
    """The engine, not started; its steps and restarts are counted."""
    return EngineProcess(
        config.engine,
        on_step=meter.step_taken,
        on_text_step=meter.text_step_taken,
        on_restart=meter.engine_restarted,
    )


def _service(
    config: InferenceConfig,
    registry: LiveRegistry,
    engine: EngineProcess,
    exporter: ProcessStackExporter,
    meter: InferenceMeter,
    drain: Drain,
) -> InferenceService:
    """The use cases, over what is given and over the bases and LoRA files of this host."""
    return InferenceService(
        registry=registry,
        local_bases=_local_bases(config),
        files=_lora_files(config),
        engine=engine,
        signer=C2paSigner(config.signing) if config.signing else NoSigner(),
        exporter=exporter,
        meter=meter,
        default_base=config.default_base,
        default_text_base=config.default_text_base,
        max_rows=config.engine.max_rows,
        max_text_rows=config.engine.max_text_rows,
        limits=config.limits,
        stopping=lambda: drain.begun,
        configured_pins=config.warm,
    )


def _local_bases(config: InferenceConfig) -> FileSystemBases:
    """Base models as they lie on this host, with the digests that name them."""
    return FileSystemBases(
        BaseModelFiles(
            config.base_models,
            digest=base_digest,
            counts=counts,
            tokenizer_repository=TOKENIZER_REPOSITORY,
        )
    )


def _lora_files(config: InferenceConfig) -> DiskCache:
    """LoRA files out of the store, kept on disk."""
    return DiskCache(
        config.cache_directory,
        open_store(config.common.store.url, config.common.store),
        budget_bytes=config.disk_budget_bytes,
        max_file_bytes=config.max_file_bytes,
    )


def _server(
    config: InferenceConfig,
    service: InferenceService,
    engine: EngineProcess,
    metrics: ServiceMetrics,
    drain: Drain,
    authenticator: Authenticator | None,
) -> ServiceServer:
    """The server, not started; when it stops it lets what was admitted come to its end."""
    add = inference_pb2_grpc.add_InferenceServiceServicer_to_server
    return build_server(
        config.common,
        metrics,
        [Registration(SERVICE_NAME, add, InferenceServicer(service))],
        # Not the store, nor the registry: without them what is cached is served, here and everywhere.
        readiness={"engine": engine.ready},
        drain=drain,
        before_stop=service.admission.idle,
        readiness_poll_seconds=0.5,
        max_message_bytes=MAX_MESSAGE_BYTES,
        authenticator=authenticator,
    )

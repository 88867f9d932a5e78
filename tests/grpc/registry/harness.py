"""A real registry on a free port, and short ways to call it."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from brandloom.api.registry.v1 import registry_pb2, registry_pb2_grpc, resources_pb2
from servicekit.artifacts.open import open_store
from servicekit.artifacts.port import Artifact, ArtifactStore
from servicekit.channels import open_channel
from servicekit.metrics import ServiceMetrics
from servicekit.server import ServiceServer
from services.registry.__main__ import opened_server
from services.registry.config import read_config
from tests.fakes.identities import AdministratorAndGuest

TOKEN = "a-token-for-tests"
BASE_SHA256 = "b" * 64
SD15 = 1
SDXL = 2


@dataclass(frozen=True, slots=True)
class Registry:
    """A running registry, a stub for it and its store."""

    stub: Any
    store: ArtifactStore
    server: ServiceServer
    metrics: ServiceMetrics
    port: int

    async def brand(self, brand_id: str = "acme") -> resources_pb2.Brand:
        """A new brand."""
        return await self.stub.CreateBrand(registry_pb2.CreateBrandRequest(brand_id=brand_id))

    async def base(
        self, base_model_id: str = "tiny", *, family: int = SD15, sha256: str = BASE_SHA256
    ) -> resources_pb2.BaseModel:
        """A new base model."""
        base = resources_pb2.BaseModel(
            family=family, source="demo/models/tiny", sha256=sha256, resolution=128
        )
        return await self.stub.CreateBaseModel(
            registry_pb2.CreateBaseModelRequest(base_model_id=base_model_id, base_model=base)
        )

    async def upload(self, data: bytes, parent: str = "brands/acme/loras/hero", **header: Any) -> Any:
        """Uploads a file in chunks of 64 kB."""
        return await self.stub.UploadVersion(upload_messages(data, parent, **header))

    async def register(
        self, artifact: Artifact, parent: str = "brands/acme/loras/hero", **request: Any
    ) -> Any:
        """Registers a file of the store."""
        version = resources_pb2.LoraVersion()
        version.CopyFrom(request.pop("version", version))
        version.artifact.sha256 = artifact.sha256
        version.artifact.size_bytes = artifact.size_bytes
        return await self.stub.RegisterVersion(
            registry_pb2.RegisterVersionRequest(parent=parent, version=version, **request)
        )


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a failed call said."""

    code: grpc.StatusCode
    message: str
    reason: str
    fields: dict[str, str]
    metadata: dict[str, str]


async def refused(call: Any) -> Refusal:
    """The refusal of a call that must fail."""
    try:
        answer = await call
    except grpc.aio.AioRpcError as error:
        return read_refusal(error)
    raise AssertionError(f"the call was answered: {answer}")


def read_refusal(error: grpc.aio.AioRpcError) -> Refusal:
    """The details of a failed call."""
    status = rpc_status.from_call(error)
    info, fields = error_details_pb2.ErrorInfo(), {}
    for detail in status.details if status else ():
        bad = error_details_pb2.BadRequest()
        if detail.Unpack(info):
            continue
        if detail.Unpack(bad):
            fields = {violation.field: violation.description for violation in bad.field_violations}
    return Refusal(error.code(), error.details() or "", info.reason, fields, dict(info.metadata))


def new_request_id() -> str:
    return str(uuid.uuid4())


async def upload_messages(
    data: bytes, parent: str, *, chunk_bytes: int = 1 << 16, **header: Any
) -> AsyncIterator[registry_pb2.UploadVersionRequest]:
    yield registry_pb2.UploadVersionRequest(
        header=registry_pb2.UploadVersionHeader(parent=parent, **{"file_name": "hero.safetensors", **header})
    )
    for start in range(0, len(data), chunk_bytes):
        yield registry_pb2.UploadVersionRequest(chunk=data[start : start + chunk_bytes])


@asynccontextmanager
async def running_registry(
    home: Path, database_url: str, *, environment: dict[str, str] | None = None
) -> AsyncIterator[Registry]:
    """Starts a registry in this process; several may share a database and a store."""
    config = read_config(
        {
            "BRANDLOOM_HOME": str(home),
            "BRANDLOOM_TOKEN": TOKEN,
            "BRANDLOOM_REGISTRY_LISTEN": "127.0.0.1:0",
            "BRANDLOOM_REGISTRY_METRICS_LISTEN": "",
            "BRANDLOOM_REGISTRY_DATABASE_URL": database_url,
            "BRANDLOOM_REGISTRY_CHANGE_POLL_SECONDS": "0.1",
            **(environment or {}),
        }
    )
    metrics = ServiceMetrics("registry")
    async with opened_server(config, metrics, authenticator=AdministratorAndGuest(TOKEN, "acme")) as server:
        port = await server.start()
        channel = open_channel(f"127.0.0.1:{port}", token=TOKEN)
        try:
            stub = registry_pb2_grpc.RegistryServiceStub(channel)
            yield Registry(
                stub, open_store(config.common.store.url, config.common.store), server, metrics, port
            )
        finally:
            await channel.close()
            await server.stop(0.5)


def names_of(items: Iterable[Any]) -> list[str]:
    return [item.name.rpartition("/")[2] for item in items]

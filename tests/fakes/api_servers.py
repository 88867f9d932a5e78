# ruff: noqa: N802 - methods are named as their RPCs
"""Small servers of the public API for tests of the client: they say what the test tells them to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio
from google.protobuf import empty_pb2

from brandloom.api.common.v1 import artifact_pb2, job_pb2
from brandloom.api.labeler.v1 import labeler_pb2, labeler_pb2_grpc
from brandloom.api.registry.v1 import registry_pb2, registry_pb2_grpc, resources_pb2
from brandloom.api.trainer.v1 import resources_pb2 as trainer_resources
from brandloom.api.trainer.v1 import trainer_pb2, trainer_pb2_grpc
from servicekit.errors import ServiceError
from servicekit.status import status_code, to_rich_status


@dataclass
class FakeRegistry(registry_pb2_grpc.RegistryServiceServicer):
    """Brands in a dict; a version whose bytes the test gives."""

    brands: dict[str, resources_pb2.Brand] = field(default_factory=dict)
    faults: list[ServiceError] = field(default_factory=list)
    file: bytes = b""
    announced: artifact_pb2.Artifact = field(default_factory=artifact_pb2.Artifact)
    file_name: str = "hero.safetensors"
    metadata: dict[str, str] = field(default_factory=dict)
    request_ids: list[str] = field(default_factory=list)

    async def CreateBrand(self, request: Any, context: Any) -> resources_pb2.Brand:
        await self._fail(context)
        self.request_ids.append(request.request_id)
        brand = resources_pb2.Brand()
        brand.CopyFrom(request.brand)
        brand.name = f"brands/{request.brand_id}"
        self.brands[brand.name] = brand
        return brand

    async def GetBrand(self, request: Any, context: Any) -> resources_pb2.Brand:
        self.metadata = dict(context.invocation_metadata())
        await self._fail(context)
        return self.brands[request.name]

    async def ListBrands(self, request: Any, context: Any) -> registry_pb2.ListBrandsResponse:
        """Two at a time."""
        names = sorted(self.brands)
        start = int(request.page_token or 0)
        token = str(start + 2) if start + 2 < len(names) else ""
        page = [self.brands[name] for name in names[start : start + 2]]
        return registry_pb2.ListBrandsResponse(brands=page, next_page_token=token)

    async def DeleteBrand(self, request: Any, context: Any) -> empty_pb2.Empty:
        await self._fail(context)
        del self.brands[request.name]
        return empty_pb2.Empty()

    async def DownloadVersion(self, request: Any, context: Any) -> AsyncIterator[artifact_pb2.FileChunk]:
        yield artifact_pb2.FileChunk(artifact=self.announced, file_name=self.file_name)
        for start in range(0, len(self.file), 1000):
            yield artifact_pb2.FileChunk(data=self.file[start : start + 1000])
        await self._fail(context)

    async def UploadVersion(self, messages: AsyncIterator[Any], context: Any) -> resources_pb2.LoraVersion:
        header = (await anext(messages)).header
        self.request_ids.append(header.request_id)
        await self._fail(context)
        self.file = b"".join([message.chunk async for message in messages])
        artifact = artifact_pb2.Artifact(sha256=header.sha256, size_bytes=header.size_bytes)
        return resources_pb2.LoraVersion(name=f"{header.parent}/versions/1", version=1, artifact=artifact)

    async def _fail(self, context: Any) -> None:
        if self.faults:
            await abort(context, self.faults.pop(0))


@dataclass
class FakeTrainer(trainer_pb2_grpc.TrainerServiceServicer):
    """One job with a list of events; each watch breaks after as many as `breaks` says, the last one not."""

    events: list[trainer_resources.TrainingEvent] = field(default_factory=list)
    breaks: list[int] = field(default_factory=list)
    state: int = job_pb2.JOB_STATE_SUCCEEDED
    asked: list[int] = field(default_factory=list)

    async def GetTrainingJob(self, request: Any, context: Any) -> trainer_resources.TrainingJob:
        return trainer_resources.TrainingJob(name=request.name, state=self.state)

    async def WatchTrainingJob(
        self, request: trainer_pb2.WatchTrainingJobRequest, context: Any
    ) -> AsyncIterator[trainer_resources.TrainingEvent]:
        self.asked.append(request.after_sequence)
        limit = self.breaks.pop(0) if self.breaks else len(self.events)
        remaining = [event for event in self.events if event.sequence > request.after_sequence]
        for event in remaining[:limit]:
            yield event
        if limit < len(remaining):
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the connection broke")


@dataclass
class FakeLabeler(labeler_pb2_grpc.LabelerServiceServicer):
    """Counts what is uploaded; refuses the first streams with what `faults` holds."""

    files: dict[str, bytes] = field(default_factory=dict)
    captions: dict[str, str] = field(default_factory=dict)
    faults: list[ServiceError] = field(default_factory=list)
    streams: int = 0

    async def UploadImages(
        self, messages: AsyncIterator[Any], context: Any
    ) -> labeler_pb2.UploadImagesResponse:
        self.streams += 1
        name = ""
        answer = labeler_pb2.UploadImagesResponse()
        async for message in messages:
            if self.faults:
                await abort(context, self.faults.pop(0))
            if message.HasField("file"):
                name = message.file.file_name
                self.files[name] = b""
                self.captions[name] = message.file.caption
                answer.results.add(source_name=name, outcome=labeler_pb2.UploadResult.OUTCOME_ADDED)
                answer.added_count += 1
            elif message.HasField("chunk"):
                self.files[name] += message.chunk
        return answer

    async def UploadTexts(
        self, messages: AsyncIterator[Any], context: Any
    ) -> labeler_pb2.UploadTextsResponse:
        parts = [message async for message in messages]
        header = parts[0].header
        self.files[f"{header.parent}/{header.file_name}"] = b"".join(part.chunk for part in parts[1:])
        self.captions[header.file_name] = header.split
        return labeler_pb2.UploadTextsResponse(added_count=3, unchanged_count=1)


async def abort(context: Any, error: ServiceError) -> None:
    """Ends the call as the services do."""
    details = to_rich_status(error, request_id="request-1")
    trailer = (("grpc-status-details-bin", details.SerializeToString()),)
    await context.abort(status_code(type(error)), error.message, trailing_metadata=trailer)


@asynccontextmanager
async def serving(add: Callable[[Any, Any], None], servicer: Any, *, port: int = 0) -> AsyncIterator[str]:
    """The address of a server with that servicer, as long as the block runs."""
    server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
    add(servicer, server)
    bound = server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    try:
        yield f"127.0.0.1:{bound}"
    finally:
        await server.stop(None)

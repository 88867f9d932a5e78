"""A labeler that knows sealed revisions and nothing else: as a port, and as a gRPC server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc.aio

from brandloom.api.common.v1 import artifact_pb2
from brandloom.api.labeler.v1 import labeler_pb2_grpc, resources_pb2
from servicekit.errors import NotFound
from services.trainer.sources import DatasetRevision


class FakeLabeler:
    """Revisions by dataset and number; `latest` is the one with the largest."""

    def __init__(self) -> None:
        self.revisions: dict[str, DatasetRevision] = {}

    def add(self, revision: DatasetRevision) -> None:
        self.revisions[revision.name] = revision

    async def revision(self, name: str) -> DatasetRevision:
        if name.endswith("/latest"):
            stem = name.removesuffix("latest")
            numbers = [int(other.removeprefix(stem)) for other in self.revisions if other.startswith(stem)]
            name = f"{stem}{max(numbers, default=0)}"
        if name not in self.revisions:
            raise NotFound.of("DatasetRevision", name)
        return self.revisions[name]


class _Servicer(labeler_pb2_grpc.LabelerServiceServicer):
    def __init__(self, labeler: FakeLabeler) -> None:
        self._labeler = labeler

    async def GetDatasetRevision(  # noqa: N802
        self, request: Any, context: Any
    ) -> resources_pb2.DatasetRevision:
        try:
            found = await self._labeler.revision(request.name)
        except NotFound as error:
            await context.abort(grpc.StatusCode.NOT_FOUND, error.message)
            raise
        return resources_pb2.DatasetRevision(
            name=found.name,
            manifest=artifact_pb2.Artifact(
                sha256=found.manifest.sha256, size_bytes=found.manifest.size_bytes
            ),
            image_count=found.image_count,
            trigger_words=found.trigger_words,
        )


@asynccontextmanager
async def served_labeler(labeler: FakeLabeler) -> AsyncIterator[str]:
    """The address of a gRPC server for it."""
    # Channels of servicekit ping idle connections more often than a server's default allows.
    options = [
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ]
    server = grpc.aio.server(options=options)
    labeler_pb2_grpc.add_LabelerServiceServicer_to_server(_Servicer(labeler), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(0)

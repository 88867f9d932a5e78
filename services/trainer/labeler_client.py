"""The labeler, over gRPC."""

from __future__ import annotations

import grpc.aio

from brandloom.api.labeler.v1 import labeler_pb2, labeler_pb2_grpc
from servicekit.status import from_rpc_error
from services.trainer.sources import Blob, DatasetRevision


class LabelerClient:
    """Labeler over a channel."""

    def __init__(self, channel: grpc.aio.Channel, *, timeout_seconds: float = 20.0) -> None:
        self._stub = labeler_pb2_grpc.LabelerServiceStub(channel)
        self._timeout_seconds = timeout_seconds

    async def revision(self, name: str) -> DatasetRevision:
        """See Labeler."""
        request = labeler_pb2.GetDatasetRevisionRequest(name=name)
        try:
            found = await self._stub.GetDatasetRevision(request, timeout=self._timeout_seconds)
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error
        return DatasetRevision(
            name=found.name,
            manifest=Blob(found.manifest.sha256, found.manifest.size_bytes),
            image_count=found.image_count,
            trigger_words=tuple(found.trigger_words),
        )

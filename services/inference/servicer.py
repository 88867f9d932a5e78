"""The RPC methods: convert, call, convert."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc.aio

from brandloom.api.inference.v1 import inference_pb2, inference_pb2_grpc
from servicekit.identity import current_principal
from services.inference import convert
from services.inference.service import InferenceService


class InferenceServicer(inference_pb2_grpc.InferenceServiceServicer):
    """Serves pictures; text generation is not part of this service's engine and answers UNIMPLEMENTED."""

    def __init__(self, service: InferenceService) -> None:
        self._service = service

    async def GenerateImages(  # noqa: N802
        self, request: inference_pb2.GenerateImagesRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[inference_pb2.GenerateImagesResponse]:
        """Queued, progress and pictures."""
        wanted = convert.image_request(request)
        async for event in self._service.generate_images(wanted):
            yield convert.image_response(event)

    async def GetCapacity(  # noqa: N802
        self, request: inference_pb2.GetCapacityRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> inference_pb2.GetCapacityResponse:
        """What the service can take now; where base models lie is told to administrators only."""
        administrator = current_principal().administrator
        return convert.capacity_response(self._service.capacity(), show_sources=administrator)

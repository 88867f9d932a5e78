"""The RPC methods: convert, call, convert."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from copy import copy
from dataclasses import replace
from typing import Any, Final, TypeVar

import grpc.aio
import structlog

from brandloom.api.common.v1 import artifact_pb2
from brandloom.api.inference.v1 import inference_pb2, inference_pb2_grpc
from servicekit.errors import ServiceError
from servicekit.identity import current_principal
from services.inference import convert, convert_export, convert_sweep, convert_texts
from services.inference.service import InferenceService

T = TypeVar("T")

_BASE_MODEL_REASONS: Final = "BASE_MODEL_"
_log = structlog.get_logger(__name__)


class InferenceServicer(inference_pb2_grpc.InferenceServiceServicer):
    """Serves pictures and texts."""

    def __init__(self, service: InferenceService) -> None:
        self._service = service

    async def GenerateImages(  # noqa: N802
        self, request: inference_pb2.GenerateImagesRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[inference_pb2.GenerateImagesResponse]:
        """Queued, progress and pictures."""
        async for event in _told(self._service.images.generate(convert.image_request(request))):
            yield convert.image_response(event)

    async def GenerateSweep(  # noqa: N802
        self, request: inference_pb2.GenerateSweepRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[inference_pb2.GenerateSweepResponse]:
        """Queued, progress, cells as they get done, and the sheet."""
        async for event in _told(self._service.sweeps.sweep(convert_sweep.sweep_request(request))):
            yield convert_sweep.sweep_response(event)

    async def ExportStack(  # noqa: N802
        self, request: inference_pb2.ExportStackRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[artifact_pb2.FileChunk]:
        """What the file is, then its bytes."""
        async for part in _told(self._service.exports.export(convert_export.export_request(request))):
            yield convert_export.file_chunk(part)

    async def GenerateText(  # noqa: N802
        self, request: inference_pb2.GenerateTextRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[inference_pb2.GenerateTextResponse]:
        """Queued, the text in pieces, and how it ended."""
        async for event in _told(self._service.texts.generate(convert_texts.text_request(request))):
            yield convert_texts.text_response(event)

    async def GetCapacity(  # noqa: N802
        self, request: inference_pb2.GetCapacityRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> inference_pb2.GetCapacityResponse:
        """What the service can take now; where base models lie is told to administrators only, and pins to
        those who may use their brand.
        """
        principal = current_principal()
        capacity = self._service.capacity()
        shown = replace(capacity, pins=tuple(pin for pin in capacity.pins if principal.may_use(pin.brand)))
        return convert.capacity_response(shown, show_sources=principal.administrator)

    async def PinStack(  # noqa: N802
        self, request: inference_pb2.PinStackRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> inference_pb2.PinStackResponse:
        """Keeps a stack loaded."""
        try:
            return convert.pin_response(await self._service.pins.pin(convert.pin_request(request)))
        except ServiceError as error:
            raise _for_caller(error) from error


async def _told(events: AsyncGenerator[T, None]) -> AsyncIterator[T]:
    """The events; an error of theirs as this caller may see it. Ends them when it is left."""
    try:
        async with aclosing(events):
            async for event in events:
                yield event
    except ServiceError as error:
        raise _for_caller(error) from error


def _for_caller(error: ServiceError) -> ServiceError:
    """Where base models lie is told to administrators only; the log has it."""
    if current_principal().administrator or not error.reason.startswith(_BASE_MODEL_REASONS):
        return error
    name = error.metadata.get("base_model", "")
    _log.warning("a base model cannot be used", base_model=name, reason=error.reason, message=error.message)
    told = copy(error)
    told.message = f"the base model {name} cannot be used; administrators are told why"
    told.metadata = {"base_model": name}
    return told

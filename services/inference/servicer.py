"""The RPC methods: convert, call, convert."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from typing import Any, Final

import grpc.aio
import structlog

from brandloom.api.inference.v1 import inference_pb2, inference_pb2_grpc
from servicekit.errors import ServiceError
from servicekit.identity import current_principal
from services.inference import convert, convert_texts
from services.inference.service import InferenceService

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
        wanted = convert.image_request(request)
        with _places_for_administrators():
            async for event in self._service.images.generate(wanted):
                yield convert.image_response(event)

    async def GenerateText(  # noqa: N802
        self, request: inference_pb2.GenerateTextRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[inference_pb2.GenerateTextResponse]:
        """Queued, the text in pieces, and how it ended."""
        wanted = convert_texts.text_request(request)
        with _places_for_administrators():
            async for event in self._service.texts.generate(wanted):
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
        with _places_for_administrators():
            return convert.pin_response(await self._service.pins.pin(convert.pin_request(request)))


@contextmanager
def _places_for_administrators() -> Iterator[None]:
    """Errors of base models say where they lie; to others they are told without."""
    try:
        yield
    except ServiceError as error:
        if current_principal().administrator or not error.reason.startswith(_BASE_MODEL_REASONS):
            raise
        raise _without_places(error) from error


def _without_places(error: ServiceError) -> ServiceError:
    """Where base models lie is told to administrators only; the log has it."""
    name = error.metadata.get("base_model", "")
    _log.warning("a base model cannot be used", base_model=name, reason=error.reason, message=error.message)
    told = copy(error)
    told.message = f"the base model {name} cannot be used; administrators are told why"
    told.metadata = {"base_model": name}
    return told

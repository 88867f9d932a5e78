"""The registry over its gRPC API: what references mean, and what changes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc.aio

from brandloom.api.common.v1 import family_pb2
from brandloom.api.registry.v1 import registry_pb2, registry_pb2_grpc, resources_pb2
from servicekit.names import parse
from servicekit.status import from_rpc_error
from services.inference.domain import CAUSAL_LM_FAMILY, SD15_FAMILY, SDXL_FAMILY
from services.inference.domain_changes import LoraName, RegistryChange
from services.inference.domain_jobs import BaseRef, ResolvedLora, ResolvedStack

FAMILIES = {
    family_pb2.MODEL_FAMILY_SD15: SD15_FAMILY,
    family_pb2.MODEL_FAMILY_SDXL: SDXL_FAMILY,
    family_pb2.MODEL_FAMILY_CAUSAL_LM: CAUSAL_LM_FAMILY,
}


class RegistryClient:
    """Asks the registry; the channel is the caller's to close."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = registry_pb2_grpc.RegistryServiceStub(channel)

    async def resolve_stack(self, brand: str, references: Sequence[str], base_model: str) -> ResolvedStack:
        """See the port; errors of the registry come through as they are."""
        request = registry_pb2.ResolveStackRequest(
            parent=f"brands/{brand}", references=references, base_model=base_model
        )
        try:
            response = await self._stub.ResolveStack(request)
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error
        return ResolvedStack(
            loras=tuple(_lora(lora) for lora in response.loras),
            base=_base(response.base_model) if base_model else None,
        )

    @asynccontextmanager
    async def watch(self, after: int) -> AsyncIterator[AsyncIterator[RegistryChange]]:
        """See ChangeSource."""
        request = registry_pb2.WatchChangesRequest(after_sequence=after)
        call = self._stub.WatchChanges(request, wait_for_ready=True)
        try:
            # It comes once the registry knows from where on it tells all.
            await call.initial_metadata()
            if call.done():
                await call.read()  # raises what ended it
            yield _changes(call)
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error
        finally:
            call.cancel()


async def _changes(call: Any) -> AsyncIterator[RegistryChange]:
    async for change in call:
        lora: LoraName | None = None
        if change.lora:
            named = parse("brands/{brand}/loras/{lora}", change.lora, field="lora")
            lora = (named["brand"], named["lora"])
        yield RegistryChange(
            sequence=change.sequence,
            lora=lora,
            made_at_nanoseconds=change.time.ToNanoseconds(),
        )


def _lora(lora: registry_pb2.ResolvedLora) -> ResolvedLora:
    return ResolvedLora(
        reference=lora.reference,
        version=lora.version,
        sha256=lora.artifact.sha256,
        size_bytes=lora.artifact.size_bytes,
        family=FAMILIES.get(lora.family, "unknown"),
        base_model_sha256=lora.base_model_sha256,
    )


def _base(base: resources_pb2.BaseModel) -> BaseRef:
    return BaseRef(
        name=base.name,
        source=base.source,
        sha256=base.sha256,
        family=FAMILIES.get(base.family, "unknown"),
    )

"""The registry, over gRPC."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

import grpc.aio

from brandloom.api.registry.v1 import registry_pb2, registry_pb2_grpc, resources_pb2
from lorakit.families.language_layers import target_of
from lorakit.families.naming import PEFT_PREFIX, TEXT_ENCODER, TEXT_ENCODER_2
from servicekit.status import from_rpc_error
from services.trainer.convert import FAMILY_OF
from services.trainer.sources import BaseModel, Blob, LoraVersion
from services.trainer.spec import Target

# Of module paths (`...attn1.to_q`) and of kohya's names for them (`..._attn1_to_q`).
_TARGET_PATTERNS: Final = (
    (Target.CONV_1X1, re.compile(r"proj_(in|out)\Z")),
    (Target.FEED_FORWARD, re.compile(r"([._]ff[._]net[._]|[._]mlp[._]fc\d\Z)")),
    (Target.ATTENTION, re.compile(r"([._]to_(q|k|v|out)([._]0)?\Z|[._]self_attn[._])")),
)
_TEXT_ENCODERS: Final = frozenset({TEXT_ENCODER, TEXT_ENCODER_2})


class RegistryClient:
    """Registry over a channel."""

    def __init__(self, channel: grpc.aio.Channel, *, timeout_seconds: float = 20.0) -> None:
        self._stub = registry_pb2_grpc.RegistryServiceStub(channel)
        self._timeout_seconds = timeout_seconds

    async def require_brand(self, name: str) -> None:
        """See Registry."""
        try:
            await self._stub.GetBrand(registry_pb2.GetBrandRequest(name=name), timeout=self._timeout_seconds)
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error

    async def base_model(self, name: str) -> BaseModel:
        """See Registry."""
        request = registry_pb2.GetBaseModelRequest(name=name)
        try:
            found = await self._stub.GetBaseModel(request, timeout=self._timeout_seconds)
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error
        return BaseModel(
            name=found.name,
            family=FAMILY_OF[found.family],
            source=found.source,
            sha256=found.sha256,
            resolution=found.resolution,
        )

    async def lora_version(self, name: str) -> LoraVersion:
        """See Registry."""
        request = registry_pb2.GetLoraVersionRequest(name=name)
        try:
            found = await self._stub.GetLoraVersion(request, timeout=self._timeout_seconds)
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error
        return version_from_proto(found)


def targets_of(modules: Iterable[str]) -> frozenset[Target]:
    """The targets that these modules belong to, by their names."""
    return frozenset(target for module in modules for target in _targets_of_one(module))


def _targets_of_one(module: str) -> list[Target]:
    if module.startswith(PEFT_PREFIX):
        target = target_of(module)
        return [] if target is None else [Target(target)]
    return [target for target, pattern in _TARGET_PATTERNS if pattern.search(module)]


def version_from_proto(found: resources_pb2.LoraVersion) -> LoraVersion:
    """What the trainer needs to know of a parent version."""
    alphas = {module.alpha for module in found.modules}
    return LoraVersion(
        name=found.name,
        file=Blob(found.artifact.sha256, found.artifact.size_bytes),
        family=FAMILY_OF[found.family],
        base_model_sha256=found.base_model_sha256,
        rank=found.rank,
        alpha=alphas.pop() if len(alphas) == 1 else None,
        targets=targets_of(module.module for module in found.modules),
        trains_text_encoder=not _TEXT_ENCODERS.isdisjoint(found.components),
    )

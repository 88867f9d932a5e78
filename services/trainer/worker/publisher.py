"""Registers what a job has made: once and only once, whatever was killed when."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import grpc.aio

from brandloom.api.registry.v1 import registry_pb2, registry_pb2_grpc, resources_pb2
from servicekit.errors import AlreadyExists, NotFound
from services.trainer.convert import blob_to_proto
from services.trainer.sources import Blob
from services.trainer.worker.leases import LeasedJob
from services.trainer.worker.patience import CALL_SECONDS, Patience

REUSED: Final = "REQUEST_ID_REUSED"
BINARY_MEDIA_TYPE: Final = "application/octet-stream"
PICTURE_MEDIA_TYPE: Final = "image/png"
TEXT_MEDIA_TYPE: Final = "text/plain; charset=utf-8"
SLOWEST_BYTES_PER_SECOND: Final = 1e6


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """A finished LoRA: its file, its figures, pictures made with it."""

    file: Blob
    evaluation: Mapping[str, float]
    previews: Sequence[Blob]


class Publisher:
    """The registry, as a worker needs it."""

    def __init__(self, channel: grpc.aio.Channel, patience: Patience) -> None:
        self._patience = patience
        self._stub = registry_pb2_grpc.RegistryServiceStub(channel)

    async def registered(self, lease: LeasedJob) -> str | None:
        """Name of the version that an earlier attempt has registered."""
        request = registry_pb2.ListLoraVersionsRequest(
            parent=lease.spec.lora, filter=f"training_job = {json.dumps(lease.name)}", page_size=1
        )
        try:
            answer = await self._patience.until_answered(
                lambda: self._stub.ListLoraVersions(request, timeout=CALL_SECONDS), "ListLoraVersions"
            )
        except NotFound:
            return None  # the LoRA is made with its first version
        return answer.versions[0].name if answer.versions else None

    async def register(self, lease: LeasedJob, result: Result) -> str:
        """Registers the version; returns its name.

        The request id is the job's, the same in every attempt. An attempt that died after its registration
        made another file, so the registry refuses ours: then the version is the earlier one.
        """
        # The registry reads the whole file from the store before it answers.
        seconds = CALL_SECONDS + result.file.size_bytes / SLOWEST_BYTES_PER_SECOND
        request = registry_pb2.RegisterVersionRequest(
            parent=lease.spec.lora, version=_version(lease, result), request_id=lease.registration_id
        )
        try:
            version = await self._patience.until_answered(
                lambda: self._stub.RegisterVersion(request, timeout=seconds), "RegisterVersion"
            )
        except AlreadyExists as error:
            earlier = await self.registered(lease) if error.reason == REUSED else None
            if earlier is None:
                raise
            return earlier
        return str(version.name)


def _version(lease: LeasedJob, result: Result) -> resources_pb2.LoraVersion:
    spec = lease.spec
    return resources_pb2.LoraVersion(
        artifact=blob_to_proto(result.file, BINARY_MEDIA_TYPE),
        base_model=spec.base_model,
        base_model_sha256=lease.base_sha256,
        trigger_words=spec.trigger_words,
        origin=resources_pb2.LoraOrigin(
            training_job=lease.name,
            dataset_revision=spec.dataset_revision,
            dataset_sha256=lease.manifest.sha256,
            parent_version=spec.parent_version or "",
            training_spec_json=lease.spec_json,
        ),
        evaluation=dict(result.evaluation),
        previews=[blob_to_proto(preview, PICTURE_MEDIA_TYPE) for preview in result.previews],
    )

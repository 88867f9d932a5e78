"""Registers what a job has made: once and only once, whatever was killed when."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import grpc.aio

from brandloom.api.registry.v1 import registry_pb2, registry_pb2_grpc, resources_pb2
from servicekit.errors import AlreadyExists, NotFound
from services.trainer.convert import blob_to_proto, timestamp
from services.trainer.sources import Blob
from services.trainer.worker.leases import LeasedJob
from services.trainer.worker.patience import CALL_SECONDS, Patience

REUSED: Final = "REQUEST_ID_REUSED"
BINARY_MEDIA_TYPE: Final = "application/octet-stream"
PICTURE_MEDIA_TYPE: Final = "image/png"
TEXT_MEDIA_TYPE: Final = "text/plain; charset=utf-8"
SLOWEST_BYTES_PER_SECOND: Final = 1e6
_MOST_ADVICE: Final = 64
_LONGEST_ADVICE: Final = 2000
"""Characters. What the registry takes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """A finished LoRA: its file, its figures, pictures made with it, and how it was made."""

    file: Blob
    evaluation: Mapping[str, float]
    previews: Sequence[Blob]
    preview_sheet: Blob | None
    loss_plot: Blob
    environment: Mapping[str, str]
    start_time: datetime
    end_time: datetime
    training_seconds: float
    images_per_second: float


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
        origin=_origin(lease, result),
        evaluation=dict(result.evaluation),
        previews=[blob_to_proto(preview, PICTURE_MEDIA_TYPE) for preview in result.previews],
    )


def _origin(lease: LeasedJob, result: Result) -> resources_pb2.LoraOrigin:
    sheet = result.preview_sheet
    return resources_pb2.LoraOrigin(
        training_job=lease.name,
        dataset_revision=lease.spec.dataset_revision,
        dataset_sha256=lease.manifest.sha256,
        parent_version=lease.spec.parent_version or "",
        training_spec_json=lease.spec_json,
        environment=result.environment,
        advice=[
            resources_pb2.TrainingAdvice(
                code=told.code, field=told.field, message=told.message[:_LONGEST_ADVICE]
            )
            for told in lease.advice[:_MOST_ADVICE]
        ],
        preview_sheet=blob_to_proto(sheet, PICTURE_MEDIA_TYPE) if sheet else None,
        loss_plot=blob_to_proto(result.loss_plot, PICTURE_MEDIA_TYPE),
        parent_sha256=lease.parent.sha256 if lease.parent else "",
        prior_dataset_sha256=lease.prior_manifest.sha256 if lease.prior_manifest else "",
        start_time=timestamp(result.start_time),
        end_time=timestamp(result.end_time),
        training_seconds=result.training_seconds,
        images_per_second=result.images_per_second,
    )

"""What a worker is told about a job that it has leased."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from google.protobuf.json_format import MessageToJson

from brandloom.api.common.v1 import artifact_pb2
from brandloom.api.trainer.v1 import worker_pb2
from services.trainer.advice import Advice
from services.trainer.convert import FAMILY_OF, advice_from_proto
from services.trainer.convert_spec import spec_from_proto
from services.trainer.leasing import PackKey
from services.trainer.sources import LANGUAGE_FAMILY, Blob
from services.trainer.spec import TrainingSpec


@dataclass(frozen=True, kw_only=True, slots=True)
class LeasedJob:
    """One leased job: what to train, from what, and under which token to speak of it."""

    name: str
    token: int
    timeout: timedelta
    spec: TrainingSpec
    spec_json: str
    attempt: int
    total_steps: int
    base_source: str
    base_sha256: str
    base_family: str
    """As the base is registered."""
    manifest: Blob
    parent: Blob | None
    checkpoint: Blob | None
    checkpoint_step: int
    registration_id: str
    prior_manifest: Blob | None = None
    """Of class pictures."""
    advice: tuple[Advice, ...] = ()
    """What the job's owner was told."""

    @property
    def pack_key(self) -> PackKey:
        """Jobs of one key can train together."""
        return PackKey(self.base_sha256, self.spec.resolution, self.spec.precision)

    @property
    def material(self) -> str:
        """What it learns from, in a word."""
        return "texts" if self.base_family == LANGUAGE_FAMILY else "pictures"

    @property
    def lora_id(self) -> str:
        """Last part of the LoRA's name."""
        return self.spec.lora.rpartition("/")[2]


def lease_from_proto(message: worker_pb2.TrainingLease) -> LeasedJob:
    """The lease as the trainer sent it."""
    return LeasedJob(
        name=message.job,
        token=message.fencing_token,
        timeout=message.lease_timeout.ToTimedelta(),
        spec=spec_from_proto(message.spec),
        spec_json=MessageToJson(message.spec, preserving_proto_field_name=True, indent=None),
        attempt=message.attempt,
        total_steps=message.total_steps,
        base_source=message.base_model_source,
        base_sha256=message.base_model_sha256,
        base_family=FAMILY_OF[message.family],
        manifest=Blob(message.dataset_manifest.sha256, message.dataset_manifest.size_bytes),
        parent=_blob(message.parent_artifact) if message.HasField("parent_artifact") else None,
        checkpoint=_blob(message.checkpoint) if message.HasField("checkpoint") else None,
        checkpoint_step=message.checkpoint_step,
        registration_id=message.registration_id,
        prior_manifest=_blob(message.prior_manifest) if message.HasField("prior_manifest") else None,
        advice=tuple(advice_from_proto(advice) for advice in message.advice),
    )


def _blob(message: artifact_pb2.Artifact) -> Blob:
    return Blob(message.sha256, message.size_bytes)

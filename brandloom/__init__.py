"""Learn brands from pictures, keep what was learned, and generate with any stack of it.

    import brandloom

    with brandloom.connect() as client:
        for image in client.images.generate("acme", "<lora:hero:0.6> riding a motorcycle", seed=7):
            image.save("hero.png")

`connect` gives a blocking client, `connect_async` the same calls for asynchronous code. Results are frozen
dataclasses, failures are exceptions of `brandloom.errors`.
"""

from __future__ import annotations

from brandloom._async_client import AsyncClient
from brandloom._base_digest import base_model_digest
from brandloom._client import Client
from brandloom._connect import connect, connect_async
from brandloom.errors import ApiError, BrandloomError, JobFailed
from brandloom.types.common import Artifact, Failure, HealthStatus, JobState, ModelFamily, ServiceHealth
from brandloom.types.events import (
    ArtifactEvent,
    ErrorEvent,
    LabeledEvent,
    LabelEvent,
    LabelProgressEvent,
    NoticeEvent,
    ProgressEvent,
    StateEvent,
    TrainingEvent,
    VersionEvent,
)
from brandloom.types.inference import (
    Capacity,
    GeneratedImage,
    GenerationEvent,
    GenerationProgress,
    Queued,
    Sampler,
    SigmaSchedule,
    StackEntry,
    SweepCell,
    SweepEvent,
    SweepSheet,
    UsedLora,
)
from brandloom.types.labeler import (
    CaptionFormat,
    CaptionSource,
    Dataset,
    DatasetRevision,
    Image,
    ImageFlag,
    LabelJob,
    LabelProgress,
    UploadOutcome,
    UploadReport,
    UploadResult,
)
from brandloom.types.registry import (
    BaseModel,
    Brand,
    Change,
    ChangeKind,
    Lineage,
    LineageEdge,
    LineageKind,
    LineageNode,
    Lora,
    LoraFormat,
    LoraOrigin,
    LoraVersion,
    ResolvedLora,
    ResolvedStack,
)
from brandloom.types.training import (
    Advice,
    JobArtifact,
    JobArtifactKind,
    MetricPoint,
    SpecCheck,
    TrainingJob,
    TrainingProgress,
)
from brandloom.types.training_spec import (
    AdapterSpec,
    AdapterTarget,
    LearningRateSchedule,
    LossSpec,
    OptimizationSpec,
    Precision,
    SampleSpec,
    TrainingOptions,
    TrainingSpec,
)

__all__ = [
    "AdapterSpec",
    "AdapterTarget",
    "Advice",
    "ApiError",
    "Artifact",
    "ArtifactEvent",
    "AsyncClient",
    "BaseModel",
    "Brand",
    "BrandloomError",
    "Capacity",
    "CaptionFormat",
    "CaptionSource",
    "Change",
    "ChangeKind",
    "Client",
    "Dataset",
    "DatasetRevision",
    "ErrorEvent",
    "Failure",
    "GeneratedImage",
    "GenerationEvent",
    "GenerationProgress",
    "HealthStatus",
    "Image",
    "ImageFlag",
    "JobArtifact",
    "JobArtifactKind",
    "JobFailed",
    "JobState",
    "LabelEvent",
    "LabelJob",
    "LabelProgress",
    "LabelProgressEvent",
    "LabeledEvent",
    "LearningRateSchedule",
    "Lineage",
    "LineageEdge",
    "LineageKind",
    "LineageNode",
    "Lora",
    "LoraFormat",
    "LoraOrigin",
    "LoraVersion",
    "LossSpec",
    "MetricPoint",
    "ModelFamily",
    "NoticeEvent",
    "OptimizationSpec",
    "Precision",
    "ProgressEvent",
    "Queued",
    "ResolvedLora",
    "ResolvedStack",
    "Sampler",
    "SampleSpec",
    "ServiceHealth",
    "SigmaSchedule",
    "SpecCheck",
    "StackEntry",
    "StateEvent",
    "SweepCell",
    "SweepEvent",
    "SweepSheet",
    "TrainingEvent",
    "TrainingJob",
    "TrainingOptions",
    "TrainingProgress",
    "TrainingSpec",
    "UploadOutcome",
    "UploadReport",
    "UploadResult",
    "UsedLora",
    "VersionEvent",
    "base_model_digest",
    "connect",
    "connect_async",
]

import datetime

from brandloom.api.common.v1 import artifact_pb2 as _artifact_pb2
from brandloom.api.common.v1 import family_pb2 as _family_pb2
from brandloom.api.common.v1 import job_pb2 as _job_pb2
from brandloom.api.trainer.v1 import resources_pb2 as _resources_pb2
from buf.validate import validate_pb2 as _validate_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class LeaseTrainingJobsRequest(_message.Message):
    __slots__ = ("worker", "max_jobs", "base_model_sha256", "resolution", "precision", "joining", "places", "device")
    WORKER_FIELD_NUMBER: _ClassVar[int]
    MAX_JOBS_FIELD_NUMBER: _ClassVar[int]
    BASE_MODEL_SHA256_FIELD_NUMBER: _ClassVar[int]
    RESOLUTION_FIELD_NUMBER: _ClassVar[int]
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    JOINING_FIELD_NUMBER: _ClassVar[int]
    PLACES_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    worker: str
    max_jobs: int
    base_model_sha256: str
    resolution: int
    precision: _resources_pb2.Precision
    joining: bool
    places: int
    device: str
    def __init__(self, worker: _Optional[str] = ..., max_jobs: _Optional[int] = ..., base_model_sha256: _Optional[str] = ..., resolution: _Optional[int] = ..., precision: _Optional[_Union[_resources_pb2.Precision, str]] = ..., joining: _Optional[bool] = ..., places: _Optional[int] = ..., device: _Optional[str] = ...) -> None: ...

class TrainingLease(_message.Message):
    __slots__ = ("job", "fencing_token", "lease_timeout", "spec", "attempt", "base_model_source", "base_model_sha256", "dataset_revision", "dataset_manifest", "parent_artifact", "checkpoint", "checkpoint_step", "registration_id", "family", "total_steps", "prior_manifest", "advice")
    JOB_FIELD_NUMBER: _ClassVar[int]
    FENCING_TOKEN_FIELD_NUMBER: _ClassVar[int]
    LEASE_TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    BASE_MODEL_SOURCE_FIELD_NUMBER: _ClassVar[int]
    BASE_MODEL_SHA256_FIELD_NUMBER: _ClassVar[int]
    DATASET_REVISION_FIELD_NUMBER: _ClassVar[int]
    DATASET_MANIFEST_FIELD_NUMBER: _ClassVar[int]
    PARENT_ARTIFACT_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_STEP_FIELD_NUMBER: _ClassVar[int]
    REGISTRATION_ID_FIELD_NUMBER: _ClassVar[int]
    FAMILY_FIELD_NUMBER: _ClassVar[int]
    TOTAL_STEPS_FIELD_NUMBER: _ClassVar[int]
    PRIOR_MANIFEST_FIELD_NUMBER: _ClassVar[int]
    ADVICE_FIELD_NUMBER: _ClassVar[int]
    job: str
    fencing_token: int
    lease_timeout: _duration_pb2.Duration
    spec: _resources_pb2.TrainingSpec
    attempt: int
    base_model_source: str
    base_model_sha256: str
    dataset_revision: str
    dataset_manifest: _artifact_pb2.Artifact
    parent_artifact: _artifact_pb2.Artifact
    checkpoint: _artifact_pb2.Artifact
    checkpoint_step: int
    registration_id: str
    family: _family_pb2.ModelFamily
    total_steps: int
    prior_manifest: _artifact_pb2.Artifact
    advice: _containers.RepeatedCompositeFieldContainer[_resources_pb2.Advice]
    def __init__(self, job: _Optional[str] = ..., fencing_token: _Optional[int] = ..., lease_timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., spec: _Optional[_Union[_resources_pb2.TrainingSpec, _Mapping]] = ..., attempt: _Optional[int] = ..., base_model_source: _Optional[str] = ..., base_model_sha256: _Optional[str] = ..., dataset_revision: _Optional[str] = ..., dataset_manifest: _Optional[_Union[_artifact_pb2.Artifact, _Mapping]] = ..., parent_artifact: _Optional[_Union[_artifact_pb2.Artifact, _Mapping]] = ..., checkpoint: _Optional[_Union[_artifact_pb2.Artifact, _Mapping]] = ..., checkpoint_step: _Optional[int] = ..., registration_id: _Optional[str] = ..., family: _Optional[_Union[_family_pb2.ModelFamily, str]] = ..., total_steps: _Optional[int] = ..., prior_manifest: _Optional[_Union[_artifact_pb2.Artifact, _Mapping]] = ..., advice: _Optional[_Iterable[_Union[_resources_pb2.Advice, _Mapping]]] = ...) -> None: ...

class LeaseTrainingJobsResponse(_message.Message):
    __slots__ = ("leases",)
    LEASES_FIELD_NUMBER: _ClassVar[int]
    leases: _containers.RepeatedCompositeFieldContainer[TrainingLease]
    def __init__(self, leases: _Optional[_Iterable[_Union[TrainingLease, _Mapping]]] = ...) -> None: ...

class HeldLease(_message.Message):
    __slots__ = ("job", "fencing_token")
    JOB_FIELD_NUMBER: _ClassVar[int]
    FENCING_TOKEN_FIELD_NUMBER: _ClassVar[int]
    job: str
    fencing_token: int
    def __init__(self, job: _Optional[str] = ..., fencing_token: _Optional[int] = ...) -> None: ...

class HeartbeatRequest(_message.Message):
    __slots__ = ("worker", "leases")
    WORKER_FIELD_NUMBER: _ClassVar[int]
    LEASES_FIELD_NUMBER: _ClassVar[int]
    worker: str
    leases: _containers.RepeatedCompositeFieldContainer[HeldLease]
    def __init__(self, worker: _Optional[str] = ..., leases: _Optional[_Iterable[_Union[HeldLease, _Mapping]]] = ...) -> None: ...

class LeaseInstruction(_message.Message):
    __slots__ = ("job", "action")
    class Action(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        ACTION_UNSPECIFIED: _ClassVar[LeaseInstruction.Action]
        ACTION_CONTINUE: _ClassVar[LeaseInstruction.Action]
        ACTION_CANCEL: _ClassVar[LeaseInstruction.Action]
        ACTION_ABANDON: _ClassVar[LeaseInstruction.Action]
        ACTION_PREEMPT: _ClassVar[LeaseInstruction.Action]
    ACTION_UNSPECIFIED: LeaseInstruction.Action
    ACTION_CONTINUE: LeaseInstruction.Action
    ACTION_CANCEL: LeaseInstruction.Action
    ACTION_ABANDON: LeaseInstruction.Action
    ACTION_PREEMPT: LeaseInstruction.Action
    JOB_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    job: str
    action: LeaseInstruction.Action
    def __init__(self, job: _Optional[str] = ..., action: _Optional[_Union[LeaseInstruction.Action, str]] = ...) -> None: ...

class HeartbeatResponse(_message.Message):
    __slots__ = ("instructions",)
    INSTRUCTIONS_FIELD_NUMBER: _ClassVar[int]
    instructions: _containers.RepeatedCompositeFieldContainer[LeaseInstruction]
    def __init__(self, instructions: _Optional[_Iterable[_Union[LeaseInstruction, _Mapping]]] = ...) -> None: ...

class ReportTrainingEventsRequest(_message.Message):
    __slots__ = ("lease", "events", "points")
    LEASE_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    POINTS_FIELD_NUMBER: _ClassVar[int]
    lease: HeldLease
    events: _containers.RepeatedCompositeFieldContainer[_resources_pb2.TrainingEvent]
    points: _containers.RepeatedCompositeFieldContainer[_resources_pb2.MetricPoint]
    def __init__(self, lease: _Optional[_Union[HeldLease, _Mapping]] = ..., events: _Optional[_Iterable[_Union[_resources_pb2.TrainingEvent, _Mapping]]] = ..., points: _Optional[_Iterable[_Union[_resources_pb2.MetricPoint, _Mapping]]] = ...) -> None: ...

class ReportTrainingEventsResponse(_message.Message):
    __slots__ = ("action",)
    ACTION_FIELD_NUMBER: _ClassVar[int]
    action: LeaseInstruction.Action
    def __init__(self, action: _Optional[_Union[LeaseInstruction.Action, str]] = ...) -> None: ...

class ReportMemoryRequest(_message.Message):
    __slots__ = ("device", "base_model_sha256", "precision", "free_bytes", "pass_bytes", "adapters", "passes")
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    BASE_MODEL_SHA256_FIELD_NUMBER: _ClassVar[int]
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    FREE_BYTES_FIELD_NUMBER: _ClassVar[int]
    PASS_BYTES_FIELD_NUMBER: _ClassVar[int]
    ADAPTERS_FIELD_NUMBER: _ClassVar[int]
    PASSES_FIELD_NUMBER: _ClassVar[int]
    device: str
    base_model_sha256: str
    precision: _resources_pb2.Precision
    free_bytes: int
    pass_bytes: int
    adapters: _containers.RepeatedCompositeFieldContainer[AdapterNumbers]
    passes: _containers.RepeatedCompositeFieldContainer[PassMemory]
    def __init__(self, device: _Optional[str] = ..., base_model_sha256: _Optional[str] = ..., precision: _Optional[_Union[_resources_pb2.Precision, str]] = ..., free_bytes: _Optional[int] = ..., pass_bytes: _Optional[int] = ..., adapters: _Optional[_Iterable[_Union[AdapterNumbers, _Mapping]]] = ..., passes: _Optional[_Iterable[_Union[PassMemory, _Mapping]]] = ...) -> None: ...

class AdapterNumbers(_message.Message):
    __slots__ = ("target", "text_encoder", "per_rank")
    TARGET_FIELD_NUMBER: _ClassVar[int]
    TEXT_ENCODER_FIELD_NUMBER: _ClassVar[int]
    PER_RANK_FIELD_NUMBER: _ClassVar[int]
    target: _resources_pb2.AdapterTarget
    text_encoder: bool
    per_rank: int
    def __init__(self, target: _Optional[_Union[_resources_pb2.AdapterTarget, str]] = ..., text_encoder: _Optional[bool] = ..., per_rank: _Optional[int] = ...) -> None: ...

class PassMemory(_message.Message):
    __slots__ = ("area", "recomputing", "fixed_bytes", "row_bytes", "parameters")
    AREA_FIELD_NUMBER: _ClassVar[int]
    RECOMPUTING_FIELD_NUMBER: _ClassVar[int]
    FIXED_BYTES_FIELD_NUMBER: _ClassVar[int]
    ROW_BYTES_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    area: int
    recomputing: bool
    fixed_bytes: int
    row_bytes: int
    parameters: int
    def __init__(self, area: _Optional[int] = ..., recomputing: _Optional[bool] = ..., fixed_bytes: _Optional[int] = ..., row_bytes: _Optional[int] = ..., parameters: _Optional[int] = ...) -> None: ...

class ReportMemoryResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class CompleteTrainingJobRequest(_message.Message):
    __slots__ = ("lease", "state", "lora_version", "error", "retryable")
    LEASE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    LORA_VERSION_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    RETRYABLE_FIELD_NUMBER: _ClassVar[int]
    lease: HeldLease
    state: _job_pb2.JobState
    lora_version: str
    error: _job_pb2.Failure
    retryable: bool
    def __init__(self, lease: _Optional[_Union[HeldLease, _Mapping]] = ..., state: _Optional[_Union[_job_pb2.JobState, str]] = ..., lora_version: _Optional[str] = ..., error: _Optional[_Union[_job_pb2.Failure, _Mapping]] = ..., retryable: _Optional[bool] = ...) -> None: ...

class CompleteTrainingJobResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

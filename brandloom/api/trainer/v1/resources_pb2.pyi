import datetime

from brandloom.api.common.v1 import artifact_pb2 as _artifact_pb2
from brandloom.api.common.v1 import job_pb2 as _job_pb2
from buf.validate import validate_pb2 as _validate_pb2
from google.api import field_behavior_pb2 as _field_behavior_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Precision(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PRECISION_UNSPECIFIED: _ClassVar[Precision]
    PRECISION_FLOAT32: _ClassVar[Precision]
    PRECISION_BFLOAT16: _ClassVar[Precision]

class AdapterTarget(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ADAPTER_TARGET_UNSPECIFIED: _ClassVar[AdapterTarget]
    ADAPTER_TARGET_ATTENTION: _ClassVar[AdapterTarget]
    ADAPTER_TARGET_FEED_FORWARD: _ClassVar[AdapterTarget]
    ADAPTER_TARGET_CONV_1X1: _ClassVar[AdapterTarget]

class LearningRateSchedule(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LEARNING_RATE_SCHEDULE_UNSPECIFIED: _ClassVar[LearningRateSchedule]
    LEARNING_RATE_SCHEDULE_CONSTANT: _ClassVar[LearningRateSchedule]
    LEARNING_RATE_SCHEDULE_CONSTANT_WITH_WARMUP: _ClassVar[LearningRateSchedule]
    LEARNING_RATE_SCHEDULE_LINEAR: _ClassVar[LearningRateSchedule]
    LEARNING_RATE_SCHEDULE_COSINE: _ClassVar[LearningRateSchedule]

class OptimizerKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OPTIMIZER_KIND_UNSPECIFIED: _ClassVar[OptimizerKind]
    OPTIMIZER_KIND_ADAMW: _ClassVar[OptimizerKind]
    OPTIMIZER_KIND_ADAMW_8BIT: _ClassVar[OptimizerKind]
    OPTIMIZER_KIND_PRODIGY: _ClassVar[OptimizerKind]
    OPTIMIZER_KIND_ADAFACTOR: _ClassVar[OptimizerKind]
PRECISION_UNSPECIFIED: Precision
PRECISION_FLOAT32: Precision
PRECISION_BFLOAT16: Precision
ADAPTER_TARGET_UNSPECIFIED: AdapterTarget
ADAPTER_TARGET_ATTENTION: AdapterTarget
ADAPTER_TARGET_FEED_FORWARD: AdapterTarget
ADAPTER_TARGET_CONV_1X1: AdapterTarget
LEARNING_RATE_SCHEDULE_UNSPECIFIED: LearningRateSchedule
LEARNING_RATE_SCHEDULE_CONSTANT: LearningRateSchedule
LEARNING_RATE_SCHEDULE_CONSTANT_WITH_WARMUP: LearningRateSchedule
LEARNING_RATE_SCHEDULE_LINEAR: LearningRateSchedule
LEARNING_RATE_SCHEDULE_COSINE: LearningRateSchedule
OPTIMIZER_KIND_UNSPECIFIED: OptimizerKind
OPTIMIZER_KIND_ADAMW: OptimizerKind
OPTIMIZER_KIND_ADAMW_8BIT: OptimizerKind
OPTIMIZER_KIND_PRODIGY: OptimizerKind
OPTIMIZER_KIND_ADAFACTOR: OptimizerKind

class TrainingSpec(_message.Message):
    __slots__ = ("base_model", "dataset_revision", "lora", "parent_version", "trigger_words", "adapter", "optimization", "loss", "samples", "resolution", "horizontal_flip", "seed", "checkpoint_interval_steps", "precision", "validation", "aspect_ratio_buckets", "caption", "prior_preservation", "gradient_checkpointing")
    BASE_MODEL_FIELD_NUMBER: _ClassVar[int]
    DATASET_REVISION_FIELD_NUMBER: _ClassVar[int]
    LORA_FIELD_NUMBER: _ClassVar[int]
    PARENT_VERSION_FIELD_NUMBER: _ClassVar[int]
    TRIGGER_WORDS_FIELD_NUMBER: _ClassVar[int]
    ADAPTER_FIELD_NUMBER: _ClassVar[int]
    OPTIMIZATION_FIELD_NUMBER: _ClassVar[int]
    LOSS_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_FIELD_NUMBER: _ClassVar[int]
    RESOLUTION_FIELD_NUMBER: _ClassVar[int]
    HORIZONTAL_FLIP_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_INTERVAL_STEPS_FIELD_NUMBER: _ClassVar[int]
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    VALIDATION_FIELD_NUMBER: _ClassVar[int]
    ASPECT_RATIO_BUCKETS_FIELD_NUMBER: _ClassVar[int]
    CAPTION_FIELD_NUMBER: _ClassVar[int]
    PRIOR_PRESERVATION_FIELD_NUMBER: _ClassVar[int]
    GRADIENT_CHECKPOINTING_FIELD_NUMBER: _ClassVar[int]
    base_model: str
    dataset_revision: str
    lora: str
    parent_version: str
    trigger_words: _containers.RepeatedScalarFieldContainer[str]
    adapter: AdapterSpec
    optimization: OptimizationSpec
    loss: LossSpec
    samples: SampleSpec
    resolution: int
    horizontal_flip: bool
    seed: int
    checkpoint_interval_steps: int
    precision: Precision
    validation: ValidationSpec
    aspect_ratio_buckets: BucketSpec
    caption: CaptionSpec
    prior_preservation: PriorSpec
    gradient_checkpointing: bool
    def __init__(self, base_model: _Optional[str] = ..., dataset_revision: _Optional[str] = ..., lora: _Optional[str] = ..., parent_version: _Optional[str] = ..., trigger_words: _Optional[_Iterable[str]] = ..., adapter: _Optional[_Union[AdapterSpec, _Mapping]] = ..., optimization: _Optional[_Union[OptimizationSpec, _Mapping]] = ..., loss: _Optional[_Union[LossSpec, _Mapping]] = ..., samples: _Optional[_Union[SampleSpec, _Mapping]] = ..., resolution: _Optional[int] = ..., horizontal_flip: _Optional[bool] = ..., seed: _Optional[int] = ..., checkpoint_interval_steps: _Optional[int] = ..., precision: _Optional[_Union[Precision, str]] = ..., validation: _Optional[_Union[ValidationSpec, _Mapping]] = ..., aspect_ratio_buckets: _Optional[_Union[BucketSpec, _Mapping]] = ..., caption: _Optional[_Union[CaptionSpec, _Mapping]] = ..., prior_preservation: _Optional[_Union[PriorSpec, _Mapping]] = ..., gradient_checkpointing: _Optional[bool] = ...) -> None: ...

class BucketSpec(_message.Message):
    __slots__ = ("enabled", "min_size", "max_size", "step")
    ENABLED_FIELD_NUMBER: _ClassVar[int]
    MIN_SIZE_FIELD_NUMBER: _ClassVar[int]
    MAX_SIZE_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    enabled: bool
    min_size: int
    max_size: int
    step: int
    def __init__(self, enabled: _Optional[bool] = ..., min_size: _Optional[int] = ..., max_size: _Optional[int] = ..., step: _Optional[int] = ...) -> None: ...

class CaptionSpec(_message.Message):
    __slots__ = ("shuffle_tags", "keep_tokens")
    SHUFFLE_TAGS_FIELD_NUMBER: _ClassVar[int]
    KEEP_TOKENS_FIELD_NUMBER: _ClassVar[int]
    shuffle_tags: bool
    keep_tokens: int
    def __init__(self, shuffle_tags: _Optional[bool] = ..., keep_tokens: _Optional[int] = ...) -> None: ...

class PriorSpec(_message.Message):
    __slots__ = ("dataset_revision", "weight", "batch_size")
    DATASET_REVISION_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    BATCH_SIZE_FIELD_NUMBER: _ClassVar[int]
    dataset_revision: str
    weight: float
    batch_size: int
    def __init__(self, dataset_revision: _Optional[str] = ..., weight: _Optional[float] = ..., batch_size: _Optional[int] = ...) -> None: ...

class AdapterSpec(_message.Message):
    __slots__ = ("rank", "alpha", "dropout", "targets", "train_text_encoder")
    RANK_FIELD_NUMBER: _ClassVar[int]
    ALPHA_FIELD_NUMBER: _ClassVar[int]
    DROPOUT_FIELD_NUMBER: _ClassVar[int]
    TARGETS_FIELD_NUMBER: _ClassVar[int]
    TRAIN_TEXT_ENCODER_FIELD_NUMBER: _ClassVar[int]
    rank: int
    alpha: float
    dropout: float
    targets: _containers.RepeatedScalarFieldContainer[AdapterTarget]
    train_text_encoder: bool
    def __init__(self, rank: _Optional[int] = ..., alpha: _Optional[float] = ..., dropout: _Optional[float] = ..., targets: _Optional[_Iterable[_Union[AdapterTarget, str]]] = ..., train_text_encoder: _Optional[bool] = ...) -> None: ...

class OptimizationSpec(_message.Message):
    __slots__ = ("learning_rate", "text_encoder_learning_rate", "schedule", "warmup_steps", "batch_size", "epochs", "max_steps", "weight_decay", "max_gradient_norm", "optimizer", "ema_decay")
    LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    TEXT_ENCODER_LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    SCHEDULE_FIELD_NUMBER: _ClassVar[int]
    WARMUP_STEPS_FIELD_NUMBER: _ClassVar[int]
    BATCH_SIZE_FIELD_NUMBER: _ClassVar[int]
    EPOCHS_FIELD_NUMBER: _ClassVar[int]
    MAX_STEPS_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_DECAY_FIELD_NUMBER: _ClassVar[int]
    MAX_GRADIENT_NORM_FIELD_NUMBER: _ClassVar[int]
    OPTIMIZER_FIELD_NUMBER: _ClassVar[int]
    EMA_DECAY_FIELD_NUMBER: _ClassVar[int]
    learning_rate: float
    text_encoder_learning_rate: float
    schedule: LearningRateSchedule
    warmup_steps: int
    batch_size: int
    epochs: int
    max_steps: int
    weight_decay: float
    max_gradient_norm: float
    optimizer: OptimizerKind
    ema_decay: float
    def __init__(self, learning_rate: _Optional[float] = ..., text_encoder_learning_rate: _Optional[float] = ..., schedule: _Optional[_Union[LearningRateSchedule, str]] = ..., warmup_steps: _Optional[int] = ..., batch_size: _Optional[int] = ..., epochs: _Optional[int] = ..., max_steps: _Optional[int] = ..., weight_decay: _Optional[float] = ..., max_gradient_norm: _Optional[float] = ..., optimizer: _Optional[_Union[OptimizerKind, str]] = ..., ema_decay: _Optional[float] = ...) -> None: ...

class LossSpec(_message.Message):
    __slots__ = ("min_snr_gamma", "noise_offset", "caption_dropout")
    MIN_SNR_GAMMA_FIELD_NUMBER: _ClassVar[int]
    NOISE_OFFSET_FIELD_NUMBER: _ClassVar[int]
    CAPTION_DROPOUT_FIELD_NUMBER: _ClassVar[int]
    min_snr_gamma: float
    noise_offset: float
    caption_dropout: float
    def __init__(self, min_snr_gamma: _Optional[float] = ..., noise_offset: _Optional[float] = ..., caption_dropout: _Optional[float] = ...) -> None: ...

class ValidationSpec(_message.Message):
    __slots__ = ("interval_steps", "patience", "keep_best", "max_items")
    INTERVAL_STEPS_FIELD_NUMBER: _ClassVar[int]
    PATIENCE_FIELD_NUMBER: _ClassVar[int]
    KEEP_BEST_FIELD_NUMBER: _ClassVar[int]
    MAX_ITEMS_FIELD_NUMBER: _ClassVar[int]
    interval_steps: int
    patience: int
    keep_best: bool
    max_items: int
    def __init__(self, interval_steps: _Optional[int] = ..., patience: _Optional[int] = ..., keep_best: _Optional[bool] = ..., max_items: _Optional[int] = ...) -> None: ...

class SampleSpec(_message.Message):
    __slots__ = ("prompts", "interval_steps", "steps", "guidance_scale", "seed", "max_new_tokens", "temperature")
    PROMPTS_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_STEPS_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    GUIDANCE_SCALE_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    MAX_NEW_TOKENS_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    prompts: _containers.RepeatedScalarFieldContainer[str]
    interval_steps: int
    steps: int
    guidance_scale: float
    seed: int
    max_new_tokens: int
    temperature: float
    def __init__(self, prompts: _Optional[_Iterable[str]] = ..., interval_steps: _Optional[int] = ..., steps: _Optional[int] = ..., guidance_scale: _Optional[float] = ..., seed: _Optional[int] = ..., max_new_tokens: _Optional[int] = ..., temperature: _Optional[float] = ...) -> None: ...

class Advice(_message.Message):
    __slots__ = ("code", "field", "message")
    CODE_FIELD_NUMBER: _ClassVar[int]
    FIELD_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    code: str
    field: str
    message: str
    def __init__(self, code: _Optional[str] = ..., field: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...

class TrainingJob(_message.Message):
    __slots__ = ("name", "display_name", "spec", "state", "progress", "error", "advice", "attempt", "lora_version", "artifacts", "create_time", "start_time", "end_time", "etag", "creator", "priority", "queue_position", "worker", "placement")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    ADVICE_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    LORA_VERSION_FIELD_NUMBER: _ClassVar[int]
    ARTIFACTS_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    CREATOR_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    QUEUE_POSITION_FIELD_NUMBER: _ClassVar[int]
    WORKER_FIELD_NUMBER: _ClassVar[int]
    PLACEMENT_FIELD_NUMBER: _ClassVar[int]
    name: str
    display_name: str
    spec: TrainingSpec
    state: _job_pb2.JobState
    progress: TrainingProgress
    error: _job_pb2.Failure
    advice: _containers.RepeatedCompositeFieldContainer[Advice]
    attempt: int
    lora_version: str
    artifacts: _containers.RepeatedCompositeFieldContainer[JobArtifact]
    create_time: _timestamp_pb2.Timestamp
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    etag: str
    creator: str
    priority: int
    queue_position: int
    worker: str
    placement: Placement
    def __init__(self, name: _Optional[str] = ..., display_name: _Optional[str] = ..., spec: _Optional[_Union[TrainingSpec, _Mapping]] = ..., state: _Optional[_Union[_job_pb2.JobState, str]] = ..., progress: _Optional[_Union[TrainingProgress, _Mapping]] = ..., error: _Optional[_Union[_job_pb2.Failure, _Mapping]] = ..., advice: _Optional[_Iterable[_Union[Advice, _Mapping]]] = ..., attempt: _Optional[int] = ..., lora_version: _Optional[str] = ..., artifacts: _Optional[_Iterable[_Union[JobArtifact, _Mapping]]] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., etag: _Optional[str] = ..., creator: _Optional[str] = ..., priority: _Optional[int] = ..., queue_position: _Optional[int] = ..., worker: _Optional[str] = ..., placement: _Optional[_Union[Placement, _Mapping]] = ...) -> None: ...

class Placement(_message.Message):
    __slots__ = ("standing", "reason", "pack", "companions", "estimated_start_time")
    class Standing(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STANDING_UNSPECIFIED: _ClassVar[Placement.Standing]
        STANDING_TRAINING: _ClassVar[Placement.Standing]
        STANDING_LEAVING: _ClassVar[Placement.Standing]
        STANDING_NEXT: _ClassVar[Placement.Standing]
        STANDING_BACKING_OFF: _ClassVar[Placement.Standing]
        STANDING_NO_WORKER: _ClassVar[Placement.Standing]
        STANDING_PACK_FULL: _ClassVar[Placement.Standing]
        STANDING_OTHER_PACKS: _ClassVar[Placement.Standing]
    STANDING_UNSPECIFIED: Placement.Standing
    STANDING_TRAINING: Placement.Standing
    STANDING_LEAVING: Placement.Standing
    STANDING_NEXT: Placement.Standing
    STANDING_BACKING_OFF: Placement.Standing
    STANDING_NO_WORKER: Placement.Standing
    STANDING_PACK_FULL: Placement.Standing
    STANDING_OTHER_PACKS: Placement.Standing
    STANDING_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    PACK_FIELD_NUMBER: _ClassVar[int]
    COMPANIONS_FIELD_NUMBER: _ClassVar[int]
    ESTIMATED_START_TIME_FIELD_NUMBER: _ClassVar[int]
    standing: Placement.Standing
    reason: str
    pack: str
    companions: int
    estimated_start_time: _timestamp_pb2.Timestamp
    def __init__(self, standing: _Optional[_Union[Placement.Standing, str]] = ..., reason: _Optional[str] = ..., pack: _Optional[str] = ..., companions: _Optional[int] = ..., estimated_start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class TrainingProgress(_message.Message):
    __slots__ = ("step", "total_steps", "epoch", "loss", "smoothed_loss", "learning_rate", "images_per_second", "time_left", "pack_size", "validation_loss", "pack_images_per_second", "device_memory_bytes")
    STEP_FIELD_NUMBER: _ClassVar[int]
    TOTAL_STEPS_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    LOSS_FIELD_NUMBER: _ClassVar[int]
    SMOOTHED_LOSS_FIELD_NUMBER: _ClassVar[int]
    LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    IMAGES_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    TIME_LEFT_FIELD_NUMBER: _ClassVar[int]
    PACK_SIZE_FIELD_NUMBER: _ClassVar[int]
    VALIDATION_LOSS_FIELD_NUMBER: _ClassVar[int]
    PACK_IMAGES_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    DEVICE_MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    step: int
    total_steps: int
    epoch: int
    loss: float
    smoothed_loss: float
    learning_rate: float
    images_per_second: float
    time_left: _duration_pb2.Duration
    pack_size: int
    validation_loss: float
    pack_images_per_second: float
    device_memory_bytes: int
    def __init__(self, step: _Optional[int] = ..., total_steps: _Optional[int] = ..., epoch: _Optional[int] = ..., loss: _Optional[float] = ..., smoothed_loss: _Optional[float] = ..., learning_rate: _Optional[float] = ..., images_per_second: _Optional[float] = ..., time_left: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., pack_size: _Optional[int] = ..., validation_loss: _Optional[float] = ..., pack_images_per_second: _Optional[float] = ..., device_memory_bytes: _Optional[int] = ...) -> None: ...

class JobArtifact(_message.Message):
    __slots__ = ("kind", "file_name", "artifact", "step", "prompt")
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        KIND_UNSPECIFIED: _ClassVar[JobArtifact.Kind]
        KIND_LORA: _ClassVar[JobArtifact.Kind]
        KIND_LOSS_PLOT: _ClassVar[JobArtifact.Kind]
        KIND_SAMPLE: _ClassVar[JobArtifact.Kind]
        KIND_TENSORBOARD: _ClassVar[JobArtifact.Kind]
        KIND_CHECKPOINT: _ClassVar[JobArtifact.Kind]
        KIND_PREVIEW_SHEET: _ClassVar[JobArtifact.Kind]
    KIND_UNSPECIFIED: JobArtifact.Kind
    KIND_LORA: JobArtifact.Kind
    KIND_LOSS_PLOT: JobArtifact.Kind
    KIND_SAMPLE: JobArtifact.Kind
    KIND_TENSORBOARD: JobArtifact.Kind
    KIND_CHECKPOINT: JobArtifact.Kind
    KIND_PREVIEW_SHEET: JobArtifact.Kind
    KIND_FIELD_NUMBER: _ClassVar[int]
    FILE_NAME_FIELD_NUMBER: _ClassVar[int]
    ARTIFACT_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    kind: JobArtifact.Kind
    file_name: str
    artifact: _artifact_pb2.Artifact
    step: int
    prompt: str
    def __init__(self, kind: _Optional[_Union[JobArtifact.Kind, str]] = ..., file_name: _Optional[str] = ..., artifact: _Optional[_Union[_artifact_pb2.Artifact, _Mapping]] = ..., step: _Optional[int] = ..., prompt: _Optional[str] = ...) -> None: ...

class TrainingEvent(_message.Message):
    __slots__ = ("sequence", "time", "state", "progress", "artifact", "error", "notice", "lora_version")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    ARTIFACT_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    NOTICE_FIELD_NUMBER: _ClassVar[int]
    LORA_VERSION_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    time: _timestamp_pb2.Timestamp
    state: _job_pb2.JobState
    progress: TrainingProgress
    artifact: JobArtifact
    error: _job_pb2.Failure
    notice: str
    lora_version: str
    def __init__(self, sequence: _Optional[int] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., state: _Optional[_Union[_job_pb2.JobState, str]] = ..., progress: _Optional[_Union[TrainingProgress, _Mapping]] = ..., artifact: _Optional[_Union[JobArtifact, _Mapping]] = ..., error: _Optional[_Union[_job_pb2.Failure, _Mapping]] = ..., notice: _Optional[str] = ..., lora_version: _Optional[str] = ...) -> None: ...

class MetricPoint(_message.Message):
    __slots__ = ("step", "time", "loss", "smoothed_loss", "learning_rate", "images_per_second", "validation_loss", "pack_images_per_second", "device_memory_bytes")
    STEP_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    LOSS_FIELD_NUMBER: _ClassVar[int]
    SMOOTHED_LOSS_FIELD_NUMBER: _ClassVar[int]
    LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    IMAGES_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    VALIDATION_LOSS_FIELD_NUMBER: _ClassVar[int]
    PACK_IMAGES_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    DEVICE_MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    step: int
    time: _timestamp_pb2.Timestamp
    loss: float
    smoothed_loss: float
    learning_rate: float
    images_per_second: float
    validation_loss: float
    pack_images_per_second: float
    device_memory_bytes: int
    def __init__(self, step: _Optional[int] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., loss: _Optional[float] = ..., smoothed_loss: _Optional[float] = ..., learning_rate: _Optional[float] = ..., images_per_second: _Optional[float] = ..., validation_loss: _Optional[float] = ..., pack_images_per_second: _Optional[float] = ..., device_memory_bytes: _Optional[int] = ...) -> None: ...

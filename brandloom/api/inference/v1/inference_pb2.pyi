import datetime

from brandloom.api.common.v1 import artifact_pb2 as _artifact_pb2
from brandloom.api.common.v1 import family_pb2 as _family_pb2
from buf.validate import validate_pb2 as _validate_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Sampler(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SAMPLER_UNSPECIFIED: _ClassVar[Sampler]
    SAMPLER_EULER: _ClassVar[Sampler]
    SAMPLER_EULER_ANCESTRAL: _ClassVar[Sampler]
    SAMPLER_DDIM: _ClassVar[Sampler]
    SAMPLER_DPMPP_2M: _ClassVar[Sampler]

class SigmaSchedule(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SIGMA_SCHEDULE_UNSPECIFIED: _ClassVar[SigmaSchedule]
    SIGMA_SCHEDULE_KARRAS: _ClassVar[SigmaSchedule]
SAMPLER_UNSPECIFIED: Sampler
SAMPLER_EULER: Sampler
SAMPLER_EULER_ANCESTRAL: Sampler
SAMPLER_DDIM: Sampler
SAMPLER_DPMPP_2M: Sampler
SIGMA_SCHEDULE_UNSPECIFIED: SigmaSchedule
SIGMA_SCHEDULE_KARRAS: SigmaSchedule

class StackEntry(_message.Message):
    __slots__ = ("reference", "weight", "text_encoder_weight")
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    TEXT_ENCODER_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    reference: str
    weight: float
    text_encoder_weight: float
    def __init__(self, reference: _Optional[str] = ..., weight: _Optional[float] = ..., text_encoder_weight: _Optional[float] = ...) -> None: ...

class GenerateImagesRequest(_message.Message):
    __slots__ = ("parent", "prompt", "negative_prompt", "stack", "base_model", "steps", "guidance_scale", "sampler", "sigma_schedule", "seed", "width", "height", "count", "clip_skip")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    NEGATIVE_PROMPT_FIELD_NUMBER: _ClassVar[int]
    STACK_FIELD_NUMBER: _ClassVar[int]
    BASE_MODEL_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    GUIDANCE_SCALE_FIELD_NUMBER: _ClassVar[int]
    SAMPLER_FIELD_NUMBER: _ClassVar[int]
    SIGMA_SCHEDULE_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    CLIP_SKIP_FIELD_NUMBER: _ClassVar[int]
    parent: str
    prompt: str
    negative_prompt: str
    stack: _containers.RepeatedCompositeFieldContainer[StackEntry]
    base_model: str
    steps: int
    guidance_scale: float
    sampler: Sampler
    sigma_schedule: SigmaSchedule
    seed: int
    width: int
    height: int
    count: int
    clip_skip: int
    def __init__(self, parent: _Optional[str] = ..., prompt: _Optional[str] = ..., negative_prompt: _Optional[str] = ..., stack: _Optional[_Iterable[_Union[StackEntry, _Mapping]]] = ..., base_model: _Optional[str] = ..., steps: _Optional[int] = ..., guidance_scale: _Optional[float] = ..., sampler: _Optional[_Union[Sampler, str]] = ..., sigma_schedule: _Optional[_Union[SigmaSchedule, str]] = ..., seed: _Optional[int] = ..., width: _Optional[int] = ..., height: _Optional[int] = ..., count: _Optional[int] = ..., clip_skip: _Optional[int] = ...) -> None: ...

class UsedLora(_message.Message):
    __slots__ = ("reference", "version", "sha256", "text_encoder_weight", "weight")
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    TEXT_ENCODER_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    reference: str
    version: str
    sha256: str
    text_encoder_weight: float
    weight: float
    def __init__(self, reference: _Optional[str] = ..., version: _Optional[str] = ..., sha256: _Optional[str] = ..., text_encoder_weight: _Optional[float] = ..., weight: _Optional[float] = ...) -> None: ...

class Queued(_message.Message):
    __slots__ = ("position", "stack", "seed", "base_model_sha256")
    POSITION_FIELD_NUMBER: _ClassVar[int]
    STACK_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    BASE_MODEL_SHA256_FIELD_NUMBER: _ClassVar[int]
    position: int
    stack: _containers.RepeatedCompositeFieldContainer[UsedLora]
    seed: int
    base_model_sha256: str
    def __init__(self, position: _Optional[int] = ..., stack: _Optional[_Iterable[_Union[UsedLora, _Mapping]]] = ..., seed: _Optional[int] = ..., base_model_sha256: _Optional[str] = ...) -> None: ...

class GenerationProgress(_message.Message):
    __slots__ = ("step", "total_steps", "time_left")
    STEP_FIELD_NUMBER: _ClassVar[int]
    TOTAL_STEPS_FIELD_NUMBER: _ClassVar[int]
    TIME_LEFT_FIELD_NUMBER: _ClassVar[int]
    step: int
    total_steps: int
    time_left: _duration_pb2.Duration
    def __init__(self, step: _Optional[int] = ..., total_steps: _Optional[int] = ..., time_left: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class GeneratedImage(_message.Message):
    __slots__ = ("index", "png", "width", "height", "seed", "sha256")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    PNG_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    index: int
    png: bytes
    width: int
    height: int
    seed: int
    sha256: str
    def __init__(self, index: _Optional[int] = ..., png: _Optional[bytes] = ..., width: _Optional[int] = ..., height: _Optional[int] = ..., seed: _Optional[int] = ..., sha256: _Optional[str] = ...) -> None: ...

class GenerateImagesResponse(_message.Message):
    __slots__ = ("queued", "progress", "image")
    QUEUED_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    queued: Queued
    progress: GenerationProgress
    image: GeneratedImage
    def __init__(self, queued: _Optional[_Union[Queued, _Mapping]] = ..., progress: _Optional[_Union[GenerationProgress, _Mapping]] = ..., image: _Optional[_Union[GeneratedImage, _Mapping]] = ...) -> None: ...

class GenerateTextRequest(_message.Message):
    __slots__ = ("parent", "base_model", "prompt", "stack", "max_tokens", "temperature", "top_p", "top_k", "stop", "seed", "json_schema")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    BASE_MODEL_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    STACK_FIELD_NUMBER: _ClassVar[int]
    MAX_TOKENS_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    TOP_P_FIELD_NUMBER: _ClassVar[int]
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    STOP_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    JSON_SCHEMA_FIELD_NUMBER: _ClassVar[int]
    parent: str
    base_model: str
    prompt: str
    stack: _containers.RepeatedCompositeFieldContainer[StackEntry]
    max_tokens: int
    temperature: float
    top_p: float
    top_k: int
    stop: _containers.RepeatedScalarFieldContainer[str]
    seed: int
    json_schema: str
    def __init__(self, parent: _Optional[str] = ..., base_model: _Optional[str] = ..., prompt: _Optional[str] = ..., stack: _Optional[_Iterable[_Union[StackEntry, _Mapping]]] = ..., max_tokens: _Optional[int] = ..., temperature: _Optional[float] = ..., top_p: _Optional[float] = ..., top_k: _Optional[int] = ..., stop: _Optional[_Iterable[str]] = ..., seed: _Optional[int] = ..., json_schema: _Optional[str] = ...) -> None: ...

class GenerateTextResponse(_message.Message):
    __slots__ = ("queued", "text", "finished")
    QUEUED_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    FINISHED_FIELD_NUMBER: _ClassVar[int]
    queued: Queued
    text: str
    finished: TextFinished
    def __init__(self, queued: _Optional[_Union[Queued, _Mapping]] = ..., text: _Optional[str] = ..., finished: _Optional[_Union[TextFinished, _Mapping]] = ...) -> None: ...

class TextFinished(_message.Message):
    __slots__ = ("reason", "prompt_tokens", "generated_tokens")
    class Reason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        REASON_UNSPECIFIED: _ClassVar[TextFinished.Reason]
        REASON_STOP: _ClassVar[TextFinished.Reason]
        REASON_LENGTH: _ClassVar[TextFinished.Reason]
    REASON_UNSPECIFIED: TextFinished.Reason
    REASON_STOP: TextFinished.Reason
    REASON_LENGTH: TextFinished.Reason
    REASON_FIELD_NUMBER: _ClassVar[int]
    PROMPT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    GENERATED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    reason: TextFinished.Reason
    prompt_tokens: int
    generated_tokens: int
    def __init__(self, reason: _Optional[_Union[TextFinished.Reason, str]] = ..., prompt_tokens: _Optional[int] = ..., generated_tokens: _Optional[int] = ...) -> None: ...

class GenerateSweepRequest(_message.Message):
    __slots__ = ("template", "prompts", "seeds", "weights")
    TEMPLATE_FIELD_NUMBER: _ClassVar[int]
    PROMPTS_FIELD_NUMBER: _ClassVar[int]
    SEEDS_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    template: GenerateImagesRequest
    prompts: _containers.RepeatedScalarFieldContainer[str]
    seeds: _containers.RepeatedScalarFieldContainer[int]
    weights: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, template: _Optional[_Union[GenerateImagesRequest, _Mapping]] = ..., prompts: _Optional[_Iterable[str]] = ..., seeds: _Optional[_Iterable[int]] = ..., weights: _Optional[_Iterable[float]] = ...) -> None: ...

class SweepCell(_message.Message):
    __slots__ = ("prompt_index", "seed_index", "weight_index", "image")
    PROMPT_INDEX_FIELD_NUMBER: _ClassVar[int]
    SEED_INDEX_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_INDEX_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    prompt_index: int
    seed_index: int
    weight_index: int
    image: GeneratedImage
    def __init__(self, prompt_index: _Optional[int] = ..., seed_index: _Optional[int] = ..., weight_index: _Optional[int] = ..., image: _Optional[_Union[GeneratedImage, _Mapping]] = ...) -> None: ...

class GenerateSweepResponse(_message.Message):
    __slots__ = ("queued", "progress", "cell", "sheet_png")
    QUEUED_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    CELL_FIELD_NUMBER: _ClassVar[int]
    SHEET_PNG_FIELD_NUMBER: _ClassVar[int]
    queued: Queued
    progress: GenerationProgress
    cell: SweepCell
    sheet_png: bytes
    def __init__(self, queued: _Optional[_Union[Queued, _Mapping]] = ..., progress: _Optional[_Union[GenerationProgress, _Mapping]] = ..., cell: _Optional[_Union[SweepCell, _Mapping]] = ..., sheet_png: _Optional[bytes] = ...) -> None: ...

class ExportStackRequest(_message.Message):
    __slots__ = ("parent", "stack", "base_model")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    STACK_FIELD_NUMBER: _ClassVar[int]
    BASE_MODEL_FIELD_NUMBER: _ClassVar[int]
    parent: str
    stack: _containers.RepeatedCompositeFieldContainer[StackEntry]
    base_model: str
    def __init__(self, parent: _Optional[str] = ..., stack: _Optional[_Iterable[_Union[StackEntry, _Mapping]]] = ..., base_model: _Optional[str] = ...) -> None: ...

class GetCapacityRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class LoadedBase(_message.Message):
    __slots__ = ("sha256", "family", "source", "default")
    SHA256_FIELD_NUMBER: _ClassVar[int]
    FAMILY_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_FIELD_NUMBER: _ClassVar[int]
    sha256: str
    family: _family_pb2.ModelFamily
    source: str
    default: bool
    def __init__(self, sha256: _Optional[str] = ..., family: _Optional[_Union[_family_pb2.ModelFamily, str]] = ..., source: _Optional[str] = ..., default: _Optional[bool] = ...) -> None: ...

class CacheUsage(_message.Message):
    __slots__ = ("level", "used_bytes", "budget_bytes", "hits", "misses")
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    USED_BYTES_FIELD_NUMBER: _ClassVar[int]
    BUDGET_BYTES_FIELD_NUMBER: _ClassVar[int]
    HITS_FIELD_NUMBER: _ClassVar[int]
    MISSES_FIELD_NUMBER: _ClassVar[int]
    level: str
    used_bytes: int
    budget_bytes: int
    hits: int
    misses: int
    def __init__(self, level: _Optional[str] = ..., used_bytes: _Optional[int] = ..., budget_bytes: _Optional[int] = ..., hits: _Optional[int] = ..., misses: _Optional[int] = ...) -> None: ...

class GetCapacityResponse(_message.Message):
    __slots__ = ("engine_ready", "active_rows", "max_rows", "queued_requests", "max_queued_requests", "bases", "caches", "samplers", "max_width", "max_height")
    ENGINE_READY_FIELD_NUMBER: _ClassVar[int]
    ACTIVE_ROWS_FIELD_NUMBER: _ClassVar[int]
    MAX_ROWS_FIELD_NUMBER: _ClassVar[int]
    QUEUED_REQUESTS_FIELD_NUMBER: _ClassVar[int]
    MAX_QUEUED_REQUESTS_FIELD_NUMBER: _ClassVar[int]
    BASES_FIELD_NUMBER: _ClassVar[int]
    CACHES_FIELD_NUMBER: _ClassVar[int]
    SAMPLERS_FIELD_NUMBER: _ClassVar[int]
    MAX_WIDTH_FIELD_NUMBER: _ClassVar[int]
    MAX_HEIGHT_FIELD_NUMBER: _ClassVar[int]
    engine_ready: bool
    active_rows: int
    max_rows: int
    queued_requests: int
    max_queued_requests: int
    bases: _containers.RepeatedCompositeFieldContainer[LoadedBase]
    caches: _containers.RepeatedCompositeFieldContainer[CacheUsage]
    samplers: _containers.RepeatedScalarFieldContainer[Sampler]
    max_width: int
    max_height: int
    def __init__(self, engine_ready: _Optional[bool] = ..., active_rows: _Optional[int] = ..., max_rows: _Optional[int] = ..., queued_requests: _Optional[int] = ..., max_queued_requests: _Optional[int] = ..., bases: _Optional[_Iterable[_Union[LoadedBase, _Mapping]]] = ..., caches: _Optional[_Iterable[_Union[CacheUsage, _Mapping]]] = ..., samplers: _Optional[_Iterable[_Union[Sampler, str]]] = ..., max_width: _Optional[int] = ..., max_height: _Optional[int] = ...) -> None: ...

class PinStackRequest(_message.Message):
    __slots__ = ("parent", "stack", "base_model", "time_to_live")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    STACK_FIELD_NUMBER: _ClassVar[int]
    BASE_MODEL_FIELD_NUMBER: _ClassVar[int]
    TIME_TO_LIVE_FIELD_NUMBER: _ClassVar[int]
    parent: str
    stack: _containers.RepeatedCompositeFieldContainer[StackEntry]
    base_model: str
    time_to_live: _duration_pb2.Duration
    def __init__(self, parent: _Optional[str] = ..., stack: _Optional[_Iterable[_Union[StackEntry, _Mapping]]] = ..., base_model: _Optional[str] = ..., time_to_live: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class PinStackResponse(_message.Message):
    __slots__ = ("stack",)
    STACK_FIELD_NUMBER: _ClassVar[int]
    stack: _containers.RepeatedCompositeFieldContainer[UsedLora]
    def __init__(self, stack: _Optional[_Iterable[_Union[UsedLora, _Mapping]]] = ...) -> None: ...

import datetime

from brandloom.api.common.v1 import artifact_pb2 as _artifact_pb2
from brandloom.api.common.v1 import family_pb2 as _family_pb2
from buf.validate import validate_pb2 as _validate_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Composition(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    COMPOSITION_UNSPECIFIED: _ClassVar[Composition]
    COMPOSITION_ADD: _ClassVar[Composition]
    COMPOSITION_SWITCH: _ClassVar[Composition]
    COMPOSITION_COMPOSITE: _ClassVar[Composition]

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
COMPOSITION_UNSPECIFIED: Composition
COMPOSITION_ADD: Composition
COMPOSITION_SWITCH: Composition
COMPOSITION_COMPOSITE: Composition
SAMPLER_UNSPECIFIED: Sampler
SAMPLER_EULER: Sampler
SAMPLER_EULER_ANCESTRAL: Sampler
SAMPLER_DDIM: Sampler
SAMPLER_DPMPP_2M: Sampler
SIGMA_SCHEDULE_UNSPECIFIED: SigmaSchedule
SIGMA_SCHEDULE_KARRAS: SigmaSchedule

class StackEntry(_message.Message):
    __slots__ = ("reference", "weight", "text_encoder_weight", "window", "region")
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    TEXT_ENCODER_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    REGION_FIELD_NUMBER: _ClassVar[int]
    reference: str
    weight: float
    text_encoder_weight: float
    window: StepWindow
    region: Region
    def __init__(self, reference: _Optional[str] = ..., weight: _Optional[float] = ..., text_encoder_weight: _Optional[float] = ..., window: _Optional[_Union[StepWindow, _Mapping]] = ..., region: _Optional[_Union[Region, _Mapping]] = ...) -> None: ...

class StepWindow(_message.Message):
    __slots__ = ("start", "end")
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    start: float
    end: float
    def __init__(self, start: _Optional[float] = ..., end: _Optional[float] = ...) -> None: ...

class Region(_message.Message):
    __slots__ = ("box", "mask_png")
    BOX_FIELD_NUMBER: _ClassVar[int]
    MASK_PNG_FIELD_NUMBER: _ClassVar[int]
    box: Box
    mask_png: bytes
    def __init__(self, box: _Optional[_Union[Box, _Mapping]] = ..., mask_png: _Optional[bytes] = ...) -> None: ...

class Box(_message.Message):
    __slots__ = ("left", "top", "right", "bottom")
    LEFT_FIELD_NUMBER: _ClassVar[int]
    TOP_FIELD_NUMBER: _ClassVar[int]
    RIGHT_FIELD_NUMBER: _ClassVar[int]
    BOTTOM_FIELD_NUMBER: _ClassVar[int]
    left: float
    top: float
    right: float
    bottom: float
    def __init__(self, left: _Optional[float] = ..., top: _Optional[float] = ..., right: _Optional[float] = ..., bottom: _Optional[float] = ...) -> None: ...

class InitialImage(_message.Message):
    __slots__ = ("image", "strength", "mask_png")
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    STRENGTH_FIELD_NUMBER: _ClassVar[int]
    MASK_PNG_FIELD_NUMBER: _ClassVar[int]
    image: bytes
    strength: float
    mask_png: bytes
    def __init__(self, image: _Optional[bytes] = ..., strength: _Optional[float] = ..., mask_png: _Optional[bytes] = ...) -> None: ...

class GenerateImagesRequest(_message.Message):
    __slots__ = ("parent", "prompt", "negative_prompt", "stack", "base_model", "steps", "guidance_scale", "sampler", "sigma_schedule", "seed", "width", "height", "count", "clip_skip", "composition", "switch_every", "initial_image", "preview_every", "priority")
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
    COMPOSITION_FIELD_NUMBER: _ClassVar[int]
    SWITCH_EVERY_FIELD_NUMBER: _ClassVar[int]
    INITIAL_IMAGE_FIELD_NUMBER: _ClassVar[int]
    PREVIEW_EVERY_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
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
    composition: Composition
    switch_every: int
    initial_image: InitialImage
    preview_every: int
    priority: int
    def __init__(self, parent: _Optional[str] = ..., prompt: _Optional[str] = ..., negative_prompt: _Optional[str] = ..., stack: _Optional[_Iterable[_Union[StackEntry, _Mapping]]] = ..., base_model: _Optional[str] = ..., steps: _Optional[int] = ..., guidance_scale: _Optional[float] = ..., sampler: _Optional[_Union[Sampler, str]] = ..., sigma_schedule: _Optional[_Union[SigmaSchedule, str]] = ..., seed: _Optional[int] = ..., width: _Optional[int] = ..., height: _Optional[int] = ..., count: _Optional[int] = ..., clip_skip: _Optional[int] = ..., composition: _Optional[_Union[Composition, str]] = ..., switch_every: _Optional[int] = ..., initial_image: _Optional[_Union[InitialImage, _Mapping]] = ..., preview_every: _Optional[int] = ..., priority: _Optional[int] = ...) -> None: ...

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
    __slots__ = ("index", "png", "width", "height", "seed", "sha256", "withheld")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    PNG_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    WITHHELD_FIELD_NUMBER: _ClassVar[int]
    index: int
    png: bytes
    width: int
    height: int
    seed: int
    sha256: str
    withheld: bool
    def __init__(self, index: _Optional[int] = ..., png: _Optional[bytes] = ..., width: _Optional[int] = ..., height: _Optional[int] = ..., seed: _Optional[int] = ..., sha256: _Optional[str] = ..., withheld: _Optional[bool] = ...) -> None: ...

class Preview(_message.Message):
    __slots__ = ("index", "step", "png", "width", "height")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    PNG_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    index: int
    step: int
    png: bytes
    width: int
    height: int
    def __init__(self, index: _Optional[int] = ..., step: _Optional[int] = ..., png: _Optional[bytes] = ..., width: _Optional[int] = ..., height: _Optional[int] = ...) -> None: ...

class GenerateImagesResponse(_message.Message):
    __slots__ = ("queued", "progress", "image", "preview")
    QUEUED_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    PREVIEW_FIELD_NUMBER: _ClassVar[int]
    queued: Queued
    progress: GenerationProgress
    image: GeneratedImage
    preview: Preview
    def __init__(self, queued: _Optional[_Union[Queued, _Mapping]] = ..., progress: _Optional[_Union[GenerationProgress, _Mapping]] = ..., image: _Optional[_Union[GeneratedImage, _Mapping]] = ..., preview: _Optional[_Union[Preview, _Mapping]] = ...) -> None: ...

class GenerateTextRequest(_message.Message):
    __slots__ = ("parent", "base_model", "prompt", "stack", "max_tokens", "temperature", "top_p", "top_k", "stop", "seed", "json_schema", "messages", "min_p", "repetition_penalty", "priority")
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
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    MIN_P_FIELD_NUMBER: _ClassVar[int]
    REPETITION_PENALTY_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
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
    messages: _containers.RepeatedCompositeFieldContainer[ChatMessage]
    min_p: float
    repetition_penalty: float
    priority: int
    def __init__(self, parent: _Optional[str] = ..., base_model: _Optional[str] = ..., prompt: _Optional[str] = ..., stack: _Optional[_Iterable[_Union[StackEntry, _Mapping]]] = ..., max_tokens: _Optional[int] = ..., temperature: _Optional[float] = ..., top_p: _Optional[float] = ..., top_k: _Optional[int] = ..., stop: _Optional[_Iterable[str]] = ..., seed: _Optional[int] = ..., json_schema: _Optional[str] = ..., messages: _Optional[_Iterable[_Union[ChatMessage, _Mapping]]] = ..., min_p: _Optional[float] = ..., repetition_penalty: _Optional[float] = ..., priority: _Optional[int] = ...) -> None: ...

class ChatMessage(_message.Message):
    __slots__ = ("role", "content")
    ROLE_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    role: str
    content: str
    def __init__(self, role: _Optional[str] = ..., content: _Optional[str] = ...) -> None: ...

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
    __slots__ = ("parent", "stack", "base_model", "precision")
    class Precision(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        PRECISION_UNSPECIFIED: _ClassVar[ExportStackRequest.Precision]
        PRECISION_FLOAT16: _ClassVar[ExportStackRequest.Precision]
        PRECISION_BFLOAT16: _ClassVar[ExportStackRequest.Precision]
        PRECISION_FLOAT32: _ClassVar[ExportStackRequest.Precision]
    PRECISION_UNSPECIFIED: ExportStackRequest.Precision
    PRECISION_FLOAT16: ExportStackRequest.Precision
    PRECISION_BFLOAT16: ExportStackRequest.Precision
    PRECISION_FLOAT32: ExportStackRequest.Precision
    PARENT_FIELD_NUMBER: _ClassVar[int]
    STACK_FIELD_NUMBER: _ClassVar[int]
    BASE_MODEL_FIELD_NUMBER: _ClassVar[int]
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    parent: str
    stack: _containers.RepeatedCompositeFieldContainer[StackEntry]
    base_model: str
    precision: ExportStackRequest.Precision
    def __init__(self, parent: _Optional[str] = ..., stack: _Optional[_Iterable[_Union[StackEntry, _Mapping]]] = ..., base_model: _Optional[str] = ..., precision: _Optional[_Union[ExportStackRequest.Precision, str]] = ...) -> None: ...

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
    __slots__ = ("engine_ready", "active_rows", "max_rows", "queued_requests", "max_queued_requests", "bases", "caches", "samplers", "max_width", "max_height", "pins", "active_text_rows", "max_text_rows", "draining")
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
    PINS_FIELD_NUMBER: _ClassVar[int]
    ACTIVE_TEXT_ROWS_FIELD_NUMBER: _ClassVar[int]
    MAX_TEXT_ROWS_FIELD_NUMBER: _ClassVar[int]
    DRAINING_FIELD_NUMBER: _ClassVar[int]
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
    pins: _containers.RepeatedCompositeFieldContainer[PinnedStack]
    active_text_rows: int
    max_text_rows: int
    draining: bool
    def __init__(self, engine_ready: _Optional[bool] = ..., active_rows: _Optional[int] = ..., max_rows: _Optional[int] = ..., queued_requests: _Optional[int] = ..., max_queued_requests: _Optional[int] = ..., bases: _Optional[_Iterable[_Union[LoadedBase, _Mapping]]] = ..., caches: _Optional[_Iterable[_Union[CacheUsage, _Mapping]]] = ..., samplers: _Optional[_Iterable[_Union[Sampler, str]]] = ..., max_width: _Optional[int] = ..., max_height: _Optional[int] = ..., pins: _Optional[_Iterable[_Union[PinnedStack, _Mapping]]] = ..., active_text_rows: _Optional[int] = ..., max_text_rows: _Optional[int] = ..., draining: _Optional[bool] = ...) -> None: ...

class PinnedStack(_message.Message):
    __slots__ = ("parent", "stack", "base_model_sha256", "expire_time")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    STACK_FIELD_NUMBER: _ClassVar[int]
    BASE_MODEL_SHA256_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    parent: str
    stack: _containers.RepeatedCompositeFieldContainer[UsedLora]
    base_model_sha256: str
    expire_time: _timestamp_pb2.Timestamp
    def __init__(self, parent: _Optional[str] = ..., stack: _Optional[_Iterable[_Union[UsedLora, _Mapping]]] = ..., base_model_sha256: _Optional[str] = ..., expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

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
    __slots__ = ("stack", "expire_time")
    STACK_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    stack: _containers.RepeatedCompositeFieldContainer[UsedLora]
    expire_time: _timestamp_pb2.Timestamp
    def __init__(self, stack: _Optional[_Iterable[_Union[UsedLora, _Mapping]]] = ..., expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

import datetime

from brandloom.api.common.v1 import artifact_pb2 as _artifact_pb2
from brandloom.api.common.v1 import family_pb2 as _family_pb2
from buf.validate import validate_pb2 as _validate_pb2
from google.api import field_behavior_pb2 as _field_behavior_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class LoraFormat(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LORA_FORMAT_UNSPECIFIED: _ClassVar[LoraFormat]
    LORA_FORMAT_KOHYA: _ClassVar[LoraFormat]
    LORA_FORMAT_DIFFUSERS: _ClassVar[LoraFormat]
    LORA_FORMAT_PEFT: _ClassVar[LoraFormat]
LORA_FORMAT_UNSPECIFIED: LoraFormat
LORA_FORMAT_KOHYA: LoraFormat
LORA_FORMAT_DIFFUSERS: LoraFormat
LORA_FORMAT_PEFT: LoraFormat

class Brand(_message.Message):
    __slots__ = ("name", "display_name", "description", "labels", "create_time", "update_time", "etag")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    name: str
    display_name: str
    description: str
    labels: _containers.ScalarMap[str, str]
    create_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    etag: str
    def __init__(self, name: _Optional[str] = ..., display_name: _Optional[str] = ..., description: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., etag: _Optional[str] = ...) -> None: ...

class BaseModel(_message.Message):
    __slots__ = ("name", "display_name", "family", "source", "sha256", "resolution", "license", "description", "create_time", "update_time", "etag")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    FAMILY_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    RESOLUTION_FIELD_NUMBER: _ClassVar[int]
    LICENSE_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    name: str
    display_name: str
    family: _family_pb2.ModelFamily
    source: str
    sha256: str
    resolution: int
    license: str
    description: str
    create_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    etag: str
    def __init__(self, name: _Optional[str] = ..., display_name: _Optional[str] = ..., family: _Optional[_Union[_family_pb2.ModelFamily, str]] = ..., source: _Optional[str] = ..., sha256: _Optional[str] = ..., resolution: _Optional[int] = ..., license: _Optional[str] = ..., description: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., etag: _Optional[str] = ...) -> None: ...

class Lora(_message.Message):
    __slots__ = ("name", "display_name", "description", "tags", "family", "latest_version", "aliases", "create_time", "update_time", "etag", "trigger_words")
    class AliasesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    FAMILY_FIELD_NUMBER: _ClassVar[int]
    LATEST_VERSION_FIELD_NUMBER: _ClassVar[int]
    ALIASES_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    TRIGGER_WORDS_FIELD_NUMBER: _ClassVar[int]
    name: str
    display_name: str
    description: str
    tags: _containers.RepeatedScalarFieldContainer[str]
    family: _family_pb2.ModelFamily
    latest_version: int
    aliases: _containers.ScalarMap[str, int]
    create_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    etag: str
    trigger_words: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., display_name: _Optional[str] = ..., description: _Optional[str] = ..., tags: _Optional[_Iterable[str]] = ..., family: _Optional[_Union[_family_pb2.ModelFamily, str]] = ..., latest_version: _Optional[int] = ..., aliases: _Optional[_Mapping[str, int]] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., etag: _Optional[str] = ..., trigger_words: _Optional[_Iterable[str]] = ...) -> None: ...

class ModuleRank(_message.Message):
    __slots__ = ("module", "rank", "alpha")
    MODULE_FIELD_NUMBER: _ClassVar[int]
    RANK_FIELD_NUMBER: _ClassVar[int]
    ALPHA_FIELD_NUMBER: _ClassVar[int]
    module: str
    rank: int
    alpha: float
    def __init__(self, module: _Optional[str] = ..., rank: _Optional[int] = ..., alpha: _Optional[float] = ...) -> None: ...

class TrainingAdvice(_message.Message):
    __slots__ = ("code", "field", "message")
    CODE_FIELD_NUMBER: _ClassVar[int]
    FIELD_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    code: str
    field: str
    message: str
    def __init__(self, code: _Optional[str] = ..., field: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...

class LoraOrigin(_message.Message):
    __slots__ = ("training_job", "dataset_revision", "dataset_sha256", "parent_version", "training_spec_json", "environment", "advice", "preview_sheet", "loss_plot", "parent_sha256", "prior_dataset_sha256", "start_time", "end_time", "training_seconds", "images_per_second")
    class EnvironmentEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    TRAINING_JOB_FIELD_NUMBER: _ClassVar[int]
    DATASET_REVISION_FIELD_NUMBER: _ClassVar[int]
    DATASET_SHA256_FIELD_NUMBER: _ClassVar[int]
    PARENT_VERSION_FIELD_NUMBER: _ClassVar[int]
    TRAINING_SPEC_JSON_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    ADVICE_FIELD_NUMBER: _ClassVar[int]
    PREVIEW_SHEET_FIELD_NUMBER: _ClassVar[int]
    LOSS_PLOT_FIELD_NUMBER: _ClassVar[int]
    PARENT_SHA256_FIELD_NUMBER: _ClassVar[int]
    PRIOR_DATASET_SHA256_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    TRAINING_SECONDS_FIELD_NUMBER: _ClassVar[int]
    IMAGES_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    training_job: str
    dataset_revision: str
    dataset_sha256: str
    parent_version: str
    training_spec_json: str
    environment: _containers.ScalarMap[str, str]
    advice: _containers.RepeatedCompositeFieldContainer[TrainingAdvice]
    preview_sheet: _artifact_pb2.Artifact
    loss_plot: _artifact_pb2.Artifact
    parent_sha256: str
    prior_dataset_sha256: str
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    training_seconds: float
    images_per_second: float
    def __init__(self, training_job: _Optional[str] = ..., dataset_revision: _Optional[str] = ..., dataset_sha256: _Optional[str] = ..., parent_version: _Optional[str] = ..., training_spec_json: _Optional[str] = ..., environment: _Optional[_Mapping[str, str]] = ..., advice: _Optional[_Iterable[_Union[TrainingAdvice, _Mapping]]] = ..., preview_sheet: _Optional[_Union[_artifact_pb2.Artifact, _Mapping]] = ..., loss_plot: _Optional[_Union[_artifact_pb2.Artifact, _Mapping]] = ..., parent_sha256: _Optional[str] = ..., prior_dataset_sha256: _Optional[str] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., training_seconds: _Optional[float] = ..., images_per_second: _Optional[float] = ...) -> None: ...

class LoraVersion(_message.Message):
    __slots__ = ("name", "version", "artifact", "format", "family", "base_model", "base_model_sha256", "rank", "modules", "trigger_words", "origin", "tags", "description", "license", "evaluation", "previews", "file_metadata", "aliases", "creator", "create_time", "etag", "components")
    class EvaluationEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    class FileMetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ARTIFACT_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    FAMILY_FIELD_NUMBER: _ClassVar[int]
    BASE_MODEL_FIELD_NUMBER: _ClassVar[int]
    BASE_MODEL_SHA256_FIELD_NUMBER: _ClassVar[int]
    RANK_FIELD_NUMBER: _ClassVar[int]
    MODULES_FIELD_NUMBER: _ClassVar[int]
    TRIGGER_WORDS_FIELD_NUMBER: _ClassVar[int]
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    LICENSE_FIELD_NUMBER: _ClassVar[int]
    EVALUATION_FIELD_NUMBER: _ClassVar[int]
    PREVIEWS_FIELD_NUMBER: _ClassVar[int]
    FILE_METADATA_FIELD_NUMBER: _ClassVar[int]
    ALIASES_FIELD_NUMBER: _ClassVar[int]
    CREATOR_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    COMPONENTS_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: int
    artifact: _artifact_pb2.Artifact
    format: LoraFormat
    family: _family_pb2.ModelFamily
    base_model: str
    base_model_sha256: str
    rank: int
    modules: _containers.RepeatedCompositeFieldContainer[ModuleRank]
    trigger_words: _containers.RepeatedScalarFieldContainer[str]
    origin: LoraOrigin
    tags: _containers.RepeatedScalarFieldContainer[str]
    description: str
    license: str
    evaluation: _containers.ScalarMap[str, float]
    previews: _containers.RepeatedCompositeFieldContainer[_artifact_pb2.Artifact]
    file_metadata: _containers.ScalarMap[str, str]
    aliases: _containers.RepeatedScalarFieldContainer[str]
    creator: str
    create_time: _timestamp_pb2.Timestamp
    etag: str
    components: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., version: _Optional[int] = ..., artifact: _Optional[_Union[_artifact_pb2.Artifact, _Mapping]] = ..., format: _Optional[_Union[LoraFormat, str]] = ..., family: _Optional[_Union[_family_pb2.ModelFamily, str]] = ..., base_model: _Optional[str] = ..., base_model_sha256: _Optional[str] = ..., rank: _Optional[int] = ..., modules: _Optional[_Iterable[_Union[ModuleRank, _Mapping]]] = ..., trigger_words: _Optional[_Iterable[str]] = ..., origin: _Optional[_Union[LoraOrigin, _Mapping]] = ..., tags: _Optional[_Iterable[str]] = ..., description: _Optional[str] = ..., license: _Optional[str] = ..., evaluation: _Optional[_Mapping[str, float]] = ..., previews: _Optional[_Iterable[_Union[_artifact_pb2.Artifact, _Mapping]]] = ..., file_metadata: _Optional[_Mapping[str, str]] = ..., aliases: _Optional[_Iterable[str]] = ..., creator: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., etag: _Optional[str] = ..., components: _Optional[_Iterable[str]] = ...) -> None: ...

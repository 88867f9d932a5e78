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

class ImageFlag(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    IMAGE_FLAG_UNSPECIFIED: _ClassVar[ImageFlag]
    IMAGE_FLAG_TOO_SMALL: _ClassVar[ImageFlag]
    IMAGE_FLAG_EXACT_DUPLICATE: _ClassVar[ImageFlag]
    IMAGE_FLAG_NEAR_DUPLICATE: _ClassVar[ImageFlag]
    IMAGE_FLAG_UNREADABLE: _ClassVar[ImageFlag]

class CaptionSource(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CAPTION_SOURCE_UNSPECIFIED: _ClassVar[CaptionSource]
    CAPTION_SOURCE_CAPTIONER: _ClassVar[CaptionSource]
    CAPTION_SOURCE_REVIEWER: _ClassVar[CaptionSource]
    CAPTION_SOURCE_IMPORTED: _ClassVar[CaptionSource]
IMAGE_FLAG_UNSPECIFIED: ImageFlag
IMAGE_FLAG_TOO_SMALL: ImageFlag
IMAGE_FLAG_EXACT_DUPLICATE: ImageFlag
IMAGE_FLAG_NEAR_DUPLICATE: ImageFlag
IMAGE_FLAG_UNREADABLE: ImageFlag
CAPTION_SOURCE_UNSPECIFIED: CaptionSource
CAPTION_SOURCE_CAPTIONER: CaptionSource
CAPTION_SOURCE_REVIEWER: CaptionSource
CAPTION_SOURCE_IMPORTED: CaptionSource

class Dataset(_message.Message):
    __slots__ = ("name", "display_name", "description", "image_count", "captioned_count", "flagged_count", "latest_revision", "create_time", "update_time", "etag", "text_count")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    IMAGE_COUNT_FIELD_NUMBER: _ClassVar[int]
    CAPTIONED_COUNT_FIELD_NUMBER: _ClassVar[int]
    FLAGGED_COUNT_FIELD_NUMBER: _ClassVar[int]
    LATEST_REVISION_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    TEXT_COUNT_FIELD_NUMBER: _ClassVar[int]
    name: str
    display_name: str
    description: str
    image_count: int
    captioned_count: int
    flagged_count: int
    latest_revision: int
    create_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    etag: str
    text_count: int
    def __init__(self, name: _Optional[str] = ..., display_name: _Optional[str] = ..., description: _Optional[str] = ..., image_count: _Optional[int] = ..., captioned_count: _Optional[int] = ..., flagged_count: _Optional[int] = ..., latest_revision: _Optional[int] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., etag: _Optional[str] = ..., text_count: _Optional[int] = ...) -> None: ...

class Image(_message.Message):
    __slots__ = ("name", "source_name", "artifact", "width", "height", "source_format", "caption", "caption_source", "tags", "flags", "duplicate_of", "split", "excluded", "create_time", "update_time", "etag", "failure")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SOURCE_NAME_FIELD_NUMBER: _ClassVar[int]
    ARTIFACT_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FORMAT_FIELD_NUMBER: _ClassVar[int]
    CAPTION_FIELD_NUMBER: _ClassVar[int]
    CAPTION_SOURCE_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    FLAGS_FIELD_NUMBER: _ClassVar[int]
    DUPLICATE_OF_FIELD_NUMBER: _ClassVar[int]
    SPLIT_FIELD_NUMBER: _ClassVar[int]
    EXCLUDED_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    name: str
    source_name: str
    artifact: _artifact_pb2.Artifact
    width: int
    height: int
    source_format: str
    caption: str
    caption_source: CaptionSource
    tags: _containers.RepeatedScalarFieldContainer[str]
    flags: _containers.RepeatedScalarFieldContainer[ImageFlag]
    duplicate_of: str
    split: str
    excluded: bool
    create_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    etag: str
    failure: _job_pb2.Failure
    def __init__(self, name: _Optional[str] = ..., source_name: _Optional[str] = ..., artifact: _Optional[_Union[_artifact_pb2.Artifact, _Mapping]] = ..., width: _Optional[int] = ..., height: _Optional[int] = ..., source_format: _Optional[str] = ..., caption: _Optional[str] = ..., caption_source: _Optional[_Union[CaptionSource, str]] = ..., tags: _Optional[_Iterable[str]] = ..., flags: _Optional[_Iterable[_Union[ImageFlag, str]]] = ..., duplicate_of: _Optional[str] = ..., split: _Optional[str] = ..., excluded: _Optional[bool] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., etag: _Optional[str] = ..., failure: _Optional[_Union[_job_pb2.Failure, _Mapping]] = ...) -> None: ...

class TextMessage(_message.Message):
    __slots__ = ("role", "content")
    ROLE_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    role: str
    content: str
    def __init__(self, role: _Optional[str] = ..., content: _Optional[str] = ...) -> None: ...

class Text(_message.Message):
    __slots__ = ("name", "prompt", "response", "messages", "split", "excluded", "source_name", "line_number", "sha256", "create_time", "update_time", "etag")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_FIELD_NUMBER: _ClassVar[int]
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    SPLIT_FIELD_NUMBER: _ClassVar[int]
    EXCLUDED_FIELD_NUMBER: _ClassVar[int]
    SOURCE_NAME_FIELD_NUMBER: _ClassVar[int]
    LINE_NUMBER_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    name: str
    prompt: str
    response: str
    messages: _containers.RepeatedCompositeFieldContainer[TextMessage]
    split: str
    excluded: bool
    source_name: str
    line_number: int
    sha256: str
    create_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    etag: str
    def __init__(self, name: _Optional[str] = ..., prompt: _Optional[str] = ..., response: _Optional[str] = ..., messages: _Optional[_Iterable[_Union[TextMessage, _Mapping]]] = ..., split: _Optional[str] = ..., excluded: _Optional[bool] = ..., source_name: _Optional[str] = ..., line_number: _Optional[int] = ..., sha256: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., etag: _Optional[str] = ...) -> None: ...

class DatasetRevision(_message.Message):
    __slots__ = ("name", "revision", "manifest", "image_count", "trigger_words", "note", "creator", "create_time", "text_count")
    NAME_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    MANIFEST_FIELD_NUMBER: _ClassVar[int]
    IMAGE_COUNT_FIELD_NUMBER: _ClassVar[int]
    TRIGGER_WORDS_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    CREATOR_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    TEXT_COUNT_FIELD_NUMBER: _ClassVar[int]
    name: str
    revision: int
    manifest: _artifact_pb2.Artifact
    image_count: int
    trigger_words: _containers.RepeatedScalarFieldContainer[str]
    note: str
    creator: str
    create_time: _timestamp_pb2.Timestamp
    text_count: int
    def __init__(self, name: _Optional[str] = ..., revision: _Optional[int] = ..., manifest: _Optional[_Union[_artifact_pb2.Artifact, _Mapping]] = ..., image_count: _Optional[int] = ..., trigger_words: _Optional[_Iterable[str]] = ..., note: _Optional[str] = ..., creator: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., text_count: _Optional[int] = ...) -> None: ...

class LabelJob(_message.Message):
    __slots__ = ("name", "overwrite", "trigger_word", "batch_size", "max_tokens", "state", "progress", "error", "create_time", "start_time", "end_time", "etag", "captioner")
    NAME_FIELD_NUMBER: _ClassVar[int]
    OVERWRITE_FIELD_NUMBER: _ClassVar[int]
    TRIGGER_WORD_FIELD_NUMBER: _ClassVar[int]
    BATCH_SIZE_FIELD_NUMBER: _ClassVar[int]
    MAX_TOKENS_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    CAPTIONER_FIELD_NUMBER: _ClassVar[int]
    name: str
    overwrite: bool
    trigger_word: str
    batch_size: int
    max_tokens: int
    state: _job_pb2.JobState
    progress: LabelProgress
    error: _job_pb2.Failure
    create_time: _timestamp_pb2.Timestamp
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    etag: str
    captioner: str
    def __init__(self, name: _Optional[str] = ..., overwrite: _Optional[bool] = ..., trigger_word: _Optional[str] = ..., batch_size: _Optional[int] = ..., max_tokens: _Optional[int] = ..., state: _Optional[_Union[_job_pb2.JobState, str]] = ..., progress: _Optional[_Union[LabelProgress, _Mapping]] = ..., error: _Optional[_Union[_job_pb2.Failure, _Mapping]] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., etag: _Optional[str] = ..., captioner: _Optional[str] = ...) -> None: ...

class LabelProgress(_message.Message):
    __slots__ = ("done", "total", "failed", "images_per_second", "time_left")
    DONE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    IMAGES_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    TIME_LEFT_FIELD_NUMBER: _ClassVar[int]
    done: int
    total: int
    failed: int
    images_per_second: float
    time_left: _duration_pb2.Duration
    def __init__(self, done: _Optional[int] = ..., total: _Optional[int] = ..., failed: _Optional[int] = ..., images_per_second: _Optional[float] = ..., time_left: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class LabelEvent(_message.Message):
    __slots__ = ("sequence", "time", "state", "progress", "labeled", "error")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    LABELED_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    time: _timestamp_pb2.Timestamp
    state: _job_pb2.JobState
    progress: LabelProgress
    labeled: LabeledImage
    error: _job_pb2.Failure
    def __init__(self, sequence: _Optional[int] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., state: _Optional[_Union[_job_pb2.JobState, str]] = ..., progress: _Optional[_Union[LabelProgress, _Mapping]] = ..., labeled: _Optional[_Union[LabeledImage, _Mapping]] = ..., error: _Optional[_Union[_job_pb2.Failure, _Mapping]] = ...) -> None: ...

class LabeledImage(_message.Message):
    __slots__ = ("image", "caption", "failure")
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    CAPTION_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    image: str
    caption: str
    failure: _job_pb2.Failure
    def __init__(self, image: _Optional[str] = ..., caption: _Optional[str] = ..., failure: _Optional[_Union[_job_pb2.Failure, _Mapping]] = ...) -> None: ...

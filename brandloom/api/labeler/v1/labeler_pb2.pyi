from brandloom.api.common.v1 import artifact_pb2 as _artifact_pb2
from brandloom.api.common.v1 import job_pb2 as _job_pb2
from brandloom.api.labeler.v1 import resources_pb2 as _resources_pb2
from buf.validate import validate_pb2 as _validate_pb2
from google.api import field_behavior_pb2 as _field_behavior_pb2
from google.protobuf import empty_pb2 as _empty_pb2
from google.protobuf import field_mask_pb2 as _field_mask_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CaptionFormat(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CAPTION_FORMAT_UNSPECIFIED: _ClassVar[CaptionFormat]
    CAPTION_FORMAT_CSV: _ClassVar[CaptionFormat]
    CAPTION_FORMAT_JSONL: _ClassVar[CaptionFormat]
    CAPTION_FORMAT_TXT_ZIP: _ClassVar[CaptionFormat]
CAPTION_FORMAT_UNSPECIFIED: CaptionFormat
CAPTION_FORMAT_CSV: CaptionFormat
CAPTION_FORMAT_JSONL: CaptionFormat
CAPTION_FORMAT_TXT_ZIP: CaptionFormat

class CreateDatasetRequest(_message.Message):
    __slots__ = ("parent", "dataset_id", "dataset", "request_id")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    DATASET_ID_FIELD_NUMBER: _ClassVar[int]
    DATASET_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    parent: str
    dataset_id: str
    dataset: _resources_pb2.Dataset
    request_id: str
    def __init__(self, parent: _Optional[str] = ..., dataset_id: _Optional[str] = ..., dataset: _Optional[_Union[_resources_pb2.Dataset, _Mapping]] = ..., request_id: _Optional[str] = ...) -> None: ...

class GetDatasetRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ListDatasetsRequest(_message.Message):
    __slots__ = ("parent", "page_size", "page_token", "filter", "order_by")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    ORDER_BY_FIELD_NUMBER: _ClassVar[int]
    parent: str
    page_size: int
    page_token: str
    filter: str
    order_by: str
    def __init__(self, parent: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., filter: _Optional[str] = ..., order_by: _Optional[str] = ...) -> None: ...

class ListDatasetsResponse(_message.Message):
    __slots__ = ("datasets", "next_page_token")
    DATASETS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    datasets: _containers.RepeatedCompositeFieldContainer[_resources_pb2.Dataset]
    next_page_token: str
    def __init__(self, datasets: _Optional[_Iterable[_Union[_resources_pb2.Dataset, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class UpdateDatasetRequest(_message.Message):
    __slots__ = ("dataset", "update_mask")
    DATASET_FIELD_NUMBER: _ClassVar[int]
    UPDATE_MASK_FIELD_NUMBER: _ClassVar[int]
    dataset: _resources_pb2.Dataset
    update_mask: _field_mask_pb2.FieldMask
    def __init__(self, dataset: _Optional[_Union[_resources_pb2.Dataset, _Mapping]] = ..., update_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ...) -> None: ...

class DeleteDatasetRequest(_message.Message):
    __slots__ = ("name", "etag", "force")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    name: str
    etag: str
    force: bool
    def __init__(self, name: _Optional[str] = ..., etag: _Optional[str] = ..., force: _Optional[bool] = ...) -> None: ...

class UploadImagesRequest(_message.Message):
    __slots__ = ("header", "file", "chunk")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    FILE_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    header: UploadImagesHeader
    file: UploadFile
    chunk: bytes
    def __init__(self, header: _Optional[_Union[UploadImagesHeader, _Mapping]] = ..., file: _Optional[_Union[UploadFile, _Mapping]] = ..., chunk: _Optional[bytes] = ...) -> None: ...

class UploadImagesHeader(_message.Message):
    __slots__ = ("parent", "min_side")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    MIN_SIDE_FIELD_NUMBER: _ClassVar[int]
    parent: str
    min_side: int
    def __init__(self, parent: _Optional[str] = ..., min_side: _Optional[int] = ...) -> None: ...

class UploadFile(_message.Message):
    __slots__ = ("file_name", "size_bytes", "caption")
    FILE_NAME_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    CAPTION_FIELD_NUMBER: _ClassVar[int]
    file_name: str
    size_bytes: int
    caption: str
    def __init__(self, file_name: _Optional[str] = ..., size_bytes: _Optional[int] = ..., caption: _Optional[str] = ...) -> None: ...

class UploadResult(_message.Message):
    __slots__ = ("source_name", "outcome", "image", "flags", "failure")
    class Outcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        OUTCOME_UNSPECIFIED: _ClassVar[UploadResult.Outcome]
        OUTCOME_ADDED: _ClassVar[UploadResult.Outcome]
        OUTCOME_DUPLICATE: _ClassVar[UploadResult.Outcome]
        OUTCOME_REJECTED: _ClassVar[UploadResult.Outcome]
        OUTCOME_UNCHANGED: _ClassVar[UploadResult.Outcome]
    OUTCOME_UNSPECIFIED: UploadResult.Outcome
    OUTCOME_ADDED: UploadResult.Outcome
    OUTCOME_DUPLICATE: UploadResult.Outcome
    OUTCOME_REJECTED: UploadResult.Outcome
    OUTCOME_UNCHANGED: UploadResult.Outcome
    SOURCE_NAME_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    FLAGS_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    source_name: str
    outcome: UploadResult.Outcome
    image: str
    flags: _containers.RepeatedScalarFieldContainer[_resources_pb2.ImageFlag]
    failure: _job_pb2.Failure
    def __init__(self, source_name: _Optional[str] = ..., outcome: _Optional[_Union[UploadResult.Outcome, str]] = ..., image: _Optional[str] = ..., flags: _Optional[_Iterable[_Union[_resources_pb2.ImageFlag, str]]] = ..., failure: _Optional[_Union[_job_pb2.Failure, _Mapping]] = ...) -> None: ...

class UploadImagesResponse(_message.Message):
    __slots__ = ("results", "added_count", "rejected_count")
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    ADDED_COUNT_FIELD_NUMBER: _ClassVar[int]
    REJECTED_COUNT_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[UploadResult]
    added_count: int
    rejected_count: int
    def __init__(self, results: _Optional[_Iterable[_Union[UploadResult, _Mapping]]] = ..., added_count: _Optional[int] = ..., rejected_count: _Optional[int] = ...) -> None: ...

class ListImagesRequest(_message.Message):
    __slots__ = ("parent", "page_size", "page_token", "filter", "order_by")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    ORDER_BY_FIELD_NUMBER: _ClassVar[int]
    parent: str
    page_size: int
    page_token: str
    filter: str
    order_by: str
    def __init__(self, parent: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., filter: _Optional[str] = ..., order_by: _Optional[str] = ...) -> None: ...

class ListImagesResponse(_message.Message):
    __slots__ = ("images", "next_page_token")
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    images: _containers.RepeatedCompositeFieldContainer[_resources_pb2.Image]
    next_page_token: str
    def __init__(self, images: _Optional[_Iterable[_Union[_resources_pb2.Image, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class GetImageRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class DownloadImageRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class UpdateImageRequest(_message.Message):
    __slots__ = ("image", "update_mask")
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    UPDATE_MASK_FIELD_NUMBER: _ClassVar[int]
    image: _resources_pb2.Image
    update_mask: _field_mask_pb2.FieldMask
    def __init__(self, image: _Optional[_Union[_resources_pb2.Image, _Mapping]] = ..., update_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ...) -> None: ...

class DeleteImageRequest(_message.Message):
    __slots__ = ("name", "etag")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    name: str
    etag: str
    def __init__(self, name: _Optional[str] = ..., etag: _Optional[str] = ...) -> None: ...

class UpdateCaptionRequest(_message.Message):
    __slots__ = ("name", "caption", "etag")
    NAME_FIELD_NUMBER: _ClassVar[int]
    CAPTION_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    name: str
    caption: str
    etag: str
    def __init__(self, name: _Optional[str] = ..., caption: _Optional[str] = ..., etag: _Optional[str] = ...) -> None: ...

class BatchUpdateCaptionsRequest(_message.Message):
    __slots__ = ("parent", "filter", "prefix", "suffix", "find_replace", "trigger_word")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    SUFFIX_FIELD_NUMBER: _ClassVar[int]
    FIND_REPLACE_FIELD_NUMBER: _ClassVar[int]
    TRIGGER_WORD_FIELD_NUMBER: _ClassVar[int]
    parent: str
    filter: str
    prefix: str
    suffix: str
    find_replace: FindReplace
    trigger_word: str
    def __init__(self, parent: _Optional[str] = ..., filter: _Optional[str] = ..., prefix: _Optional[str] = ..., suffix: _Optional[str] = ..., find_replace: _Optional[_Union[FindReplace, _Mapping]] = ..., trigger_word: _Optional[str] = ...) -> None: ...

class FindReplace(_message.Message):
    __slots__ = ("find", "replace", "ignore_case", "whole_words")
    FIND_FIELD_NUMBER: _ClassVar[int]
    REPLACE_FIELD_NUMBER: _ClassVar[int]
    IGNORE_CASE_FIELD_NUMBER: _ClassVar[int]
    WHOLE_WORDS_FIELD_NUMBER: _ClassVar[int]
    find: str
    replace: str
    ignore_case: bool
    whole_words: bool
    def __init__(self, find: _Optional[str] = ..., replace: _Optional[str] = ..., ignore_case: _Optional[bool] = ..., whole_words: _Optional[bool] = ...) -> None: ...

class BatchUpdateCaptionsResponse(_message.Message):
    __slots__ = ("changed_count", "matched_count")
    CHANGED_COUNT_FIELD_NUMBER: _ClassVar[int]
    MATCHED_COUNT_FIELD_NUMBER: _ClassVar[int]
    changed_count: int
    matched_count: int
    def __init__(self, changed_count: _Optional[int] = ..., matched_count: _Optional[int] = ...) -> None: ...

class UploadTextsRequest(_message.Message):
    __slots__ = ("header", "chunk")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    header: UploadTextsHeader
    chunk: bytes
    def __init__(self, header: _Optional[_Union[UploadTextsHeader, _Mapping]] = ..., chunk: _Optional[bytes] = ...) -> None: ...

class UploadTextsHeader(_message.Message):
    __slots__ = ("parent", "file_name", "split")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    FILE_NAME_FIELD_NUMBER: _ClassVar[int]
    SPLIT_FIELD_NUMBER: _ClassVar[int]
    parent: str
    file_name: str
    split: str
    def __init__(self, parent: _Optional[str] = ..., file_name: _Optional[str] = ..., split: _Optional[str] = ...) -> None: ...

class UploadTextsResponse(_message.Message):
    __slots__ = ("added_count", "unchanged_count")
    ADDED_COUNT_FIELD_NUMBER: _ClassVar[int]
    UNCHANGED_COUNT_FIELD_NUMBER: _ClassVar[int]
    added_count: int
    unchanged_count: int
    def __init__(self, added_count: _Optional[int] = ..., unchanged_count: _Optional[int] = ...) -> None: ...

class ListTextsRequest(_message.Message):
    __slots__ = ("parent", "page_size", "page_token", "filter", "order_by")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    ORDER_BY_FIELD_NUMBER: _ClassVar[int]
    parent: str
    page_size: int
    page_token: str
    filter: str
    order_by: str
    def __init__(self, parent: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., filter: _Optional[str] = ..., order_by: _Optional[str] = ...) -> None: ...

class ListTextsResponse(_message.Message):
    __slots__ = ("texts", "next_page_token")
    TEXTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    texts: _containers.RepeatedCompositeFieldContainer[_resources_pb2.Text]
    next_page_token: str
    def __init__(self, texts: _Optional[_Iterable[_Union[_resources_pb2.Text, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class GetTextRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class UpdateTextRequest(_message.Message):
    __slots__ = ("text", "update_mask")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    UPDATE_MASK_FIELD_NUMBER: _ClassVar[int]
    text: _resources_pb2.Text
    update_mask: _field_mask_pb2.FieldMask
    def __init__(self, text: _Optional[_Union[_resources_pb2.Text, _Mapping]] = ..., update_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ...) -> None: ...

class DeleteTextRequest(_message.Message):
    __slots__ = ("name", "etag")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    name: str
    etag: str
    def __init__(self, name: _Optional[str] = ..., etag: _Optional[str] = ...) -> None: ...

class CreateLabelJobRequest(_message.Message):
    __slots__ = ("parent", "label_job", "request_id")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    LABEL_JOB_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    parent: str
    label_job: _resources_pb2.LabelJob
    request_id: str
    def __init__(self, parent: _Optional[str] = ..., label_job: _Optional[_Union[_resources_pb2.LabelJob, _Mapping]] = ..., request_id: _Optional[str] = ...) -> None: ...

class GetLabelJobRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ListLabelJobsRequest(_message.Message):
    __slots__ = ("parent", "page_size", "page_token", "filter", "order_by")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    ORDER_BY_FIELD_NUMBER: _ClassVar[int]
    parent: str
    page_size: int
    page_token: str
    filter: str
    order_by: str
    def __init__(self, parent: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., filter: _Optional[str] = ..., order_by: _Optional[str] = ...) -> None: ...

class ListLabelJobsResponse(_message.Message):
    __slots__ = ("label_jobs", "next_page_token")
    LABEL_JOBS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    label_jobs: _containers.RepeatedCompositeFieldContainer[_resources_pb2.LabelJob]
    next_page_token: str
    def __init__(self, label_jobs: _Optional[_Iterable[_Union[_resources_pb2.LabelJob, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class CancelLabelJobRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class WatchLabelJobRequest(_message.Message):
    __slots__ = ("name", "after_sequence")
    NAME_FIELD_NUMBER: _ClassVar[int]
    AFTER_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    name: str
    after_sequence: int
    def __init__(self, name: _Optional[str] = ..., after_sequence: _Optional[int] = ...) -> None: ...

class SealRevisionRequest(_message.Message):
    __slots__ = ("parent", "trigger_words", "note", "request_id", "allow_empty_captions")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    TRIGGER_WORDS_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    ALLOW_EMPTY_CAPTIONS_FIELD_NUMBER: _ClassVar[int]
    parent: str
    trigger_words: _containers.RepeatedScalarFieldContainer[str]
    note: str
    request_id: str
    allow_empty_captions: bool
    def __init__(self, parent: _Optional[str] = ..., trigger_words: _Optional[_Iterable[str]] = ..., note: _Optional[str] = ..., request_id: _Optional[str] = ..., allow_empty_captions: _Optional[bool] = ...) -> None: ...

class GetDatasetRevisionRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ListDatasetRevisionsRequest(_message.Message):
    __slots__ = ("parent", "page_size", "page_token")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    parent: str
    page_size: int
    page_token: str
    def __init__(self, parent: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListDatasetRevisionsResponse(_message.Message):
    __slots__ = ("revisions", "next_page_token")
    REVISIONS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    revisions: _containers.RepeatedCompositeFieldContainer[_resources_pb2.DatasetRevision]
    next_page_token: str
    def __init__(self, revisions: _Optional[_Iterable[_Union[_resources_pb2.DatasetRevision, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class ImportCaptionsRequest(_message.Message):
    __slots__ = ("header", "chunk")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    header: ImportCaptionsHeader
    chunk: bytes
    def __init__(self, header: _Optional[_Union[ImportCaptionsHeader, _Mapping]] = ..., chunk: _Optional[bytes] = ...) -> None: ...

class ImportCaptionsHeader(_message.Message):
    __slots__ = ("parent", "format", "ignore_unknown")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    IGNORE_UNKNOWN_FIELD_NUMBER: _ClassVar[int]
    parent: str
    format: CaptionFormat
    ignore_unknown: bool
    def __init__(self, parent: _Optional[str] = ..., format: _Optional[_Union[CaptionFormat, str]] = ..., ignore_unknown: _Optional[bool] = ...) -> None: ...

class ImportCaptionsResponse(_message.Message):
    __slots__ = ("changed_count", "unknown_count")
    CHANGED_COUNT_FIELD_NUMBER: _ClassVar[int]
    UNKNOWN_COUNT_FIELD_NUMBER: _ClassVar[int]
    changed_count: int
    unknown_count: int
    def __init__(self, changed_count: _Optional[int] = ..., unknown_count: _Optional[int] = ...) -> None: ...

class ExportDatasetRequest(_message.Message):
    __slots__ = ("name", "format", "include_images")
    NAME_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_IMAGES_FIELD_NUMBER: _ClassVar[int]
    name: str
    format: CaptionFormat
    include_images: bool
    def __init__(self, name: _Optional[str] = ..., format: _Optional[_Union[CaptionFormat, str]] = ..., include_images: _Optional[bool] = ...) -> None: ...

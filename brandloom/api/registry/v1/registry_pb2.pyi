import datetime

from brandloom.api.common.v1 import artifact_pb2 as _artifact_pb2
from brandloom.api.common.v1 import family_pb2 as _family_pb2
from brandloom.api.registry.v1 import resources_pb2 as _resources_pb2
from buf.validate import validate_pb2 as _validate_pb2
from google.api import field_behavior_pb2 as _field_behavior_pb2
from google.protobuf import empty_pb2 as _empty_pb2
from google.protobuf import field_mask_pb2 as _field_mask_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class VersionFile(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    VERSION_FILE_UNSPECIFIED: _ClassVar[VersionFile]
    VERSION_FILE_WEIGHTS: _ClassVar[VersionFile]
    VERSION_FILE_PREVIEW_SHEET: _ClassVar[VersionFile]
    VERSION_FILE_LOSS_PLOT: _ClassVar[VersionFile]
    VERSION_FILE_PREVIEW: _ClassVar[VersionFile]
VERSION_FILE_UNSPECIFIED: VersionFile
VERSION_FILE_WEIGHTS: VersionFile
VERSION_FILE_PREVIEW_SHEET: VersionFile
VERSION_FILE_LOSS_PLOT: VersionFile
VERSION_FILE_PREVIEW: VersionFile

class CreateBrandRequest(_message.Message):
    __slots__ = ("brand_id", "brand", "request_id")
    BRAND_ID_FIELD_NUMBER: _ClassVar[int]
    BRAND_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    brand_id: str
    brand: _resources_pb2.Brand
    request_id: str
    def __init__(self, brand_id: _Optional[str] = ..., brand: _Optional[_Union[_resources_pb2.Brand, _Mapping]] = ..., request_id: _Optional[str] = ...) -> None: ...

class GetBrandRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ListBrandsRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "filter", "order_by")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    ORDER_BY_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    filter: str
    order_by: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., filter: _Optional[str] = ..., order_by: _Optional[str] = ...) -> None: ...

class ListBrandsResponse(_message.Message):
    __slots__ = ("brands", "next_page_token")
    BRANDS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    brands: _containers.RepeatedCompositeFieldContainer[_resources_pb2.Brand]
    next_page_token: str
    def __init__(self, brands: _Optional[_Iterable[_Union[_resources_pb2.Brand, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class UpdateBrandRequest(_message.Message):
    __slots__ = ("brand", "update_mask")
    BRAND_FIELD_NUMBER: _ClassVar[int]
    UPDATE_MASK_FIELD_NUMBER: _ClassVar[int]
    brand: _resources_pb2.Brand
    update_mask: _field_mask_pb2.FieldMask
    def __init__(self, brand: _Optional[_Union[_resources_pb2.Brand, _Mapping]] = ..., update_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ...) -> None: ...

class DeleteBrandRequest(_message.Message):
    __slots__ = ("name", "etag")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    name: str
    etag: str
    def __init__(self, name: _Optional[str] = ..., etag: _Optional[str] = ...) -> None: ...

class CreateBaseModelRequest(_message.Message):
    __slots__ = ("base_model_id", "base_model", "request_id")
    BASE_MODEL_ID_FIELD_NUMBER: _ClassVar[int]
    BASE_MODEL_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    base_model_id: str
    base_model: _resources_pb2.BaseModel
    request_id: str
    def __init__(self, base_model_id: _Optional[str] = ..., base_model: _Optional[_Union[_resources_pb2.BaseModel, _Mapping]] = ..., request_id: _Optional[str] = ...) -> None: ...

class GetBaseModelRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ListBaseModelsRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "filter", "order_by")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    ORDER_BY_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    filter: str
    order_by: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., filter: _Optional[str] = ..., order_by: _Optional[str] = ...) -> None: ...

class ListBaseModelsResponse(_message.Message):
    __slots__ = ("base_models", "next_page_token")
    BASE_MODELS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    base_models: _containers.RepeatedCompositeFieldContainer[_resources_pb2.BaseModel]
    next_page_token: str
    def __init__(self, base_models: _Optional[_Iterable[_Union[_resources_pb2.BaseModel, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class UpdateBaseModelRequest(_message.Message):
    __slots__ = ("base_model", "update_mask")
    BASE_MODEL_FIELD_NUMBER: _ClassVar[int]
    UPDATE_MASK_FIELD_NUMBER: _ClassVar[int]
    base_model: _resources_pb2.BaseModel
    update_mask: _field_mask_pb2.FieldMask
    def __init__(self, base_model: _Optional[_Union[_resources_pb2.BaseModel, _Mapping]] = ..., update_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ...) -> None: ...

class DeleteBaseModelRequest(_message.Message):
    __slots__ = ("name", "etag")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    name: str
    etag: str
    def __init__(self, name: _Optional[str] = ..., etag: _Optional[str] = ...) -> None: ...

class CreateLoraRequest(_message.Message):
    __slots__ = ("parent", "lora_id", "lora", "request_id")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    LORA_ID_FIELD_NUMBER: _ClassVar[int]
    LORA_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    parent: str
    lora_id: str
    lora: _resources_pb2.Lora
    request_id: str
    def __init__(self, parent: _Optional[str] = ..., lora_id: _Optional[str] = ..., lora: _Optional[_Union[_resources_pb2.Lora, _Mapping]] = ..., request_id: _Optional[str] = ...) -> None: ...

class GetLoraRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ListLorasRequest(_message.Message):
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

class ListLorasResponse(_message.Message):
    __slots__ = ("loras", "next_page_token")
    LORAS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    loras: _containers.RepeatedCompositeFieldContainer[_resources_pb2.Lora]
    next_page_token: str
    def __init__(self, loras: _Optional[_Iterable[_Union[_resources_pb2.Lora, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class SearchLorasRequest(_message.Message):
    __slots__ = ("query", "filter", "order_by", "page_size", "page_token")
    QUERY_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    ORDER_BY_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    query: str
    filter: str
    order_by: str
    page_size: int
    page_token: str
    def __init__(self, query: _Optional[str] = ..., filter: _Optional[str] = ..., order_by: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class SearchLorasResponse(_message.Message):
    __slots__ = ("loras", "next_page_token")
    LORAS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    loras: _containers.RepeatedCompositeFieldContainer[_resources_pb2.Lora]
    next_page_token: str
    def __init__(self, loras: _Optional[_Iterable[_Union[_resources_pb2.Lora, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class UpdateLoraRequest(_message.Message):
    __slots__ = ("lora", "update_mask")
    LORA_FIELD_NUMBER: _ClassVar[int]
    UPDATE_MASK_FIELD_NUMBER: _ClassVar[int]
    lora: _resources_pb2.Lora
    update_mask: _field_mask_pb2.FieldMask
    def __init__(self, lora: _Optional[_Union[_resources_pb2.Lora, _Mapping]] = ..., update_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ...) -> None: ...

class DeleteLoraRequest(_message.Message):
    __slots__ = ("name", "etag", "force")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    name: str
    etag: str
    force: bool
    def __init__(self, name: _Optional[str] = ..., etag: _Optional[str] = ..., force: _Optional[bool] = ...) -> None: ...

class UploadVersionRequest(_message.Message):
    __slots__ = ("header", "chunk")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    header: UploadVersionHeader
    chunk: bytes
    def __init__(self, header: _Optional[_Union[UploadVersionHeader, _Mapping]] = ..., chunk: _Optional[bytes] = ...) -> None: ...

class UploadVersionHeader(_message.Message):
    __slots__ = ("parent", "version", "file_name", "sha256", "size_bytes", "request_id")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    FILE_NAME_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    parent: str
    version: _resources_pb2.LoraVersion
    file_name: str
    sha256: str
    size_bytes: int
    request_id: str
    def __init__(self, parent: _Optional[str] = ..., version: _Optional[_Union[_resources_pb2.LoraVersion, _Mapping]] = ..., file_name: _Optional[str] = ..., sha256: _Optional[str] = ..., size_bytes: _Optional[int] = ..., request_id: _Optional[str] = ...) -> None: ...

class RegisterVersionRequest(_message.Message):
    __slots__ = ("parent", "version", "request_id")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    parent: str
    version: _resources_pb2.LoraVersion
    request_id: str
    def __init__(self, parent: _Optional[str] = ..., version: _Optional[_Union[_resources_pb2.LoraVersion, _Mapping]] = ..., request_id: _Optional[str] = ...) -> None: ...

class GetLoraVersionRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ListLoraVersionsRequest(_message.Message):
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

class ListLoraVersionsResponse(_message.Message):
    __slots__ = ("versions", "next_page_token")
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    versions: _containers.RepeatedCompositeFieldContainer[_resources_pb2.LoraVersion]
    next_page_token: str
    def __init__(self, versions: _Optional[_Iterable[_Union[_resources_pb2.LoraVersion, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class UpdateLoraVersionRequest(_message.Message):
    __slots__ = ("version", "update_mask")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    UPDATE_MASK_FIELD_NUMBER: _ClassVar[int]
    version: _resources_pb2.LoraVersion
    update_mask: _field_mask_pb2.FieldMask
    def __init__(self, version: _Optional[_Union[_resources_pb2.LoraVersion, _Mapping]] = ..., update_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ...) -> None: ...

class DownloadVersionRequest(_message.Message):
    __slots__ = ("name", "file", "preview_index")
    NAME_FIELD_NUMBER: _ClassVar[int]
    FILE_FIELD_NUMBER: _ClassVar[int]
    PREVIEW_INDEX_FIELD_NUMBER: _ClassVar[int]
    name: str
    file: VersionFile
    preview_index: int
    def __init__(self, name: _Optional[str] = ..., file: _Optional[_Union[VersionFile, str]] = ..., preview_index: _Optional[int] = ...) -> None: ...

class GetDownloadUrlRequest(_message.Message):
    __slots__ = ("name", "expires_seconds")
    NAME_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_SECONDS_FIELD_NUMBER: _ClassVar[int]
    name: str
    expires_seconds: int
    def __init__(self, name: _Optional[str] = ..., expires_seconds: _Optional[int] = ...) -> None: ...

class GetDownloadUrlResponse(_message.Message):
    __slots__ = ("url", "expire_time", "artifact")
    URL_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    ARTIFACT_FIELD_NUMBER: _ClassVar[int]
    url: str
    expire_time: _timestamp_pb2.Timestamp
    artifact: _artifact_pb2.Artifact
    def __init__(self, url: _Optional[str] = ..., expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., artifact: _Optional[_Union[_artifact_pb2.Artifact, _Mapping]] = ...) -> None: ...

class SetAliasRequest(_message.Message):
    __slots__ = ("lora", "alias", "version", "etag")
    LORA_FIELD_NUMBER: _ClassVar[int]
    ALIAS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    lora: str
    alias: str
    version: int
    etag: str
    def __init__(self, lora: _Optional[str] = ..., alias: _Optional[str] = ..., version: _Optional[int] = ..., etag: _Optional[str] = ...) -> None: ...

class DeleteAliasRequest(_message.Message):
    __slots__ = ("lora", "alias", "etag")
    LORA_FIELD_NUMBER: _ClassVar[int]
    ALIAS_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    lora: str
    alias: str
    etag: str
    def __init__(self, lora: _Optional[str] = ..., alias: _Optional[str] = ..., etag: _Optional[str] = ...) -> None: ...

class ResolveStackRequest(_message.Message):
    __slots__ = ("parent", "references", "base_model")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    REFERENCES_FIELD_NUMBER: _ClassVar[int]
    BASE_MODEL_FIELD_NUMBER: _ClassVar[int]
    parent: str
    references: _containers.RepeatedScalarFieldContainer[str]
    base_model: str
    def __init__(self, parent: _Optional[str] = ..., references: _Optional[_Iterable[str]] = ..., base_model: _Optional[str] = ...) -> None: ...

class ResolvedLora(_message.Message):
    __slots__ = ("reference", "version", "artifact", "format", "family", "rank", "components", "trigger_words", "base_model_sha256")
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ARTIFACT_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    FAMILY_FIELD_NUMBER: _ClassVar[int]
    RANK_FIELD_NUMBER: _ClassVar[int]
    COMPONENTS_FIELD_NUMBER: _ClassVar[int]
    TRIGGER_WORDS_FIELD_NUMBER: _ClassVar[int]
    BASE_MODEL_SHA256_FIELD_NUMBER: _ClassVar[int]
    reference: str
    version: str
    artifact: _artifact_pb2.Artifact
    format: _resources_pb2.LoraFormat
    family: _family_pb2.ModelFamily
    rank: int
    components: _containers.RepeatedScalarFieldContainer[str]
    trigger_words: _containers.RepeatedScalarFieldContainer[str]
    base_model_sha256: str
    def __init__(self, reference: _Optional[str] = ..., version: _Optional[str] = ..., artifact: _Optional[_Union[_artifact_pb2.Artifact, _Mapping]] = ..., format: _Optional[_Union[_resources_pb2.LoraFormat, str]] = ..., family: _Optional[_Union[_family_pb2.ModelFamily, str]] = ..., rank: _Optional[int] = ..., components: _Optional[_Iterable[str]] = ..., trigger_words: _Optional[_Iterable[str]] = ..., base_model_sha256: _Optional[str] = ...) -> None: ...

class ResolveStackResponse(_message.Message):
    __slots__ = ("loras", "base_model")
    LORAS_FIELD_NUMBER: _ClassVar[int]
    BASE_MODEL_FIELD_NUMBER: _ClassVar[int]
    loras: _containers.RepeatedCompositeFieldContainer[ResolvedLora]
    base_model: _resources_pb2.BaseModel
    def __init__(self, loras: _Optional[_Iterable[_Union[ResolvedLora, _Mapping]]] = ..., base_model: _Optional[_Union[_resources_pb2.BaseModel, _Mapping]] = ...) -> None: ...

class GetLineageRequest(_message.Message):
    __slots__ = ("name", "depth")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DEPTH_FIELD_NUMBER: _ClassVar[int]
    name: str
    depth: int
    def __init__(self, name: _Optional[str] = ..., depth: _Optional[int] = ...) -> None: ...

class LineageNode(_message.Message):
    __slots__ = ("name", "kind", "sha256", "create_time")
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        KIND_UNSPECIFIED: _ClassVar[LineageNode.Kind]
        KIND_LORA_VERSION: _ClassVar[LineageNode.Kind]
        KIND_DATASET_REVISION: _ClassVar[LineageNode.Kind]
        KIND_TRAINING_JOB: _ClassVar[LineageNode.Kind]
        KIND_BASE_MODEL: _ClassVar[LineageNode.Kind]
    KIND_UNSPECIFIED: LineageNode.Kind
    KIND_LORA_VERSION: LineageNode.Kind
    KIND_DATASET_REVISION: LineageNode.Kind
    KIND_TRAINING_JOB: LineageNode.Kind
    KIND_BASE_MODEL: LineageNode.Kind
    NAME_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    name: str
    kind: LineageNode.Kind
    sha256: str
    create_time: _timestamp_pb2.Timestamp
    def __init__(self, name: _Optional[str] = ..., kind: _Optional[_Union[LineageNode.Kind, str]] = ..., sha256: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class LineageEdge(_message.Message):
    __slots__ = ("to", "relation")
    FROM_FIELD_NUMBER: _ClassVar[int]
    TO_FIELD_NUMBER: _ClassVar[int]
    RELATION_FIELD_NUMBER: _ClassVar[int]
    to: str
    relation: str
    def __init__(self, to: _Optional[str] = ..., relation: _Optional[str] = ..., **kwargs) -> None: ...

class GetLineageResponse(_message.Message):
    __slots__ = ("nodes", "edges", "truncated")
    NODES_FIELD_NUMBER: _ClassVar[int]
    EDGES_FIELD_NUMBER: _ClassVar[int]
    TRUNCATED_FIELD_NUMBER: _ClassVar[int]
    nodes: _containers.RepeatedCompositeFieldContainer[LineageNode]
    edges: _containers.RepeatedCompositeFieldContainer[LineageEdge]
    truncated: bool
    def __init__(self, nodes: _Optional[_Iterable[_Union[LineageNode, _Mapping]]] = ..., edges: _Optional[_Iterable[_Union[LineageEdge, _Mapping]]] = ..., truncated: _Optional[bool] = ...) -> None: ...

class WatchChangesRequest(_message.Message):
    __slots__ = ("parent", "after_sequence")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    AFTER_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    parent: str
    after_sequence: int
    def __init__(self, parent: _Optional[str] = ..., after_sequence: _Optional[int] = ...) -> None: ...

class Change(_message.Message):
    __slots__ = ("sequence", "time", "kind", "lora", "version", "alias", "resource")
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        KIND_UNSPECIFIED: _ClassVar[Change.Kind]
        KIND_VERSION_ADDED: _ClassVar[Change.Kind]
        KIND_ALIAS_SET: _ClassVar[Change.Kind]
        KIND_ALIAS_DELETED: _ClassVar[Change.Kind]
        KIND_LORA_CREATED: _ClassVar[Change.Kind]
        KIND_LORA_UPDATED: _ClassVar[Change.Kind]
        KIND_LORA_DELETED: _ClassVar[Change.Kind]
        KIND_BRAND_DELETED: _ClassVar[Change.Kind]
        KIND_BASE_MODEL_UPDATED: _ClassVar[Change.Kind]
        KIND_BASE_MODEL_DELETED: _ClassVar[Change.Kind]
    KIND_UNSPECIFIED: Change.Kind
    KIND_VERSION_ADDED: Change.Kind
    KIND_ALIAS_SET: Change.Kind
    KIND_ALIAS_DELETED: Change.Kind
    KIND_LORA_CREATED: Change.Kind
    KIND_LORA_UPDATED: Change.Kind
    KIND_LORA_DELETED: Change.Kind
    KIND_BRAND_DELETED: Change.Kind
    KIND_BASE_MODEL_UPDATED: Change.Kind
    KIND_BASE_MODEL_DELETED: Change.Kind
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    LORA_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ALIAS_FIELD_NUMBER: _ClassVar[int]
    RESOURCE_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    time: _timestamp_pb2.Timestamp
    kind: Change.Kind
    lora: str
    version: int
    alias: str
    resource: str
    def __init__(self, sequence: _Optional[int] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., kind: _Optional[_Union[Change.Kind, str]] = ..., lora: _Optional[str] = ..., version: _Optional[int] = ..., alias: _Optional[str] = ..., resource: _Optional[str] = ...) -> None: ...
